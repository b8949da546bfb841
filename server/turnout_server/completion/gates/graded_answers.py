"""Graded answers in a file of JSON Lines, from which confidence thresholds are fitted.

A line is an object: `task` (text; empty or left out: none), `accepted` (true or false: was the answer good enough?), and
the answer's confidence in one of three forms: `confidence` (geometric mean of the token probabilities, above 0 to 1),
`mean_logprob` (mean natural logarithm, at most 0) or `logprobs` (the list of them). Other fields are not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from turnout_server.completion.gates.confidence_fit import Graded

MAX_DEFECTS = 20
_FORMS = ("confidence", "mean_logprob", "logprobs")
# Some providers send -9999 for tokens that they did not rank.
_LEAST_LOGPROB = -100.0


class GradedAnswersError(ValueError):
    """A file that cannot be used; a line for each defect, with its place."""


def read_graded(path: Path) -> list[Graded]:
    """Reads a file.

    Raises:
        GradedAnswersError: lines are wrong, or there are none.
        OSError: it cannot be read.
    """
    rows: list[Graded] = []
    defects: list[str] = []
    with path.open("rb") as file:
        for number, line in _lines(file):
            try:
                rows.append(_read(line))
            except ValueError as error:
                defects.append(f"{path}:{number}: {error}")
    if defects:
        shown = defects[:MAX_DEFECTS]
        if len(defects) > MAX_DEFECTS:
            shown.append(f"{path}: {len(defects) - MAX_DEFECTS} more")
        raise GradedAnswersError("\n".join(shown))
    if not rows:
        raise GradedAnswersError(f"{path}: no answers")
    return rows


def _lines(file: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield number, line


def _read(line: bytes) -> Graded:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ValueError("not JSON") from None
    if not isinstance(row, dict):
        raise ValueError("not an object")
    task, accepted = row.get("task", ""), row.get("accepted")
    if not isinstance(task, str):
        raise ValueError("task: not text")
    if not isinstance(accepted, bool):
        raise ValueError("accepted: neither true nor false")
    return Graded(task, _read_confidence(row), accepted)


def _read_confidence(row: Mapping[str, Any]) -> float:
    given = [form for form in _FORMS if form in row]
    if len(given) != 1:
        raise ValueError(f"{len(given)} of {', '.join(_FORMS)} are given, exactly one needed")
    form, value = given[0], row[given[0]]
    if form == "logprobs":
        if not isinstance(value, list) or not value:
            raise ValueError("logprobs: not a list of numbers, or an empty one")
        told = [_number("logprobs", one) for one in value]
        value = sum(max(one, _LEAST_LOGPROB) for one in told) / len(told)
    number = _number(form, value)
    if form == "confidence":
        if not 0 < number <= 1:
            raise ValueError(f"confidence: {number}, limits: above 0 to 1")
        return number
    if number > 0:
        raise ValueError(f"{form}: {number}, limit: 0; natural logarithms are at most that")
    return math.exp(max(number, _LEAST_LOGPROB))


def _number(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{field}: not a number")
    return float(value)
