"""A value that fits a JSON Schema, for a provider that has nothing to say."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 8

_FORMATS = {
    "date": "2026-11-01",
    "date-time": "2026-11-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "a@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
}


def example_of(schema: Any, root: Any, depth: int = 0) -> Any:
    """A small value that fits the usual schemas: types, properties, enumerations, lengths, bounds, references.

    Not `pattern`, `not`, `if` or `contains`: a value for those needs a solver.

    Args:
        schema: a JSON Schema as parsed from JSON.
        root: the schema that its references are resolved in.
        depth: of the value within the whole one.
    """
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None if depth > MAX_DEPTH else {}
    for name in ("$ref", "anyOf", "oneOf"):
        if found := schema.get(name):
            inner = _resolve(str(found), root) if name == "$ref" else found[0]
            return example_of(inner, root, depth + 1)
    if listed := schema.get("enum", schema.get("examples")):
        return listed[0]
    if "const" in schema:
        return schema["const"]
    if schema.get("allOf"):
        branches = (example_of(branch, root, depth + 1) for branch in schema["allOf"])
        return {
            key: value for branch in branches if isinstance(branch, dict) for key, value in branch.items()
        }
    told = schema.get("type", "object")
    return _example_of_type(told[0] if isinstance(told, list) else told, schema, root, depth)


def _example_of_type(kind: str, schema: dict[str, Any], root: Any, depth: int) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties", {})
            required = schema.get("required", [])
            # All of them at first, only what must be further down, where recursion may lie.
            names = [*properties, *(name for name in required if name not in properties)]
            if depth > MAX_DEPTH // 2:
                names = list(required)
            return {name: example_of(properties.get(name, {}), root, depth + 1) for name in names}
        case "array":
            items = schema.get("items", {"type": "string"})
            count = max(int(schema.get("minItems", 0)), 1 if depth < MAX_DEPTH // 2 else 0)
            return [example_of(items, root, depth + 1) for _ in range(min(count, 64))]
        case "string":
            text = _FORMATS.get(schema.get("format", ""), "track")
            return text.ljust(int(schema.get("minLength", 0)), "x")[: int(schema.get("maxLength", 1 << 20))]
        case "integer" | "number":
            return _number(kind, schema)
        case "boolean":
            return True
        case _:
            return None


def _number(kind: str, schema: dict[str, Any]) -> float | int:
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = 1 if kind == "integer" else 0.5
    value = least + (step if "exclusiveMinimum" in schema and "minimum" not in schema else 0) if least else 1
    if most is not None and value > most:
        value = most - (step if "exclusiveMaximum" in schema and "maximum" not in schema else 0)
    return int(value) if kind == "integer" else float(value)


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for key in reference.removeprefix("#").split("/")[1:]:
        found = found.get(key.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found
