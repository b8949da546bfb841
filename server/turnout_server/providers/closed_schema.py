"""A JSON Schema narrowed to what Anthropic's structured outputs take.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

from typing import Any

# Refused as keywords; told to the model in the description instead, and checked on the answer by the schema gate.
_TOLD = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
)
_KEPT = ("title", "required", "enum", "const", "format", "default")
_BRANCHES = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_MAX_DEPTH = 64


class _OpenError(ValueError):
    """The schema means more than a closed one can say."""


def close_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema with every object closed, or None where that would change what it allows.

    Every answer that fits the result fits the schema too, but for the constraints that went into descriptions.
    """
    try:
        closed = _close(schema, 0)
    except _OpenError:
        return None
    return None if _is_recursive(schema) else closed


def _close(schema: object, depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH or "patternProperties" in schema or "not" in schema:
        raise _OpenError
    closed: dict[str, Any] = {}
    for name in ("$defs", "definitions"):
        if isinstance(found := schema.get(name), dict):
            closed[name] = {key: _close(value, depth + 1) for key, value in found.items()}
    if "$ref" in schema:
        if not str(schema["$ref"]).startswith(("#/$defs/", "#/definitions/")):
            raise _OpenError
        return closed | {"$ref": schema["$ref"]}
    closed |= {name: schema[name] for name in _KEPT if name in schema}
    for name, wire in _BRANCHES.items():
        if isinstance(found := schema.get(name), list):
            closed[wire] = [_close(branch, depth + 1) for branch in found]
    if description := _description(schema):
        closed["description"] = description
    return closed | _close_type(schema, closed, depth)


def _close_type(schema: dict[str, Any], closed: dict[str, Any], depth: int) -> dict[str, Any]:
    told = schema.get("type")
    if told is None:
        if not closed.keys() & {"anyOf", "allOf", "enum", "const"}:
            raise _OpenError
        return {}
    types = told if isinstance(told, list) else [told]
    found: dict[str, Any] = {"type": told}
    if "object" in types:
        properties = schema.get("properties")
        if schema.get("additionalProperties", False) is not False or not isinstance(properties, dict):
            raise _OpenError
        found["properties"] = {key: _close(value, depth + 1) for key, value in properties.items()}
        found["additionalProperties"] = False
    if "array" in types and "items" in schema:
        found["items"] = _close(schema["items"], depth + 1)
    return found


def _description(schema: dict[str, Any]) -> str:
    told = ", ".join(f"{name}: {schema[name]}" for name in _TOLD if name in schema)
    return f"{schema.get('description', '')}{f' ({told})' if told else ''}".strip()


def _is_recursive(schema: dict[str, Any]) -> bool:
    """True if a definition refers to itself, on whatever way."""
    definitions = {
        f"#/{name}/{key}": value
        for name in ("$defs", "definitions")
        if isinstance(found := schema.get(name), dict)
        for key, value in found.items()
    }
    refers = {name: _refs(value) for name, value in definitions.items()}
    while refers:
        leaves = {name for name, refs in refers.items() if not refs & refers.keys()}
        if not leaves:
            return True
        refers = {name: refs for name, refs in refers.items() if name not in leaves}
    return False


def _refs(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {str(value["$ref"])} if "$ref" in value else set()
        return own.union(*map(_refs, value.values()))
    if isinstance(value, list):
        return set().union(*map(_refs, value))
    return set()
