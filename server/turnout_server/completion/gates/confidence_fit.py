"""Thresholds of confidence by task, fitted on answers that were graded.

A threshold is the least confidence at and above which the share of wrong answers is, with 95% certainty, at most the
target: it lets as much as it can stay on the cheap tier. The certainty is Wilson's upper bound of the share
(E. B. Wilson, Journal of the American Statistical Association 22, 1927).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# One-sided 95% point of the normal distribution.
_Z = 1.6448536269514722
MIN_ROWS = 50
"""Graded answers that a task needs for a threshold of its own."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A graded answer: its task, its confidence from 0 to 1, and whether it was right."""

    task: str
    confidence: float
    right: bool


@dataclass(frozen=True)
class Thresholds:
    """Least confidences, 0 to 1.

    Attributes:
        default: for tasks without one of their own; None: they are not checked.
        tasks: by task. A threshold above 1 lets nothing through.
    """

    default: float | None = None
    tasks: Mapping[str, float] = field(default_factory=dict)

    def for_task(self, task: str) -> float | None:
        """The task's threshold; None: it is not checked."""
        return self.tasks.get(task, self.default)


REFUSE_ALL = 1.5
"""A threshold that no confidence reaches: at none is the target kept."""


def fit_thresholds(rows: Iterable[Graded], max_wrong: float, min_rows: int = MIN_ROWS) -> Thresholds:
    """Thresholds by task, and a default over all rows.

    Args:
        rows: graded answers.
        max_wrong: greatest share of wrong answers among those that stay, above 0 and below 1.
        min_rows: rows below which a task gets the default, and the default is None.

    Raises:
        ValueError: `max_wrong` is not a share between 0 and 1.
    """
    if not 0 < max_wrong < 1:
        raise ValueError(f"max_wrong: {max_wrong}, needed: above 0 and below 1")
    by_task: dict[str, list[Graded]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    everything = [row for group in by_task.values() for row in group]
    return Thresholds(
        default=_fit(everything, max_wrong) if len(everything) >= min_rows else None,
        tasks={
            task: _fit(group, max_wrong) for task, group in sorted(by_task.items()) if len(group) >= min_rows
        },
    )


def _fit(rows: list[Graded], max_wrong: float) -> float:
    ranked = sorted(rows, key=lambda row: -row.confidence)
    threshold = REFUSE_ALL
    wrong = 0
    for number, row in enumerate(ranked, 1):
        wrong += not row.right
        # Rows of one confidence stay or go together.
        last = number == len(ranked) or ranked[number].confidence != row.confidence
        if last and upper_bound(wrong, number) <= max_wrong:
            threshold = row.confidence
    return threshold


def upper_bound(wrong: int, of: int) -> float:
    """Wilson's one-sided 95% upper bound of a share."""
    share = wrong / of
    centre = share + _Z * _Z / (2 * of)
    spread = _Z * math.sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of))
    return min((centre + spread) / (1 + _Z * _Z / of), 1.0)
