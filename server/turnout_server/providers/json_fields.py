"""Reads what a provider sent, by type; what is not as the wire format says is one kind of error."""

from __future__ import annotations

from typing import Any, cast

import orjson


class WireError(ValueError):
    """A response is not what its wire format says; the message names the place, never the content."""


def parse_object(data: bytes, place: str) -> dict[str, Any]:
    """A JSON object from bytes."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise WireError(f"{place}: not JSON") from None
    return found if type(found) is dict else as_object(found, place)


def as_object(value: object, place: str) -> dict[str, Any]:
    """The object itself; an absent or null one is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WireError(f"{place}: not an object")
    return cast("dict[str, Any]", value)


def as_list(value: object, place: str) -> list[Any]:
    """The list itself; an absent or null one is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise WireError(f"{place}: not a list")
    return value


def as_text(value: object, place: str) -> str:
    """The text itself; an absent or null one is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WireError(f"{place}: not text")
    return value


def as_arguments(value: object) -> str:
    """A tool call's arguments as JSON text; whatever the model wrote, for the gates to judge."""
    return value if isinstance(value, str) else orjson.dumps({} if value is None else value).decode()


def as_count(value: object) -> int:
    """A count of at least 0. What is no count is 0: a provider's odd statistics shall not lose an answer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(int(value), 0) if abs(value) < 1 << 53 else 0


def as_logprob(value: object, place: str) -> float:
    """A natural logarithm of a probability."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WireError(f"{place}: not a number")
    return float(value)
