"""Linear heads over a bundle's inputs, on top of what the bundle already says: few labels move it little, or not at all.

Each output (a head's logit, a head's gain) is chosen by grouped cross-validation among: the bundle's own output as it is;
the same, recalibrated; and ridge corrections over nested sets of columns with penalties from weak to strong. "As it is"
stays unless recalibration is better by more than the standard error of the difference, and recalibration stays unless a
correction is better by more than that. So with few labels, or with labels that teach nothing, the bundle keeps its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.fit import group_folds
from turnout_fastpath.training.linear_fits import Reals, fit_linear, fit_logistic, log_losses
from turnout_fastpath.training.net import CLIP

Integers = npt.NDArray[np.intp]

FOLDS = 5
# Rows that a standardised column must outweigh. The few own outputs of the bundle may move more easily than the many inputs.
PENALTIES: dict[str, tuple[float, ...]] = {
    "outputs": (3.0, 30.0, 300.0),
    "features": (10.0, 30.0, 100.0, 300.0, 1000.0),
    "inputs": (30.0, 100.0, 300.0, 1000.0, 3000.0),
}
# Of the intercept and of the slope of a bundle's own output: hardly any.
FREE = 1e-3
# A recalibrated output keeps its order.
LEAST_SLOPE = 0.05


class Target(Enum):
    """What an output is fitted to: shares by log loss, gains by squares."""

    SHARE = "share"
    GAIN = "gain"


class Change(Enum):
    """What was done to a bundle's own output."""

    NONE = "none"
    RECALIBRATED = "recalibrated"
    CORRECTED = "corrected"


@dataclass(frozen=True, eq=False)
class Columns:
    """What corrections may use of n rows.

    Attributes:
        own: (n, k) the bundle's head logits and gains; k is 0 for heads that start from nothing.
        inputs: (n, d) standardised and clipped classifier inputs.
        n_features: the first of `inputs` that are features, not learned columns.
        length: number of the input that stands for the text's length.
    """

    own: Reals
    inputs: Reals
    n_features: int
    length: int

    def chosen(self, name: str) -> tuple[Reals, Integers]:
        """Columns of a set, and the numbers of the inputs that stand behind the own outputs in it."""
        d = self.inputs.shape[1]
        numbers = {
            "outputs": np.array([self.length]),
            "features": np.arange(self.n_features),
            "inputs": np.arange(d),
        }[name]
        return np.hstack([self.own, self.inputs[:, numbers]]), numbers


@dataclass(frozen=True)
class Candidate:
    """A way to fit one output."""

    change: Change
    columns: str = ""
    penalty: float = 0.0

    @property
    def label(self) -> str:
        """For people."""
        if self.change is not Change.CORRECTED:
            return str(self.change.value)
        return f"ridge on {self.columns}, penalty {self.penalty:g}"


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
    candidates = _candidates(base is not None)
    losses = {}
    for candidate in candidates:
        out = _cross_fit(candidate, columns, base, labels, weights, known, fold_of, target)
        losses[candidate] = _losses(out[known], labels[known], target) * weights[known]
    chosen = _choose(candidates, losses, np.asarray(groups)[known])
    before = losses.get(Candidate(Change.NONE))
    # Other folds than those it was chosen on.
    again = group_folds(np.asarray(groups), FOLDS, seed + 1)
    predictions = _cross_fit(chosen, columns, base, labels, weights, known, again, target)
    own, inputs, constant = _fit(chosen, columns, base, labels, weights, known, target)
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


def _candidates(has_base: bool) -> list[Candidate]:
    plain = (
        [Candidate(Change.NONE), Candidate(Change.RECALIBRATED)]
        if has_base
        else [Candidate(Change.RECALIBRATED)]
    )
    return plain + [
        Candidate(Change.CORRECTED, name, penalty)
        for name, penalties in PENALTIES.items()
        for penalty in penalties
    ]


def _choose(
    candidates: Sequence[Candidate], losses: dict[Candidate, Reals], groups: npt.NDArray[np.str_]
) -> Candidate:
    chosen = candidates[0]
    recalibrated = Candidate(Change.RECALIBRATED)
    if chosen != recalibrated and _is_better(losses[chosen], losses[recalibrated], groups):
        chosen = recalibrated
    corrections = [candidate for candidate in candidates if candidate.change is Change.CORRECTED]
    best = min(corrections, key=lambda candidate: float(losses[candidate].mean()))
    if Candidate(Change.NONE) not in losses:
        return min((recalibrated, best), key=lambda candidate: float(losses[candidate].mean()))
    # Against the recalibrated output: what recalibration alone gives is no merit of a correction.
    if _is_better(losses[recalibrated], losses[best], groups) and losses[best].mean() < losses[chosen].mean():
        chosen = best
    return chosen


def _is_better(old: Reals, new: Reals, groups: npt.NDArray[np.str_]) -> bool:
    gain, error = _difference(old, new, groups)
    return gain > error


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
        own, inputs, constant = _fit(candidate, columns, base, labels, weights, rest, target)
        result[held] = columns.own[held] @ own + columns.inputs[held] @ inputs + constant
    # A fold may hold all rows, if they are one group.
    left = known[np.isnan(result[known])]
    if len(left):
        own, inputs, constant = _fit(candidate, columns, base, labels, weights, known, target)
        result[left] = columns.own[left] @ own + columns.inputs[left] @ inputs + constant
    return result


def _fit(
    candidate: Candidate,
    columns: Columns,
    base: int | None,
    labels: Reals,
    weights: Reals,
    rows: Integers,
    target: Target,
) -> tuple[Reals, Reals, float]:
    """Coefficients of own outputs and of inputs, and the constant."""
    k, d = columns.own.shape[1], columns.inputs.shape[1]
    own, inputs = np.zeros(k), np.zeros(d)
    if base is not None:
        own[base] = 1.0
    if candidate.change is Change.NONE:
        return own, inputs, 0.0
    ones = np.ones((len(rows), 1))
    if candidate.change is Change.RECALIBRATED:
        part = columns.own[rows][:, [base]] if base is not None else np.zeros((len(rows), 0))
        x = np.hstack([ones, part])
        prior = np.array([0.0, 1.0])[: x.shape[1]]
        penalties = np.full(x.shape[1], FREE * len(rows))
        numbers = np.zeros(0, np.intp)
    else:
        whole, numbers = columns.chosen(candidate.columns)
        x = np.hstack([ones, whole[rows]])
        prior = np.concatenate([[0.0], own, np.zeros(len(numbers))])
        penalties = np.full(x.shape[1], candidate.penalty)
        penalties[: 1 + k] = min(candidate.penalty, 30.0)
        penalties[0] = FREE
        if base is not None:
            penalties[1 + base] = FREE * len(rows)
    fit = fit_logistic if target is Target.SHARE else fit_linear
    # Squares of gains curve eight times as much as log losses, whose second derivative is at most a quarter.
    scale = 0.25 if target is Target.SHARE else 1.0
    found = fit(x, labels[rows], weights[rows], penalties * scale, prior)
    if candidate.change is Change.RECALIBRATED:
        if base is not None:
            own[base] = max(found[1], LEAST_SLOPE)
            if found[1] < LEAST_SLOPE:
                return (
                    own,
                    inputs,
                    _constant(own[base] * columns.own[rows, base], labels[rows], weights[rows], target),
                )
        return own, inputs, float(found[0])
    inputs[numbers] = found[1 + k :]
    return found[1 : 1 + k], inputs, float(found[0])


def _constant(offset: Reals, labels: Reals, weights: Reals, target: Target) -> float:
    """The intercept behind a fixed offset."""
    if target is Target.GAIN:
        return float(np.average(labels - offset, weights=weights))
    x = np.stack([np.ones(len(offset)), offset], axis=1)
    return float(fit_logistic(x, labels, weights, np.array([FREE, 1e9]), np.array([0.0, 1.0]))[0])
