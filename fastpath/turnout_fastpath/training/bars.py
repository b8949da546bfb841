"""Turns one wish (a share, a cost, a quality) into the bars of a policy, solved on traffic.

Shares and costs rank by gain. The knob is the price of quality: what a point of score may cost. A tier serves if the gain
of the top tier is at most the knob times the share of the top's cost that the tier saves; so one number gives a `max_gain`
for each tier, and raising it moves requests to cheaper tiers only. Quality thresholds p_sufficient: one bar for all tiers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.fit import group_folds
from turnout_fastpath.training.linear_fits import Reals

Integers = npt.NDArray[np.intp]

FOLDS = 5
# Decimals of bars and gains in the policy lines; a bar is rounded to the safe side.
DECIMALS = 4
NEVER_BAR = 1.0


class Wish(Enum):
    """What is asked of the bars."""

    FRONTIER_SHARE = "frontier_share"
    MAX_COST_PER_1K = "max_cost_per_1k"
    QUALITY = "quality"


class BarsError(ValueError):
    """A wish that the traffic cannot meet, or cannot be solved on; the text says why."""


@dataclass(frozen=True, eq=False)
class Traffic:
    """n requests through a bundle, and what their answers cost and scored.

    Attributes:
        tiers: (t,) names, cheapest first; the last is the top and has no head.
        p, gains: (n, t - 1) by head, calibrated.
        costs: (n, t) US dollars; NaN where unknown.
        scores: (n, t); NaN where unknown.
        weights, groups: (n,).
    """

    tiers: tuple[str, ...]
    p: Reals
    gains: Reals
    costs: Reals
    scores: Reals
    weights: Reals
    groups: npt.NDArray[np.str_]

    def take(self, rows: Integers) -> Traffic:
        """These rows."""
        return Traffic(
            self.tiers,
            self.p[rows],
            self.gains[rows],
            self.costs[rows],
            self.scores[rows],
            self.weights[rows],
            self.groups[rows],
        )

    @property
    def mean_costs(self) -> Reals:
        """(t,) weighted mean of the known costs; NaN for a tier without any."""
        return np.array([_mean(self.costs[:, t], self.weights) for t in range(len(self.tiers))])

    @property
    def savings(self) -> Reals:
        """(t - 1,) share of the top's mean cost that each tier saves; 1 for all where costs are not known."""
        costs = self.mean_costs
        if np.isnan(costs).any() or costs[-1] <= 0:
            return np.ones(len(self.tiers) - 1)
        savings: Reals = np.maximum(1 - costs[:-1] / costs[-1], 0.01)
        return savings


@dataclass(frozen=True)
class Bars:
    """What stands under `bars` in a policy."""

    default: float
    max_gain: Mapping[str, float]

    def policy(self) -> dict[str, Any]:
        """As a resolved document has it."""
        return {
            "default": self.default,
            "tiers": {},
            "tasks": {},
            "tenants": {},
            "max_gain": dict(self.max_gain),
        }

    def yaml(self) -> str:
        """Lines to paste under a policy."""
        lines = ["bars:", f"  default: {self.default:g}"]
        if self.max_gain:
            lines.append("  max_gain:")
            lines += [f"    {name}: {gain:g}" for name, gain in self.max_gain.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Outcome:
    """Where traffic goes at some bars.

    Attributes:
        shares: by tier, weighted.
        cost_per_1k: US dollars for a thousand requests; None where costs are unknown.
        quality: mean score over the top tier's, on the rows that tell; None without any.
    """

    shares: Mapping[str, float]
    cost_per_1k: float | None
    quality: float | None


@dataclass(frozen=True)
class Solution:
    """Bars for a wish.

    Attributes:
        bars: solved on all rows.
        within: what these bars do to the rows they were solved on.
        beyond: what bars solved on four fifths of the groups do to the fifth left out, over all fifths.
    """

    wish: Wish
    target: float
    bars: Bars
    within: Outcome
    beyond: Outcome


def solve(traffic: Traffic, wish: Wish, target: float) -> Solution:
    """Solves for a wish.

    Args:
        traffic: to solve on.
        wish: of what.
        target: the greatest share in [0, 1] of requests that go to the top tier; the greatest mean cost in US dollars for
            a thousand requests; or the least mean score as a share, above 0 and at most 1, of the top tier's.

    Raises:
        BarsError: the traffic lacks costs or scores, or no bars meet the wish.
    """
    bars = _solve(traffic, wish, target)
    placed = place(traffic, bars)
    beyond = np.full(len(placed), -1, np.intp)
    fold_of = group_folds(traffic.groups, FOLDS, 47)
    for fold in range(FOLDS):
        rest, held = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if len(rest) and len(held):
            beyond[held] = place(traffic.take(held), _solve(traffic.take(rest), wish, target, strict=False))
    judged = np.flatnonzero(beyond >= 0)
    return Solution(
        wish, target, bars, outcome(traffic, placed), outcome(traffic.take(judged), beyond[judged])
    )


def place(traffic: Traffic, bars: Bars) -> Integers:
    """(n,) number of the tier that serves, by the engine's rule: the cheapest that passes, else the top."""
    top = len(traffic.tiers) - 1
    limits = np.array([bars.max_gain.get(name, np.inf) for name in traffic.tiers[:-1]])
    # As the engine clips gains.
    passes = (traffic.p >= bars.default) & (np.clip(traffic.gains, -1, 1) <= limits)
    return np.where(passes.any(axis=1), passes.argmax(axis=1), top).astype(np.intp)


def outcome(traffic: Traffic, placed: Integers) -> Outcome:
    """What comes of a placement."""
    total = traffic.weights.sum()
    shares = np.bincount(placed, traffic.weights, len(traffic.tiers)) / total
    return Outcome(
        shares={name: float(share) for name, share in zip(traffic.tiers, shares, strict=True)},
        cost_per_1k=_cost(traffic, placed),
        quality=_quality(traffic, placed),
    )


def _solve(traffic: Traffic, wish: Wish, target: float, *, strict: bool = True) -> Bars:
    if wish is Wish.QUALITY:
        return _solve_quality(traffic, target, strict=strict)
    savings = traffic.savings
    # The knobs at which some request changes its tier, from all at the top to as few as can be.
    knobs = np.unique(np.clip(traffic.gains, -1, 1) / savings)
    knobs = np.concatenate([[knobs[0] - 1e-3], knobs])
    if wish is Wish.MAX_COST_PER_1K and np.isnan(traffic.mean_costs).any():
        missing = [
            name for name, cost in zip(traffic.tiers, traffic.mean_costs, strict=True) if np.isnan(cost)
        ]
        raise BarsError(
            f"no costs of {', '.join(missing)}: needed for a cost ceiling, in the data or by a policy's prices"
        )

    def reached(knob: float) -> float:
        placed = place(traffic, _gain_bars(traffic, savings, knob))
        if wish is Wish.FRONTIER_SHARE:
            return float(traffic.weights[placed == len(traffic.tiers) - 1].sum() / traffic.weights.sum())
        return _cost(traffic, placed) or 0.0

    best = reached(knobs[-1])
    if best > target + 1e-12:
        if strict:
            what = "a share of" if wish is Wish.FRONTIER_SHARE else "a cost per 1,000 of"
            raise BarsError(
                f"no bars give {what} {target:g}: the least that tiers below the top allow is {best:.4g}"
            )
        return _gain_bars(traffic, savings, knobs[-1])
    low, high = 0, len(knobs) - 1
    while low < high:
        middle = (low + high) // 2
        if reached(knobs[middle]) <= target + 1e-12:
            high = middle
        else:
            low = middle + 1
    return _gain_bars(traffic, savings, knobs[high])


def _gain_bars(traffic: Traffic, savings: Reals, knob: float) -> Bars:
    step = 10.0**-DECIMALS
    limits = np.clip(np.ceil(knob * savings / step - 1e-9) * step, -1, 1)
    return Bars(
        0.0, {name: round(float(x), DECIMALS) for name, x in zip(traffic.tiers[:-1], limits, strict=True)}
    )


def _solve_quality(traffic: Traffic, target: float, *, strict: bool) -> Bars:
    if not np.isfinite(traffic.scores).all(axis=1).any():
        raise BarsError("no row has a score of every tier: needed for a quality")
    grid = np.unique(np.ceil(np.append(traffic.p.ravel(), 0.0) * 1000) / 1000)
    chosen = NEVER_BAR
    # From the top down, so that every higher bar meets the wish as well.
    for bar in grid[::-1]:
        reached = _quality(traffic, place(traffic, Bars(float(bar), {})))
        if reached is not None and reached < target - 1e-12:
            break
        chosen = float(bar)
    if chosen == NEVER_BAR and strict:
        reached = _quality(traffic, place(traffic, Bars(NEVER_BAR, {})))
        if reached is not None and reached < target - 1e-12:
            raise BarsError(f"no bar gives a quality of {target:g}: the greatest is {reached:.4g}")
    return Bars(round(chosen, 3), {})


def _cost(traffic: Traffic, placed: Integers) -> float | None:
    means = traffic.mean_costs
    if np.isnan(means).any():
        return None
    own = traffic.costs[np.arange(len(placed)), placed]
    costs = np.where(np.isnan(own), means[placed], own)
    return float(1000 * np.average(costs, weights=traffic.weights))


def _quality(traffic: Traffic, placed: Integers) -> float | None:
    """Weighted mean score of the serving tiers over the top's, on rows that have scores of all tiers."""
    known = np.isfinite(traffic.scores).all(axis=1)
    if not known.any():
        return None
    served = traffic.scores[np.arange(len(placed)), placed][known]
    weights = traffic.weights[known]
    best = float(np.average(traffic.scores[known, -1], weights=weights))
    return float(np.average(served, weights=weights)) / best if best > 0 else None


def _mean(values: Reals, weights: Reals) -> float:
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")


def by_tier(placed: Sequence[str], tiers: Sequence[str]) -> Integers:
    """Numbers of tiers from their names."""
    number = {name: i for i, name in enumerate(tiers)}
    return np.array([number[name] for name in placed], np.intp)
