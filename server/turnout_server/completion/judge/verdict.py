"""A judge's verdict, read strictly: what is not exactly the schema's JSON is no verdict."""

from __future__ import annotations

from typing import Any

import orjson

from turnout_server.completion.judge.prompt import FAULTS, MARKS
from turnout_server.providers.chat import ChatResponse, FinishReason

# More than any verdict has.
_MAX_CHARS = 4096
_PREFERENCES = {"first": 1.0, "second": 0.0, "neither": 0.5}


def read_mark(answer: ChatResponse) -> float | None:
    """The score, 0 to 1; None: there is no verdict."""
    told = _read(answer, {"fault", "mark"})
    if told is None or told["fault"] not in FAULTS:
        return None
    mark = told["mark"]
    # True is a whole number to Python.
    if type(mark) is not int or mark not in MARKS:
        return None
    return (mark - 1) / 4


def read_preference(answer: ChatResponse) -> float | None:
    """1 for the first answer, 0 for the second, 0.5 for neither; None: there is no verdict."""
    told = _read(answer, {"better"})
    return None if told is None or not isinstance(told["better"], str) else _PREFERENCES.get(told["better"])


def _read(answer: ChatResponse, fields: set[str]) -> dict[str, Any] | None:
    if answer.finish_reason is not FinishReason.STOP or len(answer.text) > _MAX_CHARS:
        return None
    try:
        told = orjson.loads(answer.text)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) and told.keys() == fields else None
