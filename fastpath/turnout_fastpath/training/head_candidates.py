"""The ways in which an output of a head may be fitted, and the fitting."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.linear_fits import Reals, fit_linear, fit_logistic

Integers = npt.NDArray[np.intp]

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


def candidates_of(has_base: bool) -> list[Candidate]:
    """What is tried for an output, with or without one of the bundle's own to start from."""
    plain = (
        [Candidate(Change.NONE), Candidate(Change.RECALIBRATED)]
        if has_base
        else [Candidate(Change.RECALIBRATED)]
    )
    # The most cautious first: few columns before many, strong penalties before weak.
    return plain + [
        Candidate(Change.CORRECTED, name, penalty)
        for name, penalties in PENALTIES.items()
        for penalty in reversed(penalties)
    ]


def fit_candidate(
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
