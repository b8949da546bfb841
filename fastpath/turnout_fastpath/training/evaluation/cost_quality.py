"""Any number of tiers: mean score over mean cost as the bar rises, and what an operator reads off it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.evaluation.ranking import Ranking

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Steps:
    """A router's way from the cheapest to the dearest assignment: moves of single rows, each at its place in the order.

    Attributes:
        rows: (m,) the row that moves.
        cost, score: (m,) what the move adds to the row's cost and score.
        rank: (m,) moves are made by falling rank; equal ranks at once.
        first_cost, first_score: (n,) of each row before any move.
    """

    rows: npt.NDArray[np.intp]
    cost: Floats
    score: Floats
    rank: Floats
    first_cost: Floats
    first_score: Floats


def bar_steps(trust: Floats, costs: Floats, scores: Floats) -> Steps:
    """The way of a bar that rises: a row is served by the first tier whose trust reaches the bar, else by the top one.

    Args:
        trust: (n, tiers - 1), such as p_sufficient, or the negative of the gain.
        costs, scores: (n, tiers), the cheapest tier first.
    """
    n, below = trust.shape
    tier = np.zeros(n, np.intp)
    reach = trust[:, 0].astype(np.float64)
    moves = []
    for following in range(1, below + 1):
        # A tier that is trusted no more than those before it never serves.
        more = np.full(n, np.inf) if following == below else trust[:, following]
        rows = np.flatnonzero(more > reach)
        moves.append(
            (
                rows,
                costs[rows, following] - costs[rows, tier[rows]],
                scores[rows, following] - scores[rows, tier[rows]],
                -reach[rows],
            )
        )
        tier[rows] = following
        reach[rows] = more[rows]
    rows, cost, score, rank = (np.concatenate(part) for part in zip(*moves, strict=True))
    return Steps(rows, cost, score, rank, costs[:, 0], scores[:, 0])


def oracle_steps(costs: Floats, scores: Floats) -> Steps:
    """The way of one who knows the scores: the moves that add most score a unit of cost first.

    Each row climbs the upper hull of its own tiers, so no router has a better mean score at any mean cost.
    """
    moves: list[tuple[int, float, float, float]] = []
    first_cost, first_score = np.empty(len(costs)), np.empty(len(costs))
    for row, (own_costs, own_scores) in enumerate(zip(costs, scores, strict=True)):
        # The cheapest; of equal costs the best.
        tier = min(range(len(own_costs)), key=lambda t: (own_costs[t], -own_scores[t]))
        first_cost[row], first_score[row] = own_costs[tier], own_scores[tier]
        while True:
            slopes = [
                ((own_scores[t] - own_scores[tier]) / (own_costs[t] - own_costs[tier]), own_costs[t], t)
                for t in range(len(own_costs))
                if own_costs[t] > own_costs[tier] and own_scores[t] > own_scores[tier]
            ]
            if not slopes:
                break
            slope, _, following = max(slopes)
            moves.append(
                (
                    row,
                    own_costs[following] - own_costs[tier],
                    own_scores[following] - own_scores[tier],
                    slope,
                )
            )
            tier = following
    rows, cost, score, rank = zip(*moves, strict=True) if moves else ((), (), (), ())
    return Steps(
        np.array(rows, np.intp), np.array(cost), np.array(score), np.array(rank), first_cost, first_score
    )


def corners(steps: Steps, weights: Floats) -> tuple[Floats, Floats]:
    """Mean cost and mean score at the curve's corners, each (..., moves of different rank + 1).

    Args:
        steps: the router's way.
        weights: (..., n).
    """
    total = weights.sum(axis=-1, keepdims=True)
    starts = [
        (weights * first).sum(axis=-1, keepdims=True) / total
        for first in (steps.first_cost, steps.first_score)
    ]
    if not len(steps.rows):
        return starts[0], starts[1]
    ranking = Ranking(steps.rank)
    added = [
        np.cumsum(ranking.sums(weights[..., steps.rows] * moved), axis=-1) / total
        for moved in (steps.cost, steps.score)
    ]
    cost, score = (
        np.concatenate([start, start + more], axis=-1) for start, more in zip(starts, added, strict=True)
    )
    return cost, score


def hull_corners(costs: Floats, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Corners of the best mixtures of tiers drawn at random: the upper hull of the tiers' own points.

    Args:
        costs, scores: (n, tiers).
        weights: (n,).
    """
    total = weights.sum()
    points = sorted(zip(weights @ costs / total, weights @ scores / total, strict=True))
    hull: list[tuple[float, float]] = []
    for cost, score in points:
        while hull and (
            (hull[-1][0] == cost and hull[-1][1] <= score)
            or (len(hull) > 1 and _is_below(hull[-2], hull[-1], (cost, score)))
        ):
            hull.pop()
        if not hull or score > hull[-1][1]:
            hull.append((cost, score))
    return np.array([cost for cost, _ in hull]), np.array([score for _, score in hull])


def _is_below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def normalised_area(cost: Floats, score: Floats, cheapest: Floats, top: Floats) -> Floats:
    """Area between always-cheapest (0) and always-top (1) on both axes: .5 on the straight line between the two.

    With two tiers of constant costs this is APGR.

    Args:
        cost, score: (..., corners).
        cheapest, top: (..., 2) mean cost and score of the two.
    """
    gap = top - cheapest
    with np.errstate(invalid="ignore", divide="ignore"):
        x = (cost - cheapest[..., :1]) / gap[..., :1]
        y = (score - cheapest[..., 1:]) / np.where(gap[..., 1:] > 0, gap[..., 1:], np.nan)
    result: Floats = ((x[..., 1:] - x[..., :-1]) * (y[..., 1:] + y[..., :-1]) / 2).sum(axis=-1)
    return result


def score_at_cost(cost: Floats, score: Floats, budget: float) -> float:
    """The mean score that a mean cost of `budget` buys; NaN where even the curve's start costs more.

    Args:
        cost, score: (corners,); the last crossing counts where recorded costs make the curve turn back.
        budget: in the unit of `cost`.
    """
    affordable = np.flatnonzero(cost <= budget)
    if not len(affordable):
        return float("nan")
    at = int(affordable[-1])
    if at == len(cost) - 1:
        return float(score[at])
    part = (budget - cost[at]) / (cost[at + 1] - cost[at])
    return float(score[at] + part * (score[at + 1] - score[at]))


def cost_at_score(cost: Floats, score: Floats, wanted: float) -> float:
    """The mean cost at which the curve first reaches a mean score of `wanted`; NaN where it never does."""
    reached = np.flatnonzero(score >= wanted - 1e-12)
    if not len(reached):
        return float("nan")
    at = int(reached[0])
    if at == 0:
        return float(cost[0])
    part = (wanted - score[at - 1]) / (score[at] - score[at - 1])
    return float(cost[at - 1] + part * (cost[at] - cost[at - 1]))
