"""Fits everything that a bundle learns on a dataset, checks it, and writes it.

Both the default bundle and a user's are made here; they differ in rows, heads and what they report.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans

from turnout_fastpath.bundle import write_bundle
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.embedding import VectorSet
from turnout_fastpath.snapshot import FEATURES_REVISION
from turnout_fastpath.training.abstention import fit_abstention
from turnout_fastpath.training.dataset import Dataset
from turnout_fastpath.training.export import export_onnx, mix
from turnout_fastpath.training.fit import (
    FOLDS,
    IDENTITY,
    INPUTS,
    NETS,
    SETTINGS,
    Fitted,
    cross_validate,
    fit,
    net_inputs,
)
from turnout_fastpath.training.head_calibration import Calibrations, calibrate, probabilities
from turnout_fastpath.training.net import NetSettings
from turnout_fastpath.training.stages import Stages, no_stages
from turnout_fastpath.training.static_table import Table

Floats = npt.NDArray[np.float32]
Report = Callable[[str], None]

CLUSTERS = 64
# Of a logit, a task's log-odds or a gain: single precision leaves less than a tenth of it.
AGREEMENT = 1e-5


@dataclass(frozen=True, eq=False)
class Learned:
    """What is fitted on n training rows.

    Attributes:
        settings: of the net.
        clusters: of the rows' vectors.
        fitted: n-grams and net.
        calibrations, abstain: fitted on cross-validated rows.
        model: the ONNX model.
        scores, p: (n, scores) and (n, heads), cross-validated.
        agreement: greatest gap between the trainer's scores and the model's.
    """

    settings: NetSettings
    clusters: VectorSet
    fitted: Fitted
    calibrations: Calibrations
    abstain: dict[str, float]
    model: bytes
    scores: Floats
    p: Floats
    agreement: float = 0.0

    @property
    def centres(self) -> Floats:
        """(clusters, dim) unit vectors."""
        return _unit(np.asarray(self.clusters.levels, np.float32))


def learn(
    dataset: Dataset,
    vectors: Floats,
    *,
    choose: Callable[[Floats], NetSettings] | None = None,
    nets: int = NETS,
    report: Report = print,
    stages: Stages = no_stages,
) -> Learned:
    """Fits on all rows of `dataset`; every threshold and calibration on cross-validated predictions.

    Args:
        dataset: the training rows.
        vectors: (n, dim) of the table.
        choose: picks the net's settings, given the clusters' centres; None means the default ones.
        nets: fits that are averaged.
        report: is told what is being done.
        stages: of the work, for a bar.

    Raises:
        AssertionError: the exported model does not say what the trainer says.
    """
    clusters = VectorSet.quantise(_cluster(vectors))
    centres = _unit(np.asarray(clusters.levels, np.float32))
    settings = SETTINGS if choose is None else choose(centres)
    report("cross-validating")
    advance = stages("fitting", FOLDS + 1)
    raw = cross_validate(dataset, vectors, centres, settings=settings, advance=advance)
    calibrations = calibrate(dataset, raw)
    scores = mix(raw, dataset.outputs, calibrations.slopes, calibrations.intercepts)
    report("fitting on all training rows")
    fitted = fit(dataset, vectors, centres, settings=settings, nets=nets)
    advance(1)
    model = export_onnx(fitted, calibrations.slopes, calibrations.intercepts)
    learned = Learned(
        settings=settings,
        clusters=clusters,
        fitted=fitted,
        calibrations=calibrations,
        abstain=fit_abstention(dataset, scores, vectors, centres),
        model=model,
        scores=scores,
        p=probabilities(scores, dataset.task_names, calibrations.by_task),
    )
    return replace(learned, agreement=check_export(learned, dataset, vectors))


def score(learned: Learned, dataset: Dataset, vectors: Floats) -> Floats:
    """(n, scores) of rows by the trainer's own arithmetic."""
    values = learned.fitted.ngrams.values(dataset.readings)
    raw = learned.fitted.raw(net_inputs(dataset.readings, vectors, values, learned.centres))
    return mix(raw, dataset.outputs, learned.calibrations.slopes, learned.calibrations.intercepts)


def check_export(learned: Learned, dataset: Dataset, vectors: Floats) -> float:
    """The exported model says what the trainer says, to AGREEMENT, in the kernel and in ONNX Runtime.

    Returns:
        The greatest gap.

    Raises:
        AssertionError: it does not.
    """
    values = learned.fitted.ngrams.values(dataset.readings)
    inputs = net_inputs(dataset.readings, vectors, values, learned.centres)
    ours = score(learned, dataset, vectors)
    return check_model(learned.model, inputs, ours)


def check_model(model: bytes, inputs: Floats, ours: Floats, in_onnxruntime: Floats | None = None) -> float:
    """The greatest gap between the trainer's scores and a model's, in the kernel and in ONNX Runtime.

    Args:
        model: serialised ONNX.
        inputs: (n, inputs) of it.
        ours: (n, scores) by the trainer's arithmetic, over the kernel's scores where the model stands on another one.
        in_onnxruntime: the same over ONNX Runtime's scores of that other model; None: it stands on none.

    Raises:
        AssertionError: it is above AGREEMENT.
    """
    gaps = []
    for compiled in (True, False):
        theirs = Classifier(model, inputs.shape[1], ours.shape[1], compiled=compiled).score(inputs)
        expected = ours if compiled or in_onnxruntime is None else in_onnxruntime
        what = "the model in " + ("the engine" if compiled else "ONNX Runtime")
        gaps.append(check_agreement(expected, theirs, what))
    return max(gaps)


def check_agreement(ours: Floats, theirs: Floats, what: str) -> float:
    """The greatest gap, relative where a value is beyond 1.

    Raises:
        AssertionError: it is above AGREEMENT.
    """
    gap = float((np.abs(ours - theirs) / np.maximum(np.abs(ours), 1)).max())
    if not gap <= AGREEMENT:
        raise AssertionError(f"{what} differs from the trainer by {gap:.2g}, limit: {AGREEMENT:g}")
    return gap


def write_learned(
    out: Path,
    learned: Learned,
    dataset: Dataset,
    table: Table,
    vocabulary: list[str],
    *,
    heads: Sequence[Mapping[str, Any]],
    exemplars: Mapping[str, list[str]],
    facts: Mapping[str, Any],
    extras: Mapping[str, npt.NDArray[Any]] | None = None,
) -> dict[str, Any]:
    """Writes the bundle, whole or not at all; returns its manifest.

    Args:
        out: the folder.
        learned, dataset, table, vocabulary: what was fitted, and on what.
        heads: the manifest's entries.
        exemplars: example texts by set.
        facts: further fields of the manifest.
        extras: optional arrays of the bundle.
    """
    whole = {
        "name": out.name,
        "created": datetime.date.today().isoformat(),
        "features_revision": FEATURES_REVISION.hex(),
        "tasks": list(dataset.task_names),
        "heads": list(heads),
        "inputs": [
            {"feature": name, "transform": "identity" if name in IDENTITY else "log1p"} for name in INPUTS
        ],
        "abstain": learned.abstain,
        **facts,
        "feature_means": [round(float(value), 6) for value in learned.fitted.input_means],
    }
    write_bundle(
        out,
        whole,
        vocabulary=vocabulary,
        arrays={
            "embedding": table.rows,
            "embedding_weights": table.weights,
            "ngrams": learned.fitted.ngrams.rows,
            "ngram_scales": learned.fitted.ngrams.scales,
            "clusters": learned.clusters.levels,
            **(extras or {}),
        },
        exemplars=exemplars,
        classifier=learned.model,
    )
    return whole


def _cluster(vectors: Floats) -> Floats:
    sample = vectors[np.linalg.norm(vectors, axis=1) > 0.5]
    return _unit(MiniBatchKMeans(CLUSTERS, n_init=2, random_state=0).fit(sample).cluster_centers_)


def _unit(vectors: Floats) -> Floats:
    result: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return result
