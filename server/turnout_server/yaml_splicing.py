"""Additions to a YAML text at the place where a value stands: nothing else of the text changes, whatever its layout."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

# Not printable in YAML, or line breaks to it, and not escaped by JSON.
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def compose(text: str) -> yaml.MappingNode:
    """The root of a text that is known to be one mapping, with positions in characters.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    # Not libyaml's loader: its positions are in bytes.
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise yaml.YAMLError("one mapping is needed")
    return root


def value_of(mapping: yaml.Node, key: str) -> yaml.Node | None:
    """The value of a key that stands in the mapping itself."""
    return next((value for name, value in mapping.value if name.value == key), None)


def write_flow(value: Any) -> str:
    """A plain value on one line: JSON, which is YAML too."""
    return _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def append_item(text: str, sequence: yaml.SequenceNode, value: Any) -> str:
    """The text with a value at the end of a sequence."""
    if sequence.flow_style:
        return _append_in_brackets(text, sequence, write_flow(value))
    first = sequence.value[0].start_mark
    # The dash stands before the item, on its line.
    dash = text.rindex("-", 0, first.index) - _line_start(text, text.rindex("-", 0, first.index))
    return _insert_line(text, _end(sequence), " " * dash + f"- {_block(value, dash + 2)}")


def add_key(text: str, mapping: yaml.MappingNode, key: str, value: Any) -> str:
    """The text with a key, which the mapping has not, at the end of it."""
    if mapping.flow_style:
        return _append_in_brackets(text, mapping, f"{key}: {write_flow(value)}")
    column = mapping.value[0][0].start_mark.column
    shown = (
        f"\n{' ' * (column + 2)}- {_block(value[0], column + 4)}"
        if _is_list(value)
        else f" {write_flow(value)}"
    )
    for item in value[1:] if _is_list(value) else ():
        shown += f"\n{' ' * (column + 2)}- {_block(item, column + 4)}"
    return _insert_line(text, _end(mapping), " " * column + f"{key}:{shown}")


def replace_value(text: str, node: yaml.Node, value: Any) -> str:
    """The text with another value in a node's place; one that is written on one line, without an anchor."""
    return text[: node.start_mark.index] + write_flow(value) + text[node.end_mark.index :]


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _block(value: Any, column: int) -> str:
    """An item behind its dash; a mapping has a line for each key."""
    if not isinstance(value, dict):
        return write_flow(value)
    lines = []
    for key, own in value.items():
        if _is_list(own):
            lines.append(f"{key}:")
            lines += [f"  - {write_flow(item)}" for item in own]
        else:
            shown = own if isinstance(own, str) and re.fullmatch(r"[a-z][a-z_-]*", own) else write_flow(own)
            lines.append(f"{key}: {shown}")
    return ("\n" + " " * column).join(lines)


def _append_in_brackets(text: str, node: yaml.CollectionNode, item: str) -> str:
    closing = node.end_mark.index - 1
    place = (
        _end(node.value[-1] if isinstance(node, yaml.SequenceNode) else node.value[-1][1])
        if node.value
        else closing
    )
    return text[:place] + (", " if node.value else "") + item + text[place:]


def _end(node: yaml.Node) -> int:
    """Where the last character of a node's content stands, plus one: not the comments behind it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _insert_line(text: str, place: int, line: str) -> str:
    """Puts a line behind the one in which `place` stands."""
    if place and text[place - 1] == "\n":
        # A block scalar's end stands at the start of the next line already.
        return text[:place] + line + "\n" + text[place:]
    end = text.find("\n", place)
    return text + "\n" + line + "\n" if end < 0 else text[: end + 1] + line + "\n" + text[end + 1 :]
