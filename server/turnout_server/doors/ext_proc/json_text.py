"""JSON as text: the one value that is rewritten, where it stands, and a document of which only the beginning is known."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

# What lies between is blank, a number or a word.
_MARK = re.compile(rb'["{}\[\]:,]')
_CLOSERS = {ord("{"): b"}", ord("["): b"]"}
# A text may be cut within an escape.
_CUT_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?$")


def spans_of(body: bytes, key: str) -> list[tuple[int, int]]:
    """Where the texts stand, quotes and all, that the document's own `key` names, from which byte to before which.

    Args:
        body: a JSON object, or the beginning of one.
        key: of the object itself; equal keys of inner objects do not count.
    """
    spans: list[tuple[int, int]] = []
    depth = 0
    text: tuple[int, int] | None = None
    named = False
    for mark, start, end in _tokens(body):
        if mark == 0x22:
            if depth == 1 and end:
                if named:
                    spans.append((start, end))
                text = start, end
            named = False
            continue
        if mark in b"{[":
            depth += 1
        elif mark in b"}]":
            depth -= 1
        named = mark == 0x3A and depth == 1 and text is not None and _is(body[slice(*text)], key)
    return spans


def replace_texts(body: bytes, spans: list[tuple[int, int]], text: str) -> bytes:
    """The body with other texts in these places, and every other byte as it was."""
    pieces = []
    at = 0
    for start, end in spans:
        pieces += [body[at:start], orjson.dumps(text)]
        at = end
    return b"".join([*pieces, body[at:]])


def close_cut(body: bytes) -> bytes:
    """A whole document from the beginning of one: what is open is closed, what is not whole is left out.

    A text that is cut is kept as far as it goes, a key, number or word that may go on is not.
    """
    stack: list[int] = []
    # Up to where the document is whole but for closing what is open, and what is open there.
    safe, safe_stack = 0, b""
    last = 0
    for mark, start, end in _tokens(body):
        if mark == 0x22:
            in_object = bool(stack) and stack[-1] == ord("{")
            is_value = not in_object or last == ord(":")
            if not end:
                # Cut within it.
                if not is_value:
                    break
                kept = body[start:]
                while kept and _whole_text(kept) is None:
                    kept = kept[:-1] if _CUT_ESCAPE.search(kept) is None else _CUT_ESCAPE.sub(b"", kept)
                if kept:
                    return body[:start] + kept + b'"' + _closing(stack)
                break
            if is_value:
                safe, safe_stack = end, _closing(stack)
            last = mark
            continue
        if mark in b"{[":
            stack.append(mark)
            safe, safe_stack = end, _closing(stack)
        elif mark in b"}]":
            if stack:
                stack.pop()
            safe, safe_stack = end, _closing(stack)
        elif mark == ord(","):
            # Numbers and words before a comma are whole.
            safe, safe_stack = start, _closing(stack)
        last = mark
    return body[:safe] + safe_stack


def _tokens(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Texts and marks: the first byte, where it stands, and the end; a text that is cut has the end 0."""
    at = 0
    while (found := _MARK.search(body, at)) is not None:
        start = found.start()
        mark = body[start]
        # Texts are most of a body, and are not looked at byte by byte.
        at = _end_of_text(body, start) if mark == 0x22 else start + 1
        yield mark, start, at
        if not at:
            return


def _end_of_text(body: bytes, start: int) -> int:
    """Behind the last quote of the text that begins at `start`; 0 if there is none."""
    at = start + 1
    while (quote := body.find(b'"', at)) >= 0:
        first = quote
        while body[first - 1] == 0x5C:
            first -= 1
        at = quote + 1
        # An even number of backslashes are so many escaped ones.
        if (quote - first) % 2 == 0:
            return at
    return 0


def _whole_text(cut: bytes) -> str | None:
    """The text of one that lacks its last quote; None if that does not make it a text."""
    try:
        text: str = orjson.loads(cut + b'"')
    except orjson.JSONDecodeError:
        return None
    return text


def _closing(stack: list[int]) -> bytes:
    return b"".join([_CLOSERS[mark] for mark in reversed(stack)])


def _is(quoted: bytes, key: str) -> bool:
    if quoted[1:-1] == key.encode():
        return True
    # A key may be written with escapes.
    return b"\\" in quoted and _whole_text(quoted[:-1]) == key
