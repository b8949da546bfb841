"""All tiers together: the cost-quality curve of the bar, for a router and beside the baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.evaluation.baselines import category_means, length_wish, trust_by_rank
from turnout_fastpath.training.evaluation.bootstrap import Figure, GroupBootstrap
from turnout_fastpath.training.evaluation.cost_quality import (
    bar_steps,
    corners,
    cost_at_score,
    hull_corners,
    normalised_area,
    oracle_steps,
    score_at_cost,
)

Reals = npt.NDArray[np.floating[Any]]
Corners = tuple[Reals, Reals]
CurveOf = Callable[[Reals], Corners]

ROUTER, BY_GAIN, BY_TIER = "bar on p_sufficient", "bar on gain", "bars on gain, tier by tier"
RANDOM, LENGTH, CATEGORY, ORACLE = "random mixture", "prompt length", "category mean", "oracle"
# Points of a curve that a report keeps.
KEPT_POINTS = 101


@dataclass(frozen=True, eq=False)
class CurveRows:
    """n rows of which every tier's score and cost are known; arrays as of PairRows, (n, tiers) for scores and costs."""

    scores: Reals
    costs: Reals
    suffices: Reals
    expected_gains: Reals
    trust: Reals
    texts: npt.NDArray[np.object_]
    categories: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    weights: Reals

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: npt.NDArray[np.bool_]) -> CurveRows:
        """These rows."""
        return CurveRows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class CurveMeasures:
    """What is read off one curve.

    Attributes:
        area: between always-cheapest and always-top, normalised; .5 on the line between the two.
        score_at_half, score_at_30: mean score at 50% and 30% of always-top's cost.
        saved: share of always-top's cost that is saved at `quality` of its score.
        points: (mean cost, mean score).
    """

    area: Figure
    score_at_half: Figure
    score_at_30: Figure
    saved: Figure
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TierCurves:
    """All curves on some rows; `tiers` are (mean cost, mean score) of each tier alone."""

    rows: int
    groups: int
    quality: float
    tiers: dict[str, tuple[Figure, Figure]]
    best_single: str
    curves: dict[str, CurveMeasures]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def tier_by_tier(expected_gains: Reals) -> Reals:
    """(n, tiers - 1) trust with which a rising bar leaves the cheapest tier altogether, then the next.

    A policy does it by bars of its tiers: while the cheapest tier's bar rises, the next one serves all the rest.
    """
    tiers = np.arange(expected_gains.shape[1])
    # Gains lie in [-1, 1]: each tier's trust stays below that of the next.
    result: Reals = tiers + (1 - np.clip(expected_gains, -1, 1)) / 2.01
    return result


def least_lead(curves: TierCurves, name: str, other: str) -> tuple[float, float]:
    """The least difference of score between two curves at equal cost, and the share of the top's cost where it lies.

    Between the cheapest and the top tier; what all rows cost in one tier is left out, since there curves may meet.
    """
    costs = np.array([cost.value for cost, _ in curves.tiers.values()])
    grid = np.linspace(costs.min(), costs.max(), KEPT_POINTS)
    step = grid[1] - grid[0]
    grid = grid[np.abs(grid[:, None] - costs).min(axis=1) >= step]
    ours, theirs = (np.interp(grid, *np.array(curves.curves[one].points).T) for one in (name, other))
    at = int((ours - theirs).argmin())
    return float((ours - theirs)[at]), float(grid[at] / costs.max())


def measure_curves(rows: CurveRows, names: tuple[str, ...], *, quality: float, replicates: int) -> TierCurves:
    """Every curve of some rows.

    Args:
        rows: at least one.
        names: of the tiers, the cheapest first.
        quality: share of always-top's mean score at which savings are stated.
        replicates: of the bootstrap.
    """
    draws = GroupBootstrap(rows.groups, rows.weights, replicates=replicates)
    tiers = {
        name: (draws.mean(rows.costs[:, t]), draws.mean(rows.scores[:, t])) for t, name in enumerate(names)
    }
    return TierCurves(
        rows=len(rows),
        groups=draws.n_groups,
        quality=quality,
        tiers=tiers,
        best_single=max(names, key=lambda name: (tiers[name][1].value, -tiers[name][0].value)),
        curves={name: _measure(curve, rows, draws, quality) for name, curve in _curves(rows).items()},
    )


def _curves(rows: CurveRows) -> dict[str, CurveOf]:
    """Each way to spend, as a function of the weights to the curve's corners."""
    rates = np.average(rows.suffices, axis=0, weights=rows.weights)
    ways = {
        ROUTER: rows.trust,
        BY_GAIN: -rows.expected_gains,
        BY_TIER: tier_by_tier(rows.expected_gains),
        LENGTH: trust_by_rank(length_wish(list(rows.texts)), rates),
    }
    if len(np.unique(rows.categories)) > 1:
        ways[CATEGORY] = np.stack(
            [
                category_means(rows.suffices[:, t], rows.categories, rows.groups, rows.weights)
                for t in range(rows.suffices.shape[1])
            ],
            axis=1,
        )
    found: dict[str, CurveOf] = {}
    for name, trust in ways.items():
        steps = bar_steps(trust, rows.costs, rows.scores)
        found[name] = lambda weights, steps=steps: corners(steps, weights)  # type: ignore[misc]
    best = oracle_steps(rows.costs, rows.scores)
    found[RANDOM] = lambda weights: hull_corners(rows.costs, rows.scores, weights)
    found[ORACLE] = lambda weights: corners(best, weights)
    return found


def _measure(curve: CurveOf, rows: CurveRows, draws: GroupBootstrap, quality: float) -> CurveMeasures:
    def all_measures(weights: Reals) -> Reals:
        return np.stack([_read_off(curve, rows, own, quality) for own in weights])

    measured = draws.figures(all_measures)
    cost, score = curve(draws.weights)
    kept = np.unique(np.linspace(0, len(cost) - 1, KEPT_POINTS).round().astype(int))
    area, at_half, at_30, saved = measured
    return CurveMeasures(
        area, at_half, at_30, saved, points=tuple(zip(cost[kept].tolist(), score[kept].tolist(), strict=True))
    )


def _read_off(curve: CurveOf, rows: CurveRows, weights: Reals, quality: float) -> Reals:
    cost, score = curve(weights)
    cheapest, top = (
        np.array([np.average(values[:, t], weights=weights) for values in (rows.costs, rows.scores)])
        for t in (0, -1)
    )
    if cost[-1] < top[0]:
        # Money that is left buys nothing more.
        cost, score = np.append(cost, top[0]), np.append(score, score[-1])
    return np.array(
        [
            float(normalised_area(cost, score, cheapest, top)),
            score_at_cost(cost, score, 0.5 * top[0]),
            score_at_cost(cost, score, 0.3 * top[0]),
            1 - cost_at_score(cost, score, quality * top[1]) / top[0],
        ]
    )
