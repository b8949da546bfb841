"""What is wrong with a file of labels: row, column, value and limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN_CHARS = 80


@dataclass(frozen=True)
class DataDefect:
    """One thing that is wrong.

    Attributes:
        column: such as "scores.small"; empty where it is the row or the file as a whole.
        problem: the value, and what is allowed.
        row: number from 1 (the line of JSON Lines); None where it is the file as a whole.
    """

    column: str
    problem: str
    row: int | None = None

    def __str__(self) -> str:
        place = "" if self.row is None else f"row {self.row}: "
        return f"{place}{self.column}: {self.problem}" if self.column else f"{place}{self.problem}"


class RowError(ValueError):
    """A value of one row that breaks a limit."""

    def __init__(self, column: str, problem: str) -> None:
        self.column = column
        self.problem = problem
        super().__init__(f"{column}: {problem}")


class DataError(ValueError):
    """A file of labels that cannot be used; the text has a line for each defect.

    Attributes:
        path: the file.
        defects: what is wrong, the first rows first.
    """

    def __init__(self, path: Path, defects: Sequence[DataDefect]) -> None:
        self.path = path
        self.defects = tuple(defects)
        super().__init__("\n".join(f"{path}: {defect}" for defect in defects))


def shown(value: object) -> str:
    """A value for an error's text, shortened."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."
