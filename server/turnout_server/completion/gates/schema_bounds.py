"""How much work a JSON Schema can make of an answer, found before any answer is checked.

A schema of some lines can make a validator work for hours: with `anyOf` of two references each, n levels ask 2^n
questions of one value, and through recursion the count can grow with the depth of the answer. Here the greatest number
of subschemas that any one value can be checked against is computed for each depth of nesting, on the safe side; a
schema beyond the limit at depth 0 is refused, one that grows is used down to the depth at which it stays within.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHECKS = 4096
"""Subschemas that one value may be checked against."""
MAX_DEPTH = 64
"""Depth of nesting of an answer."""
MAX_SCHEMA_DEPTH = 128
_MAX_STEPS = 1_000_000

_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE_MAPS = ("dependentSchemas", "dependencies")
_EACH_CHILD = (
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
)
_REFUSED = ("$dynamicRef", "$recursiveRef")

Counts = dict[int, int]


class SchemaError(ValueError):
    """A schema that cannot be used; the message names the place and the limit."""


@dataclass(frozen=True)
class Bounds:
    """What a schema may be used for.

    Attributes:
        max_depth: deepest nesting of an answer that is checked; a scalar has depth 0.
        checks: most subschemas that one value meets, at any depth up to that.
    """

    max_depth: int
    checks: int


def find_bounds(schema: Any) -> Bounds:
    """The bounds of a schema.

    Raises:
        SchemaError: a reference leads out of the schema, to nothing, or back to itself on the same value; or the schema
            asks too much of one value.
    """
    return _Graph(schema).bounds()


class _Graph:
    """The subschemas, which of them look at the same value, and which at its children."""

    def __init__(self, schema: Any) -> None:
        self.root = schema
        self.index: dict[int, int] = {}
        self.nodes: list[Mapping[str, Any]] = []
        self.closures: dict[int, Counts] = {}
        self.children: dict[int, Counts] = {}
        self.steps = 0

    def bounds(self) -> Bounds:
        here = self.add(self.root)
        level = {} if here is None else self.closure(here, ())
        most = sum(level.values())
        for depth in range(MAX_DEPTH):
            below: Counts = {}
            for node, count in level.items():
                self.merge(below, self.below(node), count)
            count = sum(below.values())
            if count > MAX_CHECKS:
                return Bounds(depth, most)
            if not below:
                break
            most = max(most, count)
            level = below
        return Bounds(MAX_DEPTH, most)

    def add(self, schema: Any) -> int | None:
        """The node of a subschema; None for true and false, which ask nothing."""
        if isinstance(schema, bool):
            return None
        if not isinstance(schema, dict):
            raise SchemaError(f"a subschema is a {type(schema).__name__}, not an object")
        if id(schema) not in self.index:
            self.index[id(schema)] = len(self.nodes)
            self.nodes.append(schema)
        return self.index[id(schema)]

    def closure(self, node: int, above: tuple[int, ...]) -> Counts:
        """Every subschema that a value meets where it meets this one, with how often."""
        if node in above:
            raise SchemaError("a reference leads back to itself on the same value")
        if len(above) > MAX_SCHEMA_DEPTH:
            raise SchemaError(f"nested deeper than the limit of {MAX_SCHEMA_DEPTH}")
        if node not in self.closures:
            found: Counts = {node: 1}
            for schema in self.in_place(self.nodes[node]):
                if (other := self.add(schema)) is not None:
                    self.merge(found, self.closure(other, (*above, node)), 1)
            if (count := sum(found.values())) > MAX_CHECKS:
                raise SchemaError(f"one value meets {count} subschemas, limit: {MAX_CHECKS}")
            self.closures[node] = found
        return self.closures[node]

    def below(self, node: int) -> Counts:
        """Every subschema that one child of the value can meet because of this one."""
        if node not in self.children:
            schema = self.nodes[node]
            found: Counts = {}
            # A child has one name, or one place in a list: of these, at most one meets it.
            for one_of in (schema.get("properties"), schema.get("prefixItems"), _listed(schema.get("items"))):
                most: Counts = {}
                for child in _values(one_of):
                    for other, count in self.closure_of(child).items():
                        most[other] = max(count, most.get(other, 0))
                self.merge(found, most, 1)
            for child in _values(schema.get("patternProperties")):
                self.merge(found, self.closure_of(child), 1)
            for keyword in _EACH_CHILD:
                child = schema.get(keyword)
                if isinstance(child, dict):
                    self.merge(found, self.closure_of(child), 1)
            self.children[node] = found
        return self.children[node]

    def closure_of(self, schema: Any) -> Counts:
        node = self.add(schema)
        return {} if node is None else self.closure(node, ())

    def in_place(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        for keyword in _REFUSED:
            if keyword in schema:
                raise SchemaError(f"{keyword} is not supported")
        if (reference := schema.get("$ref")) is not None:
            yield self.resolve(reference)
        for keyword in _IN_PLACE:
            if keyword in schema:
                yield schema[keyword]
        for keyword in _IN_PLACE_LISTS:
            yield from _values(schema.get(keyword))
        for keyword in _IN_PLACE_MAPS:
            yield from (one for one in _values(schema.get(keyword)) if not isinstance(one, list))

    def resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise SchemaError(
                f"$ref {str(reference)[:60]!r}: only references within the schema (#/...) are followed"
            )
        at = self.root
        for part in reference.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(at, dict) and key in at:
                at = at[key]
            elif isinstance(at, list) and key.isascii() and key.isdigit() and int(key) < len(at):
                at = at[int(key)]
            else:
                raise SchemaError(f"$ref {reference[:60]!r} leads to nothing")
        return at

    def merge(self, into: Counts, more: Counts, times: int) -> None:
        self.steps += len(more)
        if self.steps > _MAX_STEPS:
            raise SchemaError(f"more than {_MAX_STEPS} pairs of subschemas meet a value")
        for node, count in more.items():
            # Capped, so that numbers stay small; the cap is far above the limit.
            into[node] = min(into.get(node, 0) + count * times, MAX_CHECKS * MAX_CHECKS)


def _values(group: Any) -> Iterator[Any]:
    if isinstance(group, dict):
        yield from group.values()
    elif isinstance(group, list):
        yield from group


def _listed(items: Any) -> Any:
    """Older drafts have a list under `items`."""
    return items if isinstance(items, list) else None


def depth_of(value: Any, limit: int) -> int:
    """Depth of nesting of a JSON value; `limit` + 1 if it is deeper than `limit`."""
    level, depth = [value], 0
    while True:
        below = [child for one in level for child in _values(one)]
        if not any(isinstance(child, (dict, list)) for child in below):
            return depth + bool(below)
        depth += 1
        if depth > limit:
            return depth
        level = [child for child in below if isinstance(child, (dict, list))]
