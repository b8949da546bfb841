"""YAML as configuration needs it: plain values, text keys that stand once, and bounds on size and depth."""

from __future__ import annotations

from typing import Any

import yaml

from turnout_server.policy_defects import Defect, Location, PolicyFileError, show

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # a PyYAML without libyaml reads the same, some ten times slower
    from yaml import SafeLoader  # type: ignore[assignment]

MAX_BYTES = 4 << 20
# libyaml's composer recurses in C, where too deep a file would end the process.
MAX_DEPTH = 64
# With every alias written out; what a few lines of aliases to aliases would otherwise make unbounded.
MAX_NODES = 1_000_000

_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(SafeLoader):
    """The safe loader, whose every failure is a YAMLError with a position."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, OverflowError) as error:
            # PyYAML lets through what date(), int() and float() raise, as for 2026-13-45.
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"the value cannot be read as {kind}", node.start_mark
            ) from error


def read_yaml(text: str, source: str) -> Any:
    """The plain value that a YAML text holds.

    Args:
        text: one YAML document of at most 4 MiB.
        source: what errors call it.

    Raises:
        PolicyFileError: the text breaks a bound or is no YAML of plain values.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise PolicyFileError(
            source, [Defect((), f"not valid Unicode at character {error.start}")]
        ) from error
    if size > MAX_BYTES:
        raise PolicyFileError(source, [Defect((), f"{size} bytes, limit: {MAX_BYTES}")])
    try:
        _check_bounds(text)
        return _construct(text, source)
    except yaml.YAMLError as error:
        raise PolicyFileError(source, [Defect((), _describe(error))]) from error


def _construct(text: str, source: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise PolicyFileError(source, [Defect((), "the file is empty")])
        if defects := _find_key_defects(node):
            raise PolicyFileError(source, defects)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_bounds(text: str) -> None:
    """Refuses depth, size and aliases to themselves while the text is still a flat run of events."""
    complete: dict[str, tuple[int, int]] = {}  # anchor -> nodes and height of what it names
    names: list[str | None] = [None]  # anchors of the open collections, the document outermost
    nodes, heights = [0], [0]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            names.append(event.anchor)
            nodes.append(1)
            heights.append(0)
            height = 0
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            name, count, height = names.pop(), nodes.pop(), heights.pop() + 1
            if name is not None:
                complete[name] = count, height
            nodes[-1] += count
            heights[-1] = max(heights[-1], height)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in names:
                raise _failure(f"the alias *{event.anchor} stands inside what it names", event)
            count, height = complete.get(str(event.anchor), (1, 0))
            nodes[-1] += count
            heights[-1] = max(heights[-1], height)
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None:
                complete[event.anchor] = 1, 0
            nodes[-1] += 1
            height = 0
        else:
            continue
        if len(nodes) - 1 + height > MAX_DEPTH:
            raise _failure(f"nested deeper than the limit: {MAX_DEPTH}", event)
        if nodes[-1] > MAX_NODES:
            raise _failure(f"more values than the limit, with aliases written out: {MAX_NODES}", event)


def _failure(problem: str, event: yaml.Event) -> yaml.YAMLError:
    return yaml.YAMLError(_where(event.start_mark) + problem)


def _find_key_defects(root: yaml.Node) -> list[Defect]:
    """Keys that stand twice or are no text. The loader would take the last, and turn `no:` into false."""
    defects = []
    seen: set[int] = set()
    waiting: list[tuple[yaml.Node, Location]] = [(root, ())]
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend((item, (*path, i)) for i, item in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    defects.append(Defect(path, f"the key on line {line} is a collection, not text"))
                    continue
                if key.tag not in (_TEXT_TAG, _MERGE_TAG):
                    message = f"the key {show(key.value)} on line {line} is not text; write it in quotes"
                    defects.append(Defect(path, message))
                elif key.value in lines:
                    message = (
                        f"the key {show(key.value)} stands twice, on lines {lines[key.value]} and {line}"
                    )
                    defects.append(Defect(path, message))
                lines.setdefault(key.value, line)
                waiting.append((value, path if key.tag == _MERGE_TAG else (*path, key.value)))
    return defects


def _describe(error: yaml.YAMLError) -> str:
    """One line without the text around it, which may hold what must not be logged."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"not YAML: {error.reason} at position {error.position}"
    if isinstance(error, yaml.MarkedYAMLError):
        problem = " ".join(filter(None, [error.context, error.problem]))
        return f"{_where(error.problem_mark or error.context_mark)}{problem}"
    return str(error)


def _where(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
