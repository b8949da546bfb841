"""What schemas may ask, against a validator's work counted by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_server.completion.gates.schema_bounds import MAX_DEPTH, depth_of, find_bounds
from turnout_server.completion.gates.schemas import MAX_SCHEMA_BYTES, SchemaError, compile_schema
from turnout_server.doors import codec

ROOT = Path(__file__).parents[4]
NAMES = st.sampled_from(["a", "b"])
leaves = st.sampled_from([{"type": "integer"}, {}, True, {"$ref": "#/$defs/x"}])
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"properties": st.dictionaries(NAMES, inner, max_size=2)}),
        st.fixed_dictionaries({"items": inner, "not": inner}),
        st.fixed_dictionaries({"patternProperties": st.dictionaries(NAMES, inner, max_size=2)}),
        st.fixed_dictionaries({"prefixItems": st.lists(inner, max_size=2), "contains": inner}),
    ),
    max_leaves=8,
)
values = st.recursive(
    st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=8,
)


def visits(root: Any, schema: Any, value: Any, path: str, seen: Counter[str]) -> None:
    """Counts, by place in the value, the subschemas that a validator without short cuts asks there."""
    if isinstance(schema, bool):
        return
    seen[path] += 1
    if "$ref" in schema:
        visits(root, root["$defs"]["x"], value, path, seen)
    for inner in [*schema.get("anyOf", ()), *([schema["not"]] if "not" in schema else ())]:
        visits(root, inner, value, path, seen)
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        for inner in asked_of_child(schema, key):
            visits(root, inner, child, f"{path}/{key}", seen)


def asked_of_child(schema: Any, key: str | int) -> list[Any]:
    if isinstance(key, str):
        named = [inner for name, inner in schema.get("properties", {}).items() if name == key]
        return named + [inner for part, inner in schema.get("patternProperties", {}).items() if part in key]
    placed = schema.get("prefixItems", [])[key : key + 1]
    return [*placed, *(schema[keyword] for keyword in ("items", "contains") if keyword in schema)]


@settings(max_examples=300)
@given(schemas, schemas, values)
def test_no_value_meets_more_subschemas_than_the_bound(schema: Any, other: Any, value: Any) -> None:
    root = {"$defs": {"x": other}, "allOf": [schema]} if not isinstance(schema, dict) else {**schema}
    root["$defs"] = {"x": other}
    try:
        bounds = find_bounds(root)
    except SchemaError as error:
        assert "back to itself" in str(error)
        return
    assert depth_of(value, 100) <= 100
    seen: Counter[str] = Counter()
    if depth_of(value, 100) <= bounds.max_depth:
        visits(root, root, value, "", seen)
        assert max(seen.values(), default=0) <= bounds.checks


@given(values)
def test_depth_is_counted(value: Any) -> None:
    def naive(one: Any) -> int:
        below = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
        return 1 + max(map(naive, below)) if below else 0

    found = depth_of(value, 3)
    assert found == naive(value) or (found == 4 and naive(value) > 3)


def doubling(levels: int, child: bool) -> dict[str, Any]:
    """Each level asks the next twice, of the same value or of its child."""
    definitions: dict[str, Any] = {}
    for level in range(levels):
        following: Any = {"$ref": f"#/$defs/l{level + 1}"}
        if child:
            following = {"properties": {"a": following}}
        definitions[f"l{level}"] = {"anyOf": [following, following | {}]}
    definitions[f"l{levels}"] = {"type": "string"}
    return {"$defs": definitions, "$ref": "#/$defs/l0"}


def test_a_schema_that_doubles_its_questions_is_refused() -> None:
    assert find_bounds(doubling(8, child=False)).max_depth == MAX_DEPTH
    with pytest.raises(SchemaError, match=r"answer: one value meets \d+ subschemas, limit: 4096"):
        compile_schema(json.dumps(doubling(40, child=False)), "answer")


def test_one_that_doubles_with_depth_is_used_as_deep_as_it_is_cheap() -> None:
    schema = {
        "$defs": {
            "n": {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}, "minProperties": i} for i in (1, 2)]}
        },
        "$ref": "#/$defs/n",
    }
    compiled = compile_schema(json.dumps(schema), "answer")
    assert 8 <= compiled.bounds.max_depth <= 12
    value: Any = {"a": 1}
    for _ in range(30):
        value = {"a": value}
    fit = compiled.check(value)
    assert fit.too_deep
    assert compiled.check({"a": {"a": 1}}).fits


def test_an_ordinary_recursive_schema_goes_deep() -> None:
    schema = {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    }
    compiled = compile_schema(json.dumps(schema), "answer")
    assert compiled.bounds.max_depth == MAX_DEPTH
    value: Any = None
    for number in range(MAX_DEPTH - 1):
        value = {"value": number, "next": value}
    assert compiled.check(value).fits
    assert compiled.check({"next": {"next": {"next": value}}}).too_deep


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "answer: no JSON"),
        ("[]", "answer: not an object"),
        ('{"type": "strin"}', "answer: "),
        (
            '{"$ref": "https://example.com/person.json"}',
            "answer: $ref 'https://example.com/person.json': only",
        ),
        ('{"properties": {"a": {"$ref": "file:///etc/passwd"}}}', "answer: $ref 'file:///etc/passwd': only"),
        ('{"$ref": "#/$defs/none"}', "answer: $ref '#/$defs/none' leads to nothing"),
        ('{"$ref": "#"}', "answer: a reference leads back to itself on the same value"),
        ('{"anyOf": [{"not": {"$ref": "#"}}]}', "answer: a reference leads back to itself on the same value"),
        ('{"$dynamicRef": "#x"}', "answer: $dynamicRef is not supported"),
        ('{"pattern": "("}', "answer: "),
        ('{"not": ' * 200 + "{}" + "}" * 200, "answer: nested deeper than the limit of 128"),
        ('{"description": "' + "x" * 262_144 + '"}', "answer: 262163 bytes, limit: 262144"),
        ('{"items": 5}', "answer: "),
    ],
)
def test_a_schema_that_cannot_be_used_is_named(schema: str, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        compile_schema(schema, "answer")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_pattern_that_backtracks_gives_up() -> None:
    compiled = compile_schema(json.dumps({"pattern": "^(?=(a|aa)+$)b"}), "answer")
    assert not compiled.check("a" * 5000 + "!").fits


def test_the_contract_and_the_gates_have_one_limit() -> None:
    assert MAX_SCHEMA_BYTES == codec.MAX_SCHEMA_BYTES
    comment = "The JSON Schema, as JSON text; at most 256 KiB."
    assert comment in (ROOT / "proto/turnout/v1/chat.proto").read_text(encoding="utf-8")
    schema = '{"description": "' + "x" * (MAX_SCHEMA_BYTES - 19) + '"}'
    assert compile_schema(schema, "answer").check({"any": "value"}).fits
