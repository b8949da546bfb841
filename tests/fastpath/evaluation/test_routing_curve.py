"""APGR, CPT and RouteLLM's protocol: by hand, and against brute force over thresholds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from turnout_fastpath.training.evaluation.ranking import Ranking
from turnout_fastpath.training.evaluation.routing_curve import apgr, cpt, decile_apgr

from tests.fastpath.evaluation import reference

SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
# Few enough rows that every order of equal wishes can be tried.
ROWS = st.lists(st.tuples(st.integers(0, 3), SCORES, SCORES), min_size=1, max_size=6)

Rows = list[tuple[int, float, float]]


def columns(rows: Rows) -> tuple[list[float], list[float], list[float]]:
    wish, weak, strong = zip(*rows, strict=True)
    assume(sum(strong) > sum(weak))
    return [float(w) for w in wish], list(weak), list(strong)


def gains(weak: list[float], strong: list[float]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.array(strong, np.float64) - np.array(weak, np.float64)
    return result


@given(ROWS)
def test_apgr_is_the_mean_over_all_orders_of_ties(rows: Rows) -> None:
    wish, weak, strong = columns(rows)
    found = apgr(Ranking(np.array(wish)), gains(weak, strong), np.ones(len(rows)))
    assert found == pytest.approx(reference.apgr(wish, weak, strong))


@given(ROWS, st.sampled_from([0.2, 0.5, 0.8, 1.0]))
def test_cpt_is_where_the_curve_first_gets_there(rows: Rows, level: float) -> None:
    wish, weak, strong = columns(rows)
    found = cpt(Ranking(np.array(wish)), gains(weak, strong), np.ones(len(rows)), level)
    assert found == pytest.approx(reference.cpt(wish, weak, strong, level))


@given(ROWS, st.data())
def test_a_weight_is_so_many_equal_rows(rows: Rows, data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    wish, weak, strong = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    repeated = np.repeat(np.arange(len(rows)), counts)
    assume(len(repeated) and (strong - weak)[repeated].sum() > 0)
    gain = strong - weak
    weights = np.array([counts, counts], np.float64)
    one = np.ones(len(repeated))
    expanded, weighted = (Ranking(wish[repeated]), gain[repeated], one), (Ranking(wish), gain, weights)
    assert apgr(*weighted) == pytest.approx([float(apgr(*expanded))] * 2)
    assert cpt(*weighted, 0.5) == pytest.approx([float(cpt(*expanded, 0.5))] * 2)


def test_a_pair_by_hand() -> None:
    """Four rows, the strong model right on all, the weak one on two; a router that knows which.

    PGR after 0 to 4 strong calls is 0, .5, 1, 1, 1: trapezoids .25, .75, 1, 1, a quarter of the axis each.
    """
    gain, weights = np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4)
    knows, errs = Ranking(np.array([4.0, 3.0, 2.0, 1.0])), Ranking(np.array([1.0, 2.0, 3.0, 4.0]))
    assert apgr(knows, gain, weights) == pytest.approx(0.75)
    assert apgr(errs, gain, weights) == pytest.approx(0.25)
    assert cpt(knows, gain, weights, 0.5) == pytest.approx(25)
    assert cpt(knows, gain, weights, 0.8) == pytest.approx(40)
    assert cpt(errs, gain, weights, 0.5) == pytest.approx(75)


def test_a_coin_gets_half_and_the_oracle_more_than_one() -> None:
    gain, weights = np.array([1.0, 1.0, 0.0, -1.0]), np.ones(4)
    coin = Ranking(np.zeros(4))
    assert apgr(coin, gain, weights) == pytest.approx(0.5)
    assert cpt(coin, gain, weights, 0.8) == pytest.approx(80)
    # PGR 0, 1, 2, 2, 1: .5 + 1.5 + 2 + 1.5, over four.
    assert apgr(Ranking(gain), gain, weights) == pytest.approx(1.375)


def test_no_gap_no_figure() -> None:
    """A strong model that adds nothing has no gap to recover."""
    gain, weights = np.array([1.0, -1.0]), np.ones(2)
    ranking = Ranking(np.array([1.0, 0.0]))
    assert np.isnan(apgr(ranking, gain, weights))
    assert np.isnan(cpt(ranking, gain, weights, 0.5))


def test_deciles_by_hand() -> None:
    """Eleven rows have their decile edges at themselves: shares 1/11 to 1, PGR there, over the width 10/11."""
    wish = np.arange(11.0)
    gain = np.array([0.0] * 10 + [1.0])
    assert decile_apgr(wish, gain) == pytest.approx(1.0)
    assert decile_apgr(-wish, gain) == pytest.approx(0.05)
    assert decile_apgr(np.zeros(11), gain) == 0.5


def test_deciles_come_close_to_all_thresholds() -> None:
    """On thousands of rows the two protocols differ by some thousandths."""
    source = np.random.default_rng(0)
    wish = source.normal(size=5000)
    gain = (source.random(5000) < 0.2 + 0.1 * np.clip(wish, -1, 1)).astype(np.float64)
    exact = float(apgr(Ranking(wish), gain, np.ones(5000)))
    assert decile_apgr(wish, gain) == pytest.approx(exact, abs=0.005)
