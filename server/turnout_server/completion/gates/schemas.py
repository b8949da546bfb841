"""JSON Schemas of a request, compiled at its admission and bounded in what they can cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import orjson

from turnout_server.completion.gates.schema_bounds import Bounds, SchemaError, depth_of, find_bounds

__all__ = ["MAX_SCHEMA_BYTES", "CompiledSchema", "Fit", "SchemaError", "compile_schema"]

MAX_SCHEMA_BYTES = 256 * 1024
# Patterns without look-around or back-references run in linear time; those with them stop after so many steps.
_PATTERNS = {"backtrack_limit": 10_000, "size_limit": 1 << 20, "dfa_size_limit": 1 << 20}


@dataclass(frozen=True)
class Fit:
    """Whether a value fits a schema. `too_deep`: it was not looked at, being nested too deep."""

    fits: bool
    too_deep: bool = False


@dataclass(frozen=True)
class CompiledSchema:
    """A schema that is ready to check values."""

    bounds: Bounds
    _validator: Any = field(repr=False)

    def check(self, value: Any) -> Fit:
        """Whether a JSON value fits."""
        if depth_of(value, self.bounds.max_depth) > self.bounds.max_depth:
            return Fit(False, too_deep=True)
        try:
            return Fit(bool(self._validator.is_valid(value)))
        except ValueError:
            # A pattern came to its limit of steps.
            return Fit(False)


def compile_schema(schema_json: str | bytes, name: str) -> CompiledSchema:
    """Compiles a schema; nothing is ever fetched for it.

    Args:
        schema_json: the schema, at most 256 KiB.
        name: what errors call it, such as the request's field.

    Raises:
        SchemaError: the schema cannot be used.
    """
    size = len(schema_json.encode() if isinstance(schema_json, str) else schema_json)
    if size > MAX_SCHEMA_BYTES:
        raise SchemaError(f"{name}: {size} bytes, limit: {MAX_SCHEMA_BYTES}")
    try:
        schema = orjson.loads(schema_json)
    except orjson.JSONDecodeError as error:
        raise SchemaError(f"{name}: no JSON: {error}") from error
    if not isinstance(schema, (dict, bool)):
        raise SchemaError(f"{name}: not an object")
    try:
        bounds = find_bounds(schema)
    except SchemaError as error:
        raise SchemaError(f"{name}: {error}") from error
    try:
        validator = jsonschema_rs.validator_for(
            schema, offline=True, pattern_options=jsonschema_rs.FancyRegexOptions(**_PATTERNS)
        )
    except ValueError as error:
        raise SchemaError(f"{name}: {str(error).partition(chr(10))[0][:200]}") from error
    return CompiledSchema(bounds, validator)
