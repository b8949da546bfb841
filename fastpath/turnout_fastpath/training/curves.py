"""Calibration curves on the logit scale: Platt scaling, beta calibration, isotonic regression, and the choice of one.

A curve turns a head's logit into a calibrated one; the engine evaluates it as a line or between knots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import isotonic_regression

from turnout_fastpath.training.fit import group_folds
from turnout_fastpath.training.linear_fits import Reals, fit_logistic, log_losses

# The engine's limit of knots.
MAX_KNOTS = 16
FOLDS = 5
# Rows that a bin of isotonic regression needs: below, its mean says little.
BIN_ROWS = 20
# Of a coefficient, in rows: pulls towards no change, and settles labels that can be separated.
PULL = 1.0
LEAST_SLOPE = 0.05


class Method(Enum):
    """How a curve was fitted."""

    KEPT = "kept"
    PLATT = "platt"
    BETA = "beta"
    ISOTONIC = "isotonic"


@dataclass(frozen=True)
class Curve:
    """y = slope * x + intercept; or, with knots, piecewise linear between them and flat beyond."""

    slope: float = 1.0
    intercept: float = 0.0
    raw: tuple[float, ...] = ()
    calibrated: tuple[float, ...] = ()

    @staticmethod
    def of(entry: Mapping[str, Any]) -> Curve:
        """The curve of a manifest's entry."""
        if "raw" in entry:
            return Curve(raw=tuple(entry["raw"]), calibrated=tuple(entry["calibrated"]))
        return Curve(entry["slope"], entry["intercept"])

    def entry(self) -> dict[str, Any]:
        """The manifest's entry."""
        if self.raw:
            return {"raw": list(self.raw), "calibrated": list(self.calibrated)}
        return {"slope": round(self.slope, 6), "intercept": round(self.intercept, 6)}

    def apply(self, logits: Reals) -> Reals:
        """(n,) calibrated logits."""
        if self.raw:
            result: Reals = np.interp(logits, self.raw, self.calibrated)
            return result
        return self.slope * logits + self.intercept

    def then(self, slope: float, intercept: float) -> Curve:
        """The curve with a line behind it."""
        if self.raw:
            values = [round(slope * y + intercept, 6) for y in self.calibrated]
            return Curve(raw=self.raw, calibrated=tuple(values))
        return Curve(slope * self.slope, slope * self.intercept + intercept)


def fit_curve(method: Method, logits: Reals, labels: Reals, weights: Reals) -> Curve:
    """Fits one curve.

    Args:
        method: other than KEPT, which has nothing to fit.
        logits, labels, weights: (n,); labels in [0, 1].
    """
    if method is Method.PLATT:
        return _fit_platt(logits, labels, weights)
    if method is Method.BETA:
        return _fit_beta(logits, labels, weights)
    return _fit_isotonic(logits, labels, weights)


def shrunk_line(logits: Reals, labels: Reals, weights: Reals, prior_rows: float) -> tuple[float, float]:
    """Slope and intercept of Platt scaling (Platt 1999), pulled towards 1 and 0 with the strength of `prior_rows` rows."""
    x = np.stack([logits, np.ones_like(logits)], axis=1)
    # A row's log loss curves by about 1/4 in the intercept, and by that times the logit's square in the slope.
    pull = prior_rows * 0.25 * np.array([max(1e-6, float(np.mean(logits**2))), 1.0])
    slope, intercept = fit_logistic(x, labels, weights, pull, np.array([1.0, 0.0]))
    return max(float(slope), LEAST_SLOPE), float(intercept)


def choose_curve(
    logits: Reals,
    labels: Reals,
    weights: Reals,
    groups: npt.NDArray[np.str_],
    *,
    kept: Reals | None = None,
    seed: int = 31,
) -> tuple[Method, dict[str, float]]:
    """The method of least held-out log loss; a plainer one stays unless it is worse by more than the standard error.

    Args:
        logits, labels, weights, groups: (n,); groups stay whole in the folds.
        kept: (n,) logits as calibrated so far; None if there is nothing to keep.
        seed: of the folds.

    Returns:
        The method, and the mean held-out log loss of each.
    """
    fold_of = group_folds(groups, FOLDS, seed)
    losses: dict[Method, Reals] = {}
    if kept is not None:
        losses[Method.KEPT] = log_losses(kept, labels) * weights
    for method in (Method.PLATT, Method.BETA, Method.ISOTONIC):
        out = logits.copy()
        for fold in range(FOLDS):
            rest, held = fold_of != fold, fold_of == fold
            if rest.any() and held.any():
                out[held] = fit_curve(method, logits[rest], labels[rest], weights[rest]).apply(logits[held])
        losses[method] = log_losses(out, labels) * weights
    _, numbers = np.unique(groups, return_inverse=True)
    plainest, *others = losses
    chosen = plainest
    for method in others:
        better = losses[chosen] - losses[method]
        spread = np.bincount(numbers, better - better.mean())
        if better.mean() > np.sqrt((spread**2).sum()) / len(better):
            chosen = method
    return chosen, {method.value: round(float(loss.mean()), 6) for method, loss in losses.items()}


def _fit_platt(logits: Reals, labels: Reals, weights: Reals) -> Curve:
    return Curve(*shrunk_line(logits, labels, weights, PULL))


def _fit_beta(logits: Reals, labels: Reals, weights: Reals) -> Curve:
    """Beta calibration (Kull, Silva Filho and Flach 2017): a ln p - b ln(1 - p) + c, a and b at least 0."""
    if np.ptp(logits) < 1e-6:
        return _fit_platt(logits, labels, weights)
    columns = np.stack([-np.logaddexp(0, -logits), np.logaddexp(0, logits), np.ones_like(logits)], axis=1)
    penalties = np.full(3, 0.25 * PULL)
    a, b, c = fit_logistic(columns, labels, weights, penalties, np.array([1.0, 1.0, 0.0]))
    if a < 0 or b < 0:
        # The bound of one holds: the other two are fitted anew.
        free = np.array([a >= 0, b >= 0, True])
        fitted = np.zeros(3)
        prior = np.array([1.0, 1.0, 0.0])[free]
        fitted[free] = fit_logistic(columns[:, free], labels, weights, penalties[free], prior)
        a, b, c = max(fitted[0], 0.0), max(fitted[1], 0.0), fitted[2]
    knots: Reals = np.unique(np.round(np.linspace(logits.min() - 1, logits.max() + 1, MAX_KNOTS), 6))
    values = a * -np.logaddexp(0, -knots) + b * np.logaddexp(0, knots) + c
    return _knots(knots, values)


def _fit_isotonic(logits: Reals, labels: Reals, weights: Reals) -> Curve:
    """Isotonic regression (Zadrozny and Elkan 2002) over equal-mass bins, straight lines between the steps' centres."""
    order = np.argsort(logits, kind="stable")
    bins = np.array_split(order, max(2, min(MAX_KNOTS, len(logits) // BIN_ROWS)))
    bins = [part for part in bins if len(part)]
    mass = np.array([weights[part].sum() for part in bins])
    centres = np.array([np.average(logits[part], weights=weights[part]) for part in bins])
    # Half a row of each answer, so that no bin is certain.
    means = np.array([(weights[part] @ labels[part] + 0.5) / (weights[part].sum() + 1) for part in bins])
    steps = isotonic_regression(means, sample_weight=mass)
    raw, values = [], []
    for step in np.unique(steps):
        own = steps == step
        raw.append(np.average(centres[own], weights=mass[own]))
        values.append(np.log(step / (1 - step)))
    if len(raw) < 2:
        return Curve(slope=LEAST_SLOPE, intercept=float(values[0] - LEAST_SLOPE * raw[0]))
    return _knots(np.array(raw), np.array(values))


def _knots(raw: Reals, values: Reals) -> Curve:
    """Rounded knots; equal ones fall together."""
    kept: dict[float, float] = {}
    for x, y in zip(raw, np.maximum.accumulate(values), strict=True):
        kept[round(float(x), 6)] = round(float(y), 6)
    if len(kept) < 2:
        return Curve(slope=LEAST_SLOPE, intercept=next(iter(kept.values())))
    return Curve(raw=tuple(kept), calibrated=tuple(kept.values()))
