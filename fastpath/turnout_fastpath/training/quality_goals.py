"""The goals of routing quality beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnout_fastpath.training.evaluation.bootstrap import Figure


@dataclass(frozen=True)
class Goal:
    """A line of the table.

    Attributes:
        what: is measured.
        goal: in words.
        found: the measured values with their intervals.
        reached: by each value; empty where this script cannot tell.
    """

    what: str
    goal: str
    found: str
    reached: tuple[bool, ...]

    @property
    def verdict(self) -> str:
        """Yes, no, or by how many of the values."""
        if not self.reached:
            return "not measured here"
        if len(set(self.reached)) == 1:
            return "yes" if self.reached[0] else "**no**"
        return f"**by {sum(self.reached)} of {len(self.reached)}**"

    def cells(self) -> list[str]:
        """Of the table."""
        return [self.what, self.goal, self.found, self.verdict]


HEAD = ("what", "goal", "measured [95%]", "reached")


def at_least(what: str, goal: float, figures: Sequence[Figure], *, percent: bool = False) -> Goal:
    """A goal that each figure's value has to reach."""
    text = f"at least {goal:.0%}" if percent else f"at least {goal:g}"
    return Goal(what, text, _found(figures, percent), tuple(one.value >= goal for one in figures))


def at_most(what: str, goal: float, figures: Sequence[Figure], *, percent: bool = False) -> Goal:
    """A goal that no figure's value may exceed."""
    text = f"at most {goal:.0%}" if percent else f"at most {goal:g}"
    return Goal(what, text, _found(figures, percent), tuple(one.value <= goal for one in figures))


def as_share(figure: Figure) -> str:
    """In percent."""
    return f"{figure.value:.1%} [{figure.low:.1%}, {figure.high:.1%}]"


def _found(figures: Sequence[Figure], percent: bool) -> str:
    return "; ".join(as_share(one) if percent else str(one) for one in figures)
