"""Calibrates a bundle on labelled traffic: what `turnout calibrate` does first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from turnout_fastpath.bundle import Bundle, load_bundle, write_bundle
from turnout_fastpath.training.bars import (
    Traffic,
)
from turnout_fastpath.training.bundle_scores import BundleScores, score_data
from turnout_fastpath.training.calibrating import (
    HeadCalibration,
    Reliability,
    apply_curves,
    calibrate_head,
    reliability,
)
from turnout_fastpath.training.curves import Method
from turnout_fastpath.training.engine_check import curves_of
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.linear_fits import SOLVER_THREADS, Reals
from turnout_fastpath.training.sample_weights import sample_weights
from turnout_fastpath.training.tiers import Tier, TierLabels, label_tiers, tiers_of

DEFAULT_TOP = "frontier"
# Labels of a head below which its calibration stays as it is.
MIN_LABELS = 20


@dataclass(frozen=True, eq=False)
class HeadReport:
    """One head before and after; `calibration` is None where it had too few labels and stays as it is."""

    name: str
    labels: int
    before: Reliability
    after: Reliability
    calibration: HeadCalibration | None

    def figures(self) -> dict[str, Any]:
        """For JSON; what is not known is null."""
        values = {
            "ece_before": self.before.ece,
            "ece": self.after.ece,
            "ece_bound": self.after.bound,
        }
        method = self.calibration.method if self.calibration else Method.KEPT
        return {
            "name": self.name,
            "labels": self.labels,
            "method": method.value,
            "held_out_log_loss": self.calibration.losses if self.calibration else {},
            "bins": [list(one) for one in self.after.bins],
        } | {name: None if np.isnan(value) else round(value, 5) for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class Recalibrated:
    """What a calibration found.

    Attributes:
        heads: by head, cheapest first.
        by_task: (head, task, labels, ECE after, bound) where a task has labels enough to tell.
        traffic: the rows with calibrated probabilities, to solve bars on; held-out ones where rows have labels.
        bundle: that was calibrated.
        manifest: with the new calibration.
    """

    heads: tuple[HeadReport, ...]
    by_task: tuple[tuple[str, str, int, float, float], ...]
    traffic: Traffic
    bundle: Bundle
    manifest: dict[str, Any]


def tiers_for(bundle: Bundle, data: LabelledData, given: Sequence[Tier] = ()) -> tuple[Tier, ...]:
    """Tiers of a bundle over the data's columns: as given, by the models that the bundle names, or by name.

    Raises:
        TierError, DataError: see `tiers_of`; or a tier below the top is no head of the bundle.
    """
    heads = bundle.manifest["heads"]
    training = bundle.manifest.get("training", {})
    top = training.get("top_tier", DEFAULT_TOP)
    if not given:
        models = {head["name"]: head.get("reference_models", []) for head in heads}
        models[top] = heads[-1].get("top_models", [])
        inferred = [Tier(name, tuple(m for m in own if m in data.models)) for name, own in models.items()]
        if all(tier.models for tier in inferred):
            given = inferred
    tiers = tiers_of(data, given, known=(*bundle.heads, top))
    for tier in tiers[:-1]:
        if tier.name not in bundle.heads:
            names = ", ".join(bundle.heads)
            raise data.defect(
                f"tier {tier.name!r} is no head of {bundle.path}, which has: {names}", column="scores"
            )
    return tiers


def recalibrate(
    bundle: Bundle,
    data: LabelledData,
    tiers: Sequence[Tier],
    progress: Callable[[int], None] | None = None,
) -> Recalibrated:
    """Calibrates every head that has labels.

    Args:
        bundle: loaded.
        data: its rows; without scores, for traffic that only bars are solved on.
        tiers: whose names are the bundle's heads, and a top tier; empty if the data has no scores.
        progress: called with 1 after each row is read.

    Raises:
        DataError: a stored vector does not fit the bundle.
    """
    scored = score_data(bundle, data, progress)
    with threadpool_limits(SOLVER_THREADS):
        return _recalibrate(bundle, data, scored, tiers)


def _recalibrate(
    bundle: Bundle, data: LabelledData, scored: BundleScores, tiers: Sequence[Tier]
) -> Recalibrated:
    weights = sample_weights(data)
    labels = label_tiers(data, tiers) if tiers else None
    reports, entries, probabilities, by_task = [], [], [], []
    for i, head in enumerate(bundle.manifest["heads"]):
        present = curves_of(bundle, i)
        logits = scored.scores[:, scored.outputs.logits.start + i].astype(np.float64)
        p = apply_curves(present, logits, scored.tasks)
        shares = _labels_of(head["name"], labels, len(data))
        known = ~np.isnan(shares)
        before = reliability(p, shares)
        calibration = None
        if known.sum() >= MIN_LABELS and 0 < shares[known].mean() < 1:
            calibration = calibrate_head(
                logits, shares, weights, data.groups, scored.tasks, len(bundle.tasks), kept=present
            )
            p = apply_curves(calibration.by_task, logits, scored.tasks)
            p[known] = calibration.held_out[known]
        entries.append(head | ({"calibration": calibration.entry(bundle.tasks)} if calibration else {}))
        reports.append(
            HeadReport(head["name"], int(known.sum()), before, reliability(p, shares), calibration)
        )
        by_task += _by_task(head["name"], bundle.tasks, p, shares, scored.tasks)
        probabilities.append(p)
    manifest = {key: value for key, value in bundle.manifest.items() if key not in ("files", "format")} | {
        "heads": entries,
        "calibrated_on": {"data": data.path.name, "data_sha256": data.sha256, "rows": len(data)},
    }
    traffic = _traffic(bundle, data, scored, labels, np.stack(probabilities, axis=1), weights)
    return Recalibrated(tuple(reports), tuple(by_task), traffic, bundle, manifest)


def rebound(found: Recalibrated) -> Bundle:
    """The bundle with its new calibration, in memory; its path and revision are the old bundle's."""
    return replace(found.bundle, manifest=found.manifest | {"files": found.bundle.manifest["files"]})


def write_recalibrated(found: Recalibrated, out: Path) -> Bundle:
    """Writes the bundle with its new calibration, whole or not at all, and loads it."""
    own = found.bundle
    write_bundle(
        out,
        found.manifest | {"name": out.name},
        vocabulary=own.vocabulary,
        arrays=own.arrays,
        exemplars=own.exemplars,
        classifier=own.classifier,
    )
    return load_bundle(out)


def _labels_of(head: str, labels: TierLabels | None, n: int) -> Reals:
    if labels is None or head not in labels.heads:
        return np.full(n, np.nan)
    result: Reals = labels.suffices[:, labels.heads.index(head)]
    return result


def _by_task(
    head: str, names: Sequence[str], p: Reals, shares: Reals, tasks: npt.NDArray[np.intp]
) -> list[tuple[str, str, int, float, float]]:
    found = []
    for task, name in enumerate(names):
        own = tasks == task
        one = reliability(p[own], shares[own])
        if one.rows >= MIN_LABELS:
            found.append((head, name, one.rows, one.ece, one.bound))
    return found


def _traffic(
    bundle: Bundle,
    data: LabelledData,
    scored: BundleScores,
    labels: TierLabels | None,
    p: Reals,
    weights: Reals,
) -> Traffic:
    top = (
        labels.tiers[-1].name if labels else bundle.manifest.get("training", {}).get("top_tier", DEFAULT_TOP)
    )
    names = (*bundle.heads, top)
    costs, scores = (np.full((len(data), len(names)), np.nan) for _ in range(2))
    for column, tier in enumerate(labels.tiers if labels else ()):
        assert labels is not None
        at = names.index(tier.name)
        costs[:, at], scores[:, at] = labels.costs[:, column], labels.scores[:, column]
    if labels is None:
        for column, model in enumerate(data.models):
            if model in names:
                costs[:, names.index(model)] = data.costs[:, column]
    return Traffic(
        tiers=names,
        p=p,
        gains=scored.scores[:, scored.outputs.gains].astype(np.float64),
        costs=costs,
        scores=scores,
        weights=weights,
        groups=data.groups,
    )
