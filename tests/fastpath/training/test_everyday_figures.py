"""Shares of everyday rows that an engine has placed, against the plain counts of the report."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from turnout_fastpath import Engine
from turnout_fastpath.training.everyday_figures import (
    ABSTAINED,
    FRONTIER_BELOW,
    MID_BELOW,
    SMALL_TO_SMALL,
    everyday_figures,
    gap,
)
from turnout_fastpath.training.everyday_report import Placed, place, rates
from turnout_fastpath.training.everyday_rows import load_everyday

KEYS = {
    SMALL_TO_SMALL: "small_to_small",
    MID_BELOW: "mid_below_frontier",
    FRONTIER_BELOW: "frontier_below_by_single",
    ABSTAINED: "abstained",
}


@pytest.fixture(scope="module")
def placed() -> list[Placed]:
    return place(Engine.load(), load_everyday()[::23])


def test_shares_are_those_of_the_report(placed: Sequence[Placed]) -> None:
    expected = rates(placed)
    for name, figure in everyday_figures(placed).items():
        assert figure.value == pytest.approx(expected[KEYS[name]], abs=1e-4)
        assert figure.low <= figure.value <= figure.high


def test_a_part_without_such_rows_has_no_share(placed: Sequence[Placed]) -> None:
    figures = everyday_figures([one for one in placed if one.row.tier == "small"])
    assert figures[FRONTIER_BELOW].value != figures[FRONTIER_BELOW].value
    assert figures[SMALL_TO_SMALL].value > 0.5


def test_a_gap_is_the_difference_of_two_shares(placed: Sequence[Placed]) -> None:
    def is_other(one: Placed) -> bool:
        return one.row.lang != "en"

    for name, key in KEYS.items():
        others, english = (rates([one for one in placed if is_other(one) is side]) for side in (True, False))
        figure = gap(placed, is_other, name)
        assert figure.value == pytest.approx(others[key] - english[key], abs=1e-3)
        assert figure.low <= figure.value <= figure.high
