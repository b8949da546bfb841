"""The measures by their definitions, row by row and threshold by threshold: slow, and independent of the package."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def orders(wish: Sequence[float]) -> list[tuple[int, ...]]:
    """Every order of the rows by falling wish; more than one where wishes are equal. For a handful of rows."""
    return [
        order
        for order in itertools.permutations(range(len(wish)))
        if all(wish[a] >= wish[b] for a, b in itertools.pairwise(order))
    ]


def pgr_points(wish: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> list[float]:
    """PGR after 0, 1, ... n rows went to the strong model, averaged over all orders of equal wishes."""
    n = len(wish)
    r_weak, r_strong = sum(weak) / n, sum(strong) / n
    found = orders(wish)
    points = []
    for k in range(n + 1):
        scores = [
            sum(strong[i] for i in order[:k]) / n + sum(weak[i] for i in order[k:]) / n for order in found
        ]
        points.append((sum(scores) / len(scores) - r_weak) / (r_strong - r_weak))
    return points


def apgr(wish: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> float:
    """The area under straight lines between the points."""
    points = pgr_points(wish, weak, strong)
    return sum((a + b) / 2 for a, b in itertools.pairwise(points)) / len(wish)


def cpt(wish: Sequence[float], weak: Sequence[float], strong: Sequence[float], level: float) -> float:
    """The least share, found by walking along the straight lines between the points."""
    points = pgr_points(wish, weak, strong)
    for k, (a, b) in enumerate(itertools.pairwise(points)):
        if b >= level - 1e-9:
            part = 1.0 if b == a else min(1.0, max(0.0, (level - a) / (b - a)))
            return 100 * (k + part) / len(wish)
    return float("nan")


def auc(wish: Sequence[float], positive: Sequence[bool]) -> float:
    """Over all pairs."""
    wins = [
        1.0 if wish[i] > wish[j] else 0.5 if wish[i] == wish[j] else 0.0
        for i in range(len(wish))
        for j in range(len(wish))
        if positive[i] and not positive[j]
    ]
    return sum(wins) / len(wins) if wins else float("nan")


def served(trust: Sequence[Sequence[float]], bar: float) -> list[int]:
    """The tier of each row at a bar: the first whose trust reaches it, else the top one."""
    return [next((t for t, value in enumerate(row) if value >= bar), len(row)) for row in trust]


def bar_curve(
    trust: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], scores: Sequence[Sequence[float]]
) -> list[tuple[float, float]]:
    """Mean cost and score at every bar that changes anything, from a bar that the least trust reaches."""
    n = len(trust)
    bars = [float("-inf"), *sorted({value for row in trust for value in row}), float("inf")]
    points: list[tuple[float, float]] = []
    for low, high in itertools.pairwise(bars):
        # Between two values of trust nothing changes; `high` itself is reached by who bears it.
        del low
        tiers = served(trust, high)
        point = (
            sum(costs[i][t] for i, t in enumerate(tiers)) / n,
            sum(scores[i][t] for i, t in enumerate(tiers)) / n,
        )
        if not points or point != points[-1]:
            points.append(point)
    return points


def best_score(costs: Sequence[Sequence[float]], scores: Sequence[Sequence[float]], budget: float) -> float:
    """The best mean score of any assignment of tiers whose mean cost is within the budget."""
    n = len(costs)
    best = float("-inf")
    for tiers in itertools.product(range(len(costs[0])), repeat=n):
        if sum(costs[i][t] for i, t in enumerate(tiers)) / n <= budget + 1e-12:
            best = max(best, sum(scores[i][t] for i, t in enumerate(tiers)) / n)
    return best


def calibration_error(p: Sequence[float], labels: Sequence[float], bins: int) -> float:
    """Rows cut into `bins` parts each, sorted, and the parts dealt to bins of equal size."""
    parts = sorted((value, label) for value, label in zip(p, labels, strict=True) for _ in range(bins))
    size = len(p)
    gaps = []
    for b in range(bins):
        own = parts[b * size : (b + 1) * size]
        gaps.append(abs(sum(value for value, _ in own) - sum(label for _, label in own)) / size)
    return sum(gaps) / bins
