"""The cost-quality curve against every bar, the oracle against every assignment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_fastpath.training.evaluation.cost_quality import (
    bar_steps,
    corners,
    cost_at_score,
    hull_corners,
    normalised_area,
    oracle_steps,
    score_at_cost,
)
from turnout_fastpath.training.evaluation.ranking import Ranking
from turnout_fastpath.training.evaluation.routing_curve import apgr

from tests.fastpath.evaluation import reference

Array = npt.NDArray[np.float64]


@st.composite
def tables(draw: st.DrawFn, tiers: int = 3, most: int = 6) -> tuple[Array, Array, Array]:
    """Trust, costs that rise with the tier, scores."""
    n = draw(st.integers(1, most))
    trust = draw(
        st.lists(st.lists(st.integers(0, 4), min_size=tiers - 1, max_size=tiers - 1), min_size=n, max_size=n)
    )
    steps = draw(
        st.lists(st.lists(st.integers(1, 4), min_size=tiers, max_size=tiers), min_size=n, max_size=n)
    )
    scores = draw(
        st.lists(
            st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=tiers, max_size=tiers), min_size=n, max_size=n
        )
    )
    return np.array(trust) / 4, np.cumsum(np.array(steps, np.float64), axis=1), np.array(scores)


@given(tables())
def test_corners_are_those_of_every_bar(given_table: tuple[Array, Array, Array]) -> None:
    trust, costs, scores = given_table
    cost, score = corners(bar_steps(trust, costs, scores), np.ones(len(trust)))
    expected = reference.bar_curve(trust.tolist(), costs.tolist(), scores.tolist())
    # A bar that moves rows to a tier of equal cost and score leaves the point where it was.
    found = [(cost[0], score[0])]
    for point in zip(cost[1:], score[1:], strict=True):
        if point != pytest.approx(found[-1]):
            found.append(point)
    assert np.array(found) == pytest.approx(np.array(expected))


@given(tables(), st.data())
def test_a_weight_is_so_many_equal_rows(given_table: tuple[Array, Array, Array], data: st.DataObject) -> None:
    trust, costs, scores = given_table
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(trust), max_size=len(trust)).filter(any))
    rows = np.repeat(np.arange(len(trust)), counts)
    weighted = corners(bar_steps(trust, costs, scores), np.array([counts], np.float64))
    cost, score = corners(bar_steps(trust[rows], costs[rows], scores[rows]), np.ones(len(rows)))
    # Rows of weight 0 add corners that lie on another.
    assert set(np.round(weighted[0][0], 9)) == set(np.round(cost, 9))
    assert set(np.round(weighted[1][0], 9)) == set(np.round(score, 9))


@given(tables(tiers=2))
def test_two_tiers_of_one_price_each_give_apgr(given_table: tuple[Array, Array, Array]) -> None:
    trust, _, scores = given_table
    costs = np.tile([1.0, 12.0], (len(trust), 1))
    gain = scores[:, 1] - scores[:, 0]
    expected = apgr(Ranking(-trust[:, 0]), gain, np.ones(len(trust)))
    means = [np.array([costs[:, t].mean(), scores[:, t].mean()]) for t in (0, 1)]
    found = normalised_area(*corners(bar_steps(trust, costs, scores), np.ones(len(trust))), *means)
    assert found == pytest.approx(expected, nan_ok=True)


@settings(max_examples=60)
@given(tables(most=5), st.integers(0, 40))
def test_no_assignment_is_better_than_the_oracle(
    given_table: tuple[Array, Array, Array], tenths: int
) -> None:
    _, costs, scores = given_table
    cost, score = corners(oracle_steps(costs, scores), np.ones(len(costs)))
    low, high = costs[:, 0].mean(), costs[:, -1].mean()
    budget = low + (high - low) * tenths / 40
    best = reference.best_score(costs.tolist(), scores.tolist(), budget)
    assert score_at_cost(cost, score, budget) >= best - 1e-9
    # Its own corners are assignments, so at them it is no better either.
    for at, found in zip(cost, score, strict=True):
        assert reference.best_score(costs.tolist(), scores.tolist(), at) == pytest.approx(found)


def test_three_tiers_by_hand() -> None:
    """Two rows, prices 1, 2 and 12. The first trusts the middle tier more than the second trusts any."""
    trust = np.array([[0.2, 0.9], [0.5, 0.4]])
    costs = np.tile([1.0, 2.0, 12.0], (2, 1))
    scores = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    cost, score = corners(bar_steps(trust, costs, scores), np.ones(2))
    # Above .2 the first row is the middle tier's; above .5 the second is the top's, for it trusts the middle less;
    # above .9 both are.
    assert cost.tolist() == [1, 1.5, 7, 12]
    assert score.tolist() == [0.5, 1, 1, 1]
    assert score_at_cost(cost, score, 6) == 1
    assert score_at_cost(cost, score, 1.25) == 0.75
    assert np.isnan(score_at_cost(cost, score, 0.5))
    assert cost_at_score(cost, score, 0.75) == 1.25
    assert cost_at_score(cost, score, 0.5) == 1
    assert np.isnan(cost_at_score(cost, score, 1.1))


def test_the_hull_leaves_out_what_a_mixture_beats() -> None:
    costs = np.tile([1.0, 2.0, 3.0, 4.0], (2, 1))
    scores = np.array([[0.0, 0.1, 1.0, 0.9], [0.0, 0.1, 1.0, 0.9]])
    cost, score = hull_corners(costs, scores, np.ones(2))
    assert cost.tolist() == [1, 3]
    assert score == pytest.approx([0, 1])
