"""Closing a schema changes nothing but constraints that the schema gate checks."""

from __future__ import annotations

from typing import Any

import pytest
from turnout_server.providers.closed_schema import close_schema

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def test_objects_are_closed_at_every_depth() -> None:
    schema = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": CITY, "maxItems": 3, "description": "Cities."},
            "either": {"oneOf": [CITY, {"type": ["integer", "null"], "minimum": 0}]},
            "ref": {"$ref": "#/$defs/city"},
        },
        "required": ["list"],
        "$defs": {"city": CITY},
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
    closed = CITY | {"additionalProperties": False}
    assert close_schema(schema) == {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": closed, "description": "Cities. (maxItems: 3)"},
            "either": {"anyOf": [closed, {"type": ["integer", "null"], "description": "(minimum: 0)"}]},
            "ref": {"$ref": "#/$defs/city"},
        },
        "required": ["list"],
        "$defs": {"city": closed},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        CITY | {"additionalProperties": True},
        CITY | {"additionalProperties": {"type": "string"}},
        CITY | {"patternProperties": {"^a": {}}},
        {"type": "array", "items": {}},
        {"type": "array", "items": True},
        {"not": CITY, "type": "string"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
        {
            "$ref": "#/$defs/a",
            "$defs": {
                "a": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}]},
                "b": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}},
            },
        },
    ],
)
def test_a_schema_that_means_more_stays_open(schema: dict[str, Any]) -> None:
    assert close_schema(schema) is None


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(500):
        schema = {"type": "array", "items": schema}
    assert close_schema(schema) is None
