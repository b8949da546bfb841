"""How far two answers are the same, as far as that can be told without a judge."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import orjson

from turnout_server.providers.chat import ChatResponse
from turnout_server.quality.store.records import Agreement

_MAX_DEPTH = 64


def compare_answers(one: ChatResponse, other: ChatResponse) -> Agreement:
    """EXACT for the same text, but for white space and case, and the same calls; STRUCTURAL for the same form."""
    if _words(one.text) == _words(other.text) and _calls(one) == _calls(other):
        return Agreement.EXACT
    if one.tool_calls or other.tool_calls:
        same = [call.name for call in one.tool_calls] == [call.name for call in other.tool_calls]
        return Agreement.STRUCTURAL if same else Agreement.NONE
    mine, its = _parse(one.text), _parse(other.text)
    if mine is None or its is None:
        return Agreement.NONE
    return Agreement.STRUCTURAL if _shape(mine, 0) == _shape(its, 0) else Agreement.NONE


def _words(text: str) -> list[str]:
    return text.casefold().split()


def _calls(answer: ChatResponse) -> list[tuple[str, Any]]:
    return [(call.name, _parse(call.arguments_json) or call.arguments_json) for call in answer.tool_calls]


def _parse(text: str) -> Any:
    """An object or a list of JSON; None: it is neither."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict | list) else None


def _shape(value: object, depth: int) -> Hashable:
    """Keys and kinds, without the values; of a list, the shapes that its entries have."""
    if depth < _MAX_DEPTH:
        if isinstance(value, dict):
            return frozenset((key, _shape(entry, depth + 1)) for key, entry in value.items())
        if isinstance(value, list):
            return ("list", frozenset(_shape(entry, depth + 1) for entry in value))
    return "number" if type(value) in (int, float) else type(value).__name__
