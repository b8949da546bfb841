"""Calibration of a bundle's heads on labelled rows: one curve a head, and a line by task behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.calibration import expected_calibration_error
from turnout_fastpath.training.curves import FOLDS, Curve, Method, choose_curve, fit_curve, shrunk_line
from turnout_fastpath.training.fit import group_folds
from turnout_fastpath.training.linear_fits import Reals, logistic

Integers = npt.NDArray[np.intp]
Names = npt.NDArray[np.str_]

# Rows with which a task's own line is pulled towards the pooled curve.
TASK_PRIOR_ROWS = 200.0
MIN_TASK_ROWS = 30
BINS = 15
# Draws behind the bound that a perfectly calibrated predictor keeps to in 95 of 100 cases.
DRAWS = 400
BOUND = 0.95


@dataclass(frozen=True, eq=False)
class HeadCalibration:
    """The calibration of one head.

    Attributes:
        method: of the pooled curve.
        losses: mean held-out log loss of each method.
        pooled: the curve over all rows.
        by_task: (tasks,) the curve of each task.
        rows_by_task: (tasks,) labelled rows of each.
        held_out: (n,) probabilities by curves fitted without the row's group; NaN without a label.
    """

    method: Method
    losses: dict[str, float]
    pooled: Curve
    by_task: tuple[Curve, ...]
    rows_by_task: tuple[int, ...]
    held_out: Reals

    def entry(self, tasks: Sequence[str]) -> dict[str, Any]:
        """What stands in the manifest."""
        return {
            "default": self.pooled.entry(),
            "tasks": {task: curve.entry() for task, curve in zip(tasks, self.by_task, strict=True)},
        }


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from what happened.

    Attributes:
        rows: that have a label.
        ece: expected calibration error over equal-mass bins.
        bound: the ECE that a perfectly calibrated predictor with these probabilities stays under in 95 of 100 cases.
        bins: mean probability, mean label and rows of each bin.
    """

    rows: int
    ece: float
    bound: float
    bins: tuple[tuple[float, float, int], ...]


def calibrate_head(
    logits: Reals,
    labels: Reals,
    weights: Reals,
    groups: Names,
    tasks: Integers,
    n_tasks: int,
    *,
    kept: Sequence[Curve] | None = None,
    seed: int = 31,
) -> HeadCalibration:
    """Chooses a method by held-out log loss and fits it; tasks are shrunk towards all rows together.

    Args:
        logits, labels, weights, groups: (n,); a label is NaN where unknown.
        tasks: (n,) number of the likeliest task.
        n_tasks: how many there are.
        kept: (tasks,) present curves, which stay unless another is better by more than the standard error.
        seed: of the folds.
    """
    known = np.flatnonzero(~np.isnan(labels))
    x, y, w = logits[known], labels[known], weights[known]
    present = None
    if kept is not None:
        present = np.empty(len(known))
        for task, curve in enumerate(kept):
            own = tasks[known] == task
            present[own] = curve.apply(x[own])
    method, losses = choose_curve(x, y, w, groups[known], kept=present, seed=seed)
    counts = tuple(int((tasks[known] == task).sum()) for task in range(n_tasks))
    held_out = np.full(len(logits), np.nan)
    if method is Method.KEPT:
        assert kept is not None and present is not None
        held_out[known] = logistic(present)
        return HeadCalibration(method, losses, _mean_curve(kept, counts), tuple(kept), counts, held_out)
    fold_of = group_folds(groups, FOLDS, seed + 1)[known]
    for fold in range(FOLDS):
        rest, held = fold_of != fold, fold_of == fold
        if not rest.any():
            rest = held
        if held.any():
            _, curves = _fit(method, x[rest], y[rest], w[rest], tasks[known][rest], n_tasks)
            held_out[known[held]] = apply_curves(curves, x[held], tasks[known][held])
    pooled, curves = _fit(method, x, y, w, tasks[known], n_tasks)
    return HeadCalibration(method, losses, pooled, curves, counts, held_out)


def apply_curves(curves: Sequence[Curve], logits: Reals, tasks: Integers) -> Reals:
    """(n,) probabilities of rows by the curve of their likeliest task."""
    result = np.empty(len(logits))
    for task, curve in enumerate(curves):
        own = tasks == task
        result[own] = logistic(curve.apply(logits[own]))
    return result


def reliability(probabilities: Reals, labels: Reals, *, seed: int = 41) -> Reliability:
    """ECE beside its bound, over the rows that have a label.

    The bound is simulated: labels are drawn from the probabilities themselves, DRAWS times.
    """
    known = ~np.isnan(labels) & ~np.isnan(probabilities)
    p, y = probabilities[known], labels[known]
    if not len(p):
        return Reliability(0, float("nan"), float("nan"), ())
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    random = np.random.default_rng(seed)
    drawn = (random.random((DRAWS, len(p))) < p).astype(np.float64) if len(p) <= 20_000 else None
    errors = []
    for draw in range(DRAWS):
        labels_drawn = drawn[draw] if drawn is not None else (random.random(len(p)) < p).astype(np.float64)
        errors.append(sum(abs(float((labels_drawn[part] - p[part]).sum())) for part in parts) / len(p))
    return Reliability(
        rows=len(p),
        ece=expected_calibration_error(p, y, bins=BINS),
        bound=float(np.quantile(errors, BOUND)),
        bins=tuple((float(p[part].mean()), float(y[part].mean()), len(part)) for part in parts),
    )


def _fit(
    method: Method, logits: Reals, labels: Reals, weights: Reals, tasks: Integers, n_tasks: int
) -> tuple[Curve, tuple[Curve, ...]]:
    pooled = fit_curve(method, logits, labels, weights)
    curves = []
    for task in range(n_tasks):
        own = tasks == task
        if own.sum() < MIN_TASK_ROWS:
            curves.append(pooled)
            continue
        line = shrunk_line(pooled.apply(logits[own]), labels[own], weights[own], TASK_PRIOR_ROWS)
        curves.append(pooled.then(*line))
    return pooled, tuple(curves)


def _mean_curve(curves: Sequence[Curve], counts: Sequence[int]) -> Curve:
    """The curve of the task that most rows have."""
    return curves[int(np.argmax(counts))]
