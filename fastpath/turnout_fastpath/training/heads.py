"""Linear heads over a bundle's inputs, on top of what the bundle already says: few labels move it little, or not at all.

Each output (a head's logit, a head's gain) is chosen by grouped cross-validation among: the bundle's own output as it is;
the same, recalibrated; and ridge corrections over nested sets of columns with penalties from weak to strong. "As it is"
stays unless recalibration is better by more than the standard error of the difference, and recalibration stays unless a
correction is better by more than that; of the corrections that are as good as the best within it, the most cautious is
made. So with few labels, or with labels that teach nothing, the bundle keeps its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.fit import group_folds
from turnout_fastpath.training.head_candidates import (
    Candidate,
    Change,
    Columns,
    Integers,
    Target,
    candidates_of,
    fit_candidate,
)
from turnout_fastpath.training.linear_fits import Reals, log_losses
from turnout_fastpath.training.net import CLIP

FOLDS = 5
# By which a change must be better to be made.
STANDARD_ERRORS = 1.0


@dataclass(frozen=True, eq=False)
class Head:
    """One output as a linear map: `own` of the bundle's outputs, `inputs` of the standardised inputs, and a constant.

    Attributes:
        candidate: how it was fitted.
        loss, loss_before: cross-validated mean loss of the candidate, and of the bundle's own output (NaN if none).
        standard_error: of their difference, by group.
        predictions: (n,) cross-validated outputs, NaN for rows without a label.
    """

    candidate: Candidate
    own: Reals
    inputs: Reals
    constant: float
    loss: float
    loss_before: float
    standard_error: float
    predictions: Reals

    def apply(self, columns: Columns) -> Reals:
        """(n,) outputs."""
        result: Reals = columns.own @ self.own + columns.inputs @ self.inputs + self.constant
        return result


def fit_head(
    columns: Columns,
    base: int | None,
    labels: Reals,
    weights: Reals,
    groups: Sequence[str] | npt.NDArray[np.str_],
    target: Target,
    *,
    seed: int = 23,
) -> Head:
    """Chooses and fits one output.

    Args:
        columns: of n rows.
        base: which of `columns.own` is the output as it is; None for a head that starts from nothing.
        labels: (n,) NaN where unknown.
        weights: (n,).
        groups: (n,) rows that stay together.
        target: how it is fitted.
        seed: of the folds.
    """
    known = np.flatnonzero(~np.isnan(labels))
    fold_of = group_folds(np.asarray(groups), FOLDS, seed)
    candidates = candidates_of(base is not None)
    losses = {}
    for candidate in candidates:
        out = _cross_fit(candidate, columns, base, labels, weights, known, fold_of, target)
        losses[candidate] = _losses(out[known], labels[known], target) * weights[known]
    chosen = _choose(candidates, losses, np.asarray(groups)[known])
    if target is Target.SHARE and base is not None and chosen.change is Change.RECALIBRATED:
        # Logits are calibrated afterwards, in a way that keeps the order of requests.
        chosen = Candidate(Change.NONE)
    before = losses.get(Candidate(Change.NONE))
    # Other folds than those it was chosen on.
    again = group_folds(np.asarray(groups), FOLDS, seed + 1)
    predictions = _cross_fit(chosen, columns, base, labels, weights, known, again, target)
    own, inputs, constant = fit_candidate(chosen, columns, base, labels, weights, known, target)
    _, error = (
        (0.0, 0.0) if before is None else _difference(before, losses[chosen], np.asarray(groups)[known])
    )
    return Head(
        candidate=chosen,
        own=own,
        inputs=inputs,
        constant=constant,
        loss=float(losses[chosen].mean()),
        loss_before=float("nan") if before is None else float(before.mean()),
        standard_error=error,
        predictions=predictions,
    )


def standardise(inputs: Reals, mean: Reals, scale: Reals) -> Reals:
    """Standardised inputs, clipped as the exported model clips them."""
    result: Reals = np.clip((inputs - mean) * scale, -CLIP, CLIP)
    return result


def _choose(
    candidates: Sequence[Candidate], losses: dict[Candidate, Reals], groups: npt.NDArray[np.str_]
) -> Candidate:
    chosen = candidates[0]
    recalibrated = Candidate(Change.RECALIBRATED)
    if chosen != recalibrated and _is_better(losses[chosen], losses[recalibrated], groups):
        chosen = recalibrated
    corrections = [candidate for candidate in candidates if candidate.change is Change.CORRECTED]
    best = min(corrections, key=lambda candidate: float(losses[candidate].mean()))
    # Of those that are no worse than the best by more than the standard error, the most cautious (Breiman et al. 1984).
    best = next(one for one in corrections if not _is_better(losses[one], losses[best], groups))
    if Candidate(Change.NONE) not in losses:
        return min((recalibrated, best), key=lambda candidate: float(losses[candidate].mean()))
    # Against the recalibrated output: what recalibration alone gives is no merit of a correction.
    if _is_better(losses[recalibrated], losses[best], groups) and losses[best].mean() < losses[chosen].mean():
        chosen = best
    return chosen


def _is_better(old: Reals, new: Reals, groups: npt.NDArray[np.str_]) -> bool:
    gain, error = _difference(old, new, groups)
    return gain > STANDARD_ERRORS * error


def _difference(old: Reals, new: Reals, groups: npt.NDArray[np.str_]) -> tuple[float, float]:
    """Mean of old - new loss, and its standard error over groups."""
    _, numbers = np.unique(groups, return_inverse=True)
    sums = np.bincount(numbers, old - new)
    mean = float((old - new).mean())
    spread = sums - mean * np.bincount(numbers)
    return mean, float(np.sqrt((spread**2).sum()) / len(old))


def _losses(outputs: Reals, labels: Reals, target: Target) -> Reals:
    return log_losses(outputs, labels) if target is Target.SHARE else (outputs - labels) ** 2


def _cross_fit(
    candidate: Candidate,
    columns: Columns,
    base: int | None,
    labels: Reals,
    weights: Reals,
    known: Integers,
    fold_of: Integers,
    target: Target,
) -> Reals:
    result = np.full(len(labels), np.nan)
    for fold in range(FOLDS):
        rest, held = known[fold_of[known] != fold], known[fold_of[known] == fold]
        if not len(held) or not len(rest):
            continue
        own, inputs, constant = fit_candidate(candidate, columns, base, labels, weights, rest, target)
        result[held] = columns.own[held] @ own + columns.inputs[held] @ inputs + constant
    # A fold may hold all rows, if they are one group.
    left = known[np.isnan(result[known])]
    if len(left):
        own, inputs, constant = fit_candidate(candidate, columns, base, labels, weights, known, target)
        result[left] = columns.own[left] @ own + columns.inputs[left] @ inputs + constant
    return result
