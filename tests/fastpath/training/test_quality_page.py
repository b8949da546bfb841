"""The page on routing quality: its tables, its goals, and the part that people write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from turnout_fastpath.training.evaluation.bootstrap import Figure
from turnout_fastpath.training.quality_goals import Goal, as_share, at_least, at_most
from turnout_fastpath.training.quality_measures import CalibrationLine
from turnout_fastpath.training.quality_report import BY_HAND, write_page
from turnout_fastpath.training.quality_tables import Table, calibration_table, flip_table


def figure(value: float) -> Figure:
    return Figure(value, value - 0.1, value + 0.1)


def test_a_table_is_markdown() -> None:
    table = Table("Title", ("a", "b"), [["1", "2"], ["3", "4"]])
    assert table.markdown() == "## Title\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


@pytest.mark.parametrize(
    ("make", "values", "verdict"),
    [
        (at_least, [0.5], "yes"),
        (at_least, [0.5, 0.7], "yes"),
        (at_least, [0.49, 0.3], "**no**"),
        (at_least, [0.49, 0.6], "**by 1 of 2**"),
        (at_most, [0.5], "yes"),
        (at_most, [0.51], "**no**"),
        (at_most, [0.4, 0.6, 0.5], "**by 2 of 3**"),
    ],
)
def test_a_goal_is_reached_by_values_not_by_intervals(
    make: Callable[[str, float, Sequence[Figure]], Goal], values: list[float], verdict: str
) -> None:
    goal = make("what", 0.5, [figure(value) for value in values])
    assert goal.verdict == verdict
    assert goal.cells()[0] == "what" and goal.cells()[-1] == verdict


def test_a_goal_that_cannot_be_told_says_so() -> None:
    assert Goal("what", "0.66", "not in the data", ()).verdict == "not measured here"


def test_shares_are_in_percent() -> None:
    assert as_share(Figure(0.123, 0.1, 0.15)) == "12.3% [10.0%, 15.0%]"
    goal = at_most("what", 0.1, [Figure(0.123, 0.1, 0.15)], percent=True)
    assert goal.cells() == ["what", "at most 10%", "12.3% [10.0%, 15.0%]", "**no**"]


def test_an_error_on_the_bound_is_within_it() -> None:
    lines = [CalibrationLine("a", 10, figure(0.02), 0.02), CalibrationLine("b", 1000, figure(0.03), 0.02)]
    assert [row[-1] for row in calibration_table("c", lines).rows] == ["yes", "no"]


def test_flips_stand_beside_their_counts() -> None:
    table = flip_table({"typos": figure(0.2), "all": figure(0.3)}, {"typos": 10, "all": 1200})
    assert [row[:2] for row in table.rows] == [["typos", "10"], ["all", "1200"]]


def test_what_people_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "quality.md"
    write_page(path, "# Title\n\nold\n")
    assert path.read_text() == "# Title\n\nold\n"
    path.write_text(path.read_text() + f"\n{BY_HAND}\n\nby people\n")
    for _ in range(2):
        write_page(path, "# Title\n\nnew\n")
        assert path.read_text() == f"# Title\n\nnew\n\n{BY_HAND}\n\nby people\n"
