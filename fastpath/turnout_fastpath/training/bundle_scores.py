"""What a bundle's classifier reads of labelled data and says of it, by the compiled core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.bundle import Bundle, inputs_revision
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.engine import Engine
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.outputs import Outputs

Floats = npt.NDArray[np.float32]

TOP = "top"


@dataclass(frozen=True, eq=False)
class BundleScores:
    """n rows through a bundle.

    Attributes:
        outputs: layout of the scores.
        inputs: (n, inputs) what the classifier reads.
        scores: (n, scores) what it says.
    """

    outputs: Outputs
    inputs: Floats
    scores: Floats

    @property
    def tasks(self) -> npt.NDArray[np.intp]:
        """(n,) number of the likeliest task."""
        numbers: npt.NDArray[np.intp] = self.scores[:, self.outputs.tasks].argmax(axis=1)
        return numbers


def score_data(
    bundle: Bundle, data: LabelledData, progress: Callable[[int], None] | None = None
) -> BundleScores:
    """Reads every row as the engine does and runs the bundle's classifier.

    Args:
        bundle: loaded.
        data: rows with text, or with stored vectors of the bundle's inputs revision.
        progress: called with 1 after each row.

    Raises:
        DataError: a stored vector of another revision or width.
    """
    engine = probe_engine(bundle)
    outputs = Outputs(len(bundle.tasks), len(bundle.heads))
    width = len(bundle.manifest["feature_means"])
    inputs = np.empty((len(data), width), np.float32)
    revision = inputs_revision(bundle)
    for i in range(len(data)):
        request = data.request(i)
        if request is not None:
            inputs[i] = engine.classifier_inputs(request)
        elif data.features_revision != revision:
            problem = f"{data.features_revision!r}, needed: {revision!r} of the bundle {bundle.path}"
            raise data.defect(problem, column="features_revision", row=i)
        elif data.features.shape[1] != width:
            problem = f"{data.features.shape[1]} numbers, needed: {width} of the bundle {bundle.path}"
            raise data.defect(problem, column="features", row=i)
        else:
            inputs[i] = data.features[i]
        if progress is not None:
            progress(1)
    classifier = Classifier(bundle.classifier, width, outputs.n_scores)
    return BundleScores(outputs, inputs, classifier.score(inputs))


def probe_engine(bundle: Bundle, bars: Mapping[str, Any] | None = None, top: str = TOP) -> Engine:
    """An engine over a policy of nothing but the bundle's heads, in their order, a top tier, and bars."""
    return Engine.load(bundle, probe_policy(bundle.heads, top, bars))


def probe_policy(
    heads: Sequence[str], top: str = TOP, bars: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A resolved policy document without rules, buckets or prices, whose tiers are the heads and a top tier."""
    if top in heads:
        top = f"{top} tier"
    return {
        "version": 1,
        "default_policy": "probe",
        "prices": {},
        "tiers": [_tier(name, name) for name in heads] + [_tier(top, None)],
        "buckets": [],
        "policies": {
            "probe": {
                "safe_tier": top,
                "strategy": "single",
                "min_tier": None,
                "max_tier": None,
                "bars": {"default": 0.5, "tiers": {}, "tasks": {}, "tenants": {}, "max_gain": {}}
                | dict(bars or {}),
                "rules": [],
                "buckets": [],
                "sessions": {"mode": "none", "ttl_s": 3600},
                "limits": {"max_request_tokens": None, "budget_spent_ceiling": None, "least_time_ms": 0.0},
                "explore": 0.0,
                "control_share": 0.0,
            }
        },
    }


def _tier(name: str, head: str | None) -> dict[str, Any]:
    deployment = {
        "name": name,
        "provider": "simulated",
        "model": name,
        "region": "any",
        "price": None,
        "context_window": 1 << 30,
        "max_output_tokens": 1 << 20,
        "modalities": ["text", "image", "audio", "file"],
        "tools": True,
        "json": True,
        "json_schema": True,
        "endpoint": None,
        "credentials": None,
    }
    return {"name": name, "head": head, "chain": [deployment]}
