"""What is wrong with a policy file, said by path, value and limit."""

from __future__ import annotations

import datetime
import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]

# Labels that pydantic puts into a location for the branch of a union. Names hold no control characters,
# so none in a file can be like them.
NUMBER_TAG = "\x00number"
MAPPING_TAG = "\x00mapping"
_LABELS = frozenset({NUMBER_TAG, MAPPING_TAG, "[key]"})

# Fields whose value may be a pasted key or hold one; it must not reach a log.
_WITHHELD = frozenset({"credentials", "endpoint"})

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MAX_SHOWN_CHARS = 60
_MAX_LISTED = 10
_MAX_DEFECTS = 100


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong; an empty path means the file as a whole."""

    path: Location
    message: str

    def __str__(self) -> str:
        return f"{format_path(self.path)}: {self.message}" if self.path else self.message


class PolicyFileError(ValueError):
    """A policy file cannot be used. The message has one line per defect: `<source>: <path>: <what is wrong>`.

    Attributes:
        source: the file's path, or what the caller named the text.
        defects: all that was found; the message shows the first hundred.
    """

    def __init__(self, source: str, defects: Iterable[Defect]) -> None:
        self.source = source
        self.defects = tuple(defects)
        lines = [f"{source}: {defect}" for defect in self.defects[:_MAX_DEFECTS]]
        if len(self.defects) > _MAX_DEFECTS:
            lines.append(f"{source}: {len(self.defects) - _MAX_DEFECTS} more")
        super().__init__("\n".join(lines))


def format_path(path: Location) -> str:
    """The path as people write it: `policies.default.rules[2].then`; odd keys stand quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


def show(value: object) -> str:
    """A value as it stands in YAML, on one line and shortened."""
    if isinstance(value, str):
        return repr(value if len(value) <= _MAX_SHOWN_CHARS else value[:_MAX_SHOWN_CHARS] + "...")
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return _show_number(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return f"a {'mapping' if isinstance(value, Mapping) else type(value).__name__}"


def _show_number(value: int | float) -> str:
    if isinstance(value, int):
        # Python refuses to print whole numbers of more than 4,300 digits.
        return str(value) if value.bit_length() <= 128 else f"a whole number of {value.bit_length()} bits"
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(value)


def suggest(name: str, known: Iterable[str]) -> str:
    """The known names nearest to `name`, or else what is known at all."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    listed = ", ".join(names[:_MAX_LISTED]) or "none"
    return f"known: {listed}" + (f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else "")


def translate(error: ValidationError, schema: Mapping[str, Any]) -> list[Defect]:
    """Defects of a document that pydantic refused.

    Args:
        error: what pydantic found.
        schema: JSON Schema of the model, by which unknown fields get suggestions.
    """
    defects = []
    for details in error.errors(include_url=False):
        path = tuple(part for part in details["loc"] if part not in _LABELS)
        if details["type"] == "extra_forbidden":
            known = _fields_at(schema, path[:-1])
            message = f"unknown field; {suggest(str(path[-1]), known)}"
        else:
            message = _describe(details, withheld=bool(path) and path[-1] in _WITHHELD)
        defects.append(Defect(path, message))
    return defects


def _fields_at(schema: Mapping[str, Any], path: Location) -> list[str]:
    """Names of the fields that a model has at a path, by walking its JSON Schema."""
    node: Mapping[str, Any] = schema
    for part in path:
        node = _branch(schema, node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties", {})
    return list(_branch(schema, node).get("properties", {}))


def _branch(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node behind references, and the object or array of a union."""
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
        elif options := node.get("anyOf") or node.get("oneOf"):
            node = next(
                (
                    option
                    for option in options
                    if "$ref" in option or option.get("type") in ("object", "array")
                ),
                {},
            )
        else:
            return node


def _describe(details: ErrorDetails, *, withheld: bool) -> str:
    value = details["input"]
    shown = "the value" if withheld else show(value)
    describe = _MESSAGES.get(details["type"])
    return details["msg"] if describe is None else describe(shown, value, details.get("ctx", {}))


def _limit(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _number_hint(value: object) -> str:
    """YAML 1.1 reads 1e-3 (without a dot) as text, and so whatever stands in quotes."""
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    return f" but text; write {show(number)} without quotes" if math.isfinite(number) else ""


def _null_hint(value: object) -> str:
    return "; leave the field out or fill it" if value is None else ""


def _text_hint(value: object) -> str:
    if isinstance(value, bool):
        return "; YAML reads yes, no, on and off as true and false: write it in quotes"
    if isinstance(value, (int, float, datetime.date)):
        return "; write it in quotes"
    return ""


# By pydantic's name of the error: what is said of a value, given as it is shown, as it is, and its limits. An
# error that is not named here has pydantic's own message, or one of policy_types.py.
_MESSAGES: Mapping[str, Callable[[str, object, Mapping[str, Any]], str]] = {
    "missing": lambda _, __, ___: "missing, and it has no default",
    "greater_than": lambda shown, _, limits: f"{shown} is not greater than {_limit(limits['gt'])}",
    "greater_than_equal": lambda shown, _, limits: f"{shown} is less than {_limit(limits['ge'])}",
    "less_than_equal": lambda shown, _, limits: f"{shown} is greater than {_limit(limits['le'])}",
    "too_short": lambda _, __, limits: f"{limits['actual_length']} entries, at least: {limits['min_length']}",
    "too_long": lambda _, __, limits: f"{limits['actual_length']} entries, limit: {limits['max_length']}",
    "literal_error": lambda shown, _, limits: f"{shown} is not {limits['expected']}",
    "finite_number": lambda shown, _, __: f"{shown} is not a finite number",
    "float_type": lambda shown, value, _: f"{shown} is not a number{_number_hint(value)}",
    "int_type": lambda shown, value, _: f"{shown} is not a whole number{_number_hint(value)}",
    "int_parsing_size": lambda shown, _, __: f"{shown} is too large",
    "bool_type": lambda shown, _, __: f"{shown} is not true or false",
    "string_type": lambda shown, value, _: f"{shown} is not text{_text_hint(value)}",
    "list_type": lambda shown, value, _: f"{shown} is not a list{_null_hint(value)}",
    "dict_type": lambda shown, value, _: f"{shown} is not a mapping{_null_hint(value)}",
    "model_type": lambda shown, value, _: f"{shown} is not a mapping{_null_hint(value)}",
}
