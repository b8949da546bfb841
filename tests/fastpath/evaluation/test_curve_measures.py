"""The way of bars that rise one tier after the other, and where one curve lies above another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.training.evaluation.bootstrap import Figure
from turnout_fastpath.training.evaluation.cost_quality import bar_steps, corners
from turnout_fastpath.training.evaluation.curve_measures import (
    CurveMeasures,
    TierCurves,
    least_lead,
    tier_by_tier,
)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), tiers=st.integers(2, 4))
def test_bars_tier_by_tier_pass_through_each_tier_alone(seed: int, n: int, tiers: int) -> None:
    source = np.random.default_rng(seed)
    # Beyond what gains can be, too.
    gains = source.choice([-1.5, -1.0, 0.0, 0.3, 1.0, 1.2], (n, tiers - 1))
    costs, scores = np.tile(3.0 ** np.arange(tiers), (n, 1)), source.random((n, tiers))
    cost, score = corners(bar_steps(tier_by_tier(gains), costs, scores), np.ones(n))
    assert (np.diff(cost) > 0).all()
    for tier in range(tiers):
        (at,) = np.flatnonzero(np.isclose(cost, costs[0, tier]))
        assert score[at] == pytest.approx(scores[:, tier].mean())


def test_the_rows_with_the_greatest_gain_leave_a_tier_first() -> None:
    trust = tier_by_tier(np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert trust[0, 0] < trust[1, 0] < trust[1, 1] < trust[0, 1]


def curves(**points: list[tuple[float, float]]) -> TierCurves:
    nothing = Figure(0.0, 0.0, 0.0)
    costs = {"low": 0.0, "mid": 4.0, "top": 10.0}
    return TierCurves(
        rows=1,
        groups=1,
        quality=0.97,
        tiers={name: (Figure(cost, cost, cost), nothing) for name, cost in costs.items()},
        best_single="top",
        curves={
            name: CurveMeasures(nothing, nothing, nothing, nothing, tuple(own))
            for name, own in points.items()
        },
    )


def test_the_least_lead_is_where_two_curves_come_nearest() -> None:
    found = curves(ours=[(0, 0.5), (6, 0.7), (10, 1.0)], other=[(0, 0.0), (6, 0.6), (10, 0.5)])
    assert least_lead(found, "ours", "other") == pytest.approx((0.1, 0.6))
    assert least_lead(found, "other", "ours")[0] == pytest.approx(-0.5, abs=0.01)


def test_tiers_alone_are_left_out_since_curves_may_meet_there() -> None:
    found = curves(
        ours=[(0, 0.0), (2, 0.4), (4, 0.5), (7, 0.9), (10, 1.0)], other=[(0, 0.0), (4, 0.5), (10, 1.0)]
    )
    lead, cost = least_lead(found, "ours", "other")
    assert lead > 0
    assert cost not in (0.0, 0.4, 1.0)
