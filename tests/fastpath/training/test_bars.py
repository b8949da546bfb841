"""Bars for a share, a cost and a quality, against trying every knob."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.training.bars import Bars, BarsError, Traffic, Wish, outcome, place, solve


def traffic_of(n: int, seed: int, n_tiers: int = 3, ties: bool = False) -> Traffic:
    """Made-up traffic whose gains and probabilities say something of the scores."""
    random = np.random.default_rng(seed)
    p = np.sort(random.random((n, n_tiers - 1)), axis=1)
    if ties:
        p = np.round(p, 1)
    gains = 1 - p + random.normal(0, 0.1, p.shape)
    scores = np.column_stack([random.random((n, n_tiers - 1)) < p, np.ones(n)]).astype(float)
    costs = np.array([0.001 * 4**t for t in range(n_tiers)]) * random.uniform(0.5, 2, (n, 1))
    return Traffic(
        tiers=tuple(f"t{i}" for i in range(n_tiers)),
        p=p,
        gains=np.round(gains, 1) if ties else gains,
        costs=costs,
        scores=scores,
        weights=random.uniform(0.5, 2, n),
        groups=np.array([str(i // 2) for i in range(n)]),
    )


@given(
    seed=st.integers(0, 10**6),
    n_tiers=st.integers(2, 8),
    share=st.floats(0, 1),
    ties=st.booleans(),
)
def test_a_share_is_met_and_no_bars_come_nearer(seed: int, n_tiers: int, share: float, ties: bool) -> None:
    traffic = traffic_of(60, seed, n_tiers, ties)
    try:
        solution = solve(traffic, Wish.FRONTIER_SHARE, share)
    except BarsError:
        everything = place(traffic, Bars(0.0, dict.fromkeys(traffic.tiers[:-1], 1.0)))
        assert outcome(traffic, everything).shares[traffic.tiers[-1]] > share
        return
    reached = solution.within.shares[traffic.tiers[-1]]
    assert reached <= share + 1e-9
    assert sum(solution.within.shares.values()) == pytest.approx(1)
    # One step of the knob further, the share is above the wish, or nothing is left to move.
    lower = {name: gain - 0.02 for name, gain in solution.bars.max_gain.items()}
    further = outcome(traffic, place(traffic, Bars(0.0, lower))).shares[traffic.tiers[-1]]
    if (
        not ties
        and min(solution.bars.max_gain.values()) > -0.9
        and max(solution.bars.max_gain.values()) < 0.9
    ):
        assert further >= reached


@given(seed=st.integers(0, 10**6), n_tiers=st.integers(2, 8))
def test_a_cost_is_met(seed: int, n_tiers: int) -> None:
    traffic = traffic_of(80, seed, n_tiers)
    dear = outcome(traffic, np.full(80, n_tiers - 1)).cost_per_1k
    assert dear is not None
    solution = solve(traffic, Wish.MAX_COST_PER_1K, 0.7 * dear)
    assert solution.within.cost_per_1k is not None
    assert solution.within.cost_per_1k <= 0.7 * dear + 1e-9
    # Tiers that save more may lose more.
    gains = list(solution.bars.max_gain.values())
    assert gains == sorted(gains, reverse=True) or max(gains) <= 0


def test_a_quality_is_met_with_the_lowest_bar() -> None:
    traffic = traffic_of(400, 1)
    solution = solve(traffic, Wish.QUALITY, 0.9)
    assert solution.bars.max_gain == {}
    assert solution.within.quality is not None and solution.within.quality >= 0.9
    lower = outcome(traffic, place(traffic, Bars(solution.bars.default - 0.02, {})))
    assert lower.quality is not None and lower.quality < solution.within.quality
    assert solution.beyond.quality == pytest.approx(solution.within.quality, abs=0.05)


def test_one_knob_gives_every_tier_a_gain_in_the_ratio_of_what_it_saves() -> None:
    traffic = traffic_of(500, 2, 4)
    bars = solve(traffic, Wish.FRONTIER_SHARE, 0.4).bars
    costs = traffic.mean_costs
    rates = [gain / (1 - cost / costs[-1]) for gain, cost in zip(bars.max_gain.values(), costs, strict=False)]
    assert rates == pytest.approx([rates[0]] * 3, abs=1e-3)


def test_wishes_that_cannot_be_met() -> None:
    traffic = traffic_of(50, 3)
    unknown = np.full((50, 3), np.nan)
    with pytest.raises(BarsError, match="no costs of t0, t1, t2"):
        solve(dataclasses.replace(traffic, costs=unknown), Wish.MAX_COST_PER_1K, 1.0)
    with pytest.raises(BarsError, match="the least that tiers below the top allow is"):
        solve(traffic, Wish.MAX_COST_PER_1K, 1e-6)
    with pytest.raises(BarsError, match="no row has a score of every tier"):
        solve(dataclasses.replace(traffic, scores=unknown), Wish.QUALITY, 0.9)


def test_policy_lines() -> None:
    assert Bars(0.75, {}).yaml() == "bars:\n  default: 0.75"
    assert (
        Bars(0.0, {"small": 0.1}).yaml({"small": "cheap"})
        == "bars:\n  default: 0\n  max_gain:\n    cheap: 0.1"
    )
