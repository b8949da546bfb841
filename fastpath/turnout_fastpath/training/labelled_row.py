"""One row of a file of labels, checked: docs/training.md has the schema."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from turnout_fastpath.errors import RouteError
from turnout_fastpath.request import Request
from turnout_fastpath.training.data_errors import RowError, shown

TEXT_COLUMNS = ("id", "prompt", "task", "category", "group", "source", "features_revision")
COLUMNS = frozenset(
    {*TEXT_COLUMNS, "messages", "tools", "features", "scores", "costs", "weight", "propensity"}
)
SCORE_PREFIX, COST_PREFIX = "score.", "cost."
MAX_NAME_CHARS = 256


@dataclass(frozen=True)
class LabelledRow:
    """One request and what is known of its answers.

    Attributes:
        request: None for a stored vector.
        text: the user's turns, for grouping and for exemplars; empty for a stored vector.
        features: the stored vector; empty for a request with text.
        scores, costs: by model or tier, in [0, 1] and in US dollars.
        weight: more than 0.
        propensity: the probability with which the row came to be labelled, above 0 and at most 1.
    """

    id: str
    request: Request | None
    text: str
    features: tuple[float, ...]
    features_revision: str
    task: str
    category: str
    group: str
    source: str
    scores: Mapping[str, float]
    costs: Mapping[str, float]
    weight: float
    propensity: float


def parse_row(row: Mapping[str, Any]) -> LabelledRow:
    """Checks one row.

    Raises:
        RowError: names the column, the value and the limit.
    """
    text = {name: _text(row, name) for name in TEXT_COLUMNS}
    given = [name for name in ("prompt", "messages", "features") if _present(row.get(name))]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise RowError("prompt", f"{found} given, needed: exactly one of prompt, messages and features")
    request: Request | None = None
    judged, features = "", tuple[float, ...]()
    if given == ["features"]:
        features = _features(row["features"])
        if not text["features_revision"]:
            raise RowError("features_revision", "absent, needed: the revision of the stored vector")
    else:
        request, judged = _request(row)
    return LabelledRow(
        id=text["id"],
        request=request,
        text=judged,
        features=features,
        features_revision=text["features_revision"] if features else "",
        task=text["task"],
        category=text["category"],
        group=text["group"],
        source=text["source"],
        scores=_values(row, "scores", SCORE_PREFIX, 1.0),
        costs=_values(row, "costs", COST_PREFIX, math.inf),
        weight=_number(row.get("weight"), "weight", 0.0, math.inf, absent=1.0, above=True),
        propensity=_number(row.get("propensity"), "propensity", 0.0, 1.0, absent=1.0, above=True),
    )


def unknown_columns(row: Mapping[str, Any]) -> Iterable[str]:
    """Columns that the schema does not have."""
    return (name for name in row if name not in COLUMNS and not name.startswith((SCORE_PREFIX, COST_PREFIX)))


def _present(value: Any) -> bool:
    return value is not None and value != ""


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if name == "id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RowError(name, f"{shown(value)} is {type(value).__name__}, needed: text")
    if name != "prompt" and len(value) > MAX_NAME_CHARS:
        raise RowError(name, f"{len(value)} characters, limit: {MAX_NAME_CHARS}")
    return value


def _request(row: Mapping[str, Any]) -> tuple[Request, str]:
    tools = row.get("tools")
    if isinstance(tools, list):
        n_tools, schema_bytes = len(tools), len(orjson.dumps(tools)) if tools else 0
    else:
        n_tools, schema_bytes = int(_number(tools, "tools", 0, math.inf, absent=0)), 0
    prompt, messages = row.get("prompt"), row.get("messages")
    if _present(prompt):
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list):
        raise RowError(
            "messages", f"{shown(messages)} is {type(messages).__name__}, needed: a list of messages"
        )
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RowError(f"messages[{i}]", f"{shown(message)}, needed: an object with role and content")
    if not any(message["role"] == "user" for message in messages):
        raise RowError("messages", f"{len(messages)} messages without a user's turn, needed: one at least")
    try:
        request = Request(messages=messages, n_tools=n_tools, tool_schema_bytes=schema_bytes)
    except RouteError as error:
        column = error.field.removeprefix("requirements.")
        raise RowError(column, f"{error.value or 'absent'}, limit: {error.limit or 'a prompt'}") from error
    turns = [_content(message.get("content")) for message in messages if message["role"] == "user"]
    return request, "\n".join(turns)


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""


def _features(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise RowError("features", f"{shown(value)}, needed: a list of numbers")
    return tuple(
        _number(number, f"features[{i}]", -math.inf, math.inf, absent=math.nan)
        for i, number in enumerate(value)
    )


def _values(row: Mapping[str, Any], column: str, prefix: str, greatest: float) -> dict[str, float]:
    """A map column, given as an object, as Parquet's map or struct, as JSON text, or as flat columns."""
    given = row.get(column)
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError as error:
            raise RowError(column, f"{shown(given)} is no JSON: {error}") from error
    if given is None:
        given = {}
    if isinstance(given, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in given):
        given = dict(given)
    if not isinstance(given, dict):
        raise RowError(column, f"{shown(given)} is {type(given).__name__}, needed: numbers by name")
    pairs = [(f"{column}.{name}", name, value) for name, value in given.items()]
    pairs += [
        (name, name.removeprefix(prefix), value) for name, value in row.items() if name.startswith(prefix)
    ]
    values: dict[str, float] = {}
    for shown_name, name, value in pairs:
        number = _number(value, shown_name, 0.0, greatest, absent=math.nan)
        if math.isnan(number):
            continue
        if not name or len(name) > MAX_NAME_CHARS:
            raise RowError(column, f"{shown(name)} names nothing, needed: 1 to {MAX_NAME_CHARS} characters")
        if name in values:
            raise RowError(shown_name, f"given twice, as {column} and as {prefix}{name}")
        values[name] = number
    return values


def _number(
    value: Any, column: str, least: float, greatest: float, *, absent: float, above: bool = False
) -> float:
    """A number within limits; NaN is how data frames say that one is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        if math.isnan(absent) and column.startswith("features["):
            raise RowError(column, f"{value}, needed: a number")
        return absent
    limit = _limit(least, greatest, above)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RowError(column, f"{shown(value)} is {type(value).__name__}, needed: {limit}")
    if not (least < value if above else least <= value) or value > greatest or math.isinf(value):
        raise RowError(column, f"{value}, needed: {limit}")
    return float(value)


def _limit(least: float, greatest: float, above: bool) -> str:
    if math.isinf(least):
        return "a finite number"
    if math.isinf(greatest):
        return f"a number above {least:g}" if above else f"a number of at least {least:g}"
    return (
        f"a number above {least:g}, at most {greatest:g}"
        if above
        else f"a number from {least:g} to {greatest:g}"
    )
