"""JSON as text: the one value that is rewritten, where it stands, and a document of which only the beginning is known."""

from __future__ import annotations

from typing import TypeAlias

import orjson

from turnout_server.doors.compiled.json_tokens import tokens

_CLOSERS = {ord("{"): b"}", ord("["): b"]"}
# What a cut leaves behind the last whole character: 3 bytes of UTF-8, or half a surrogate pair and a cut escape.
_MOST_CUT_BYTES = 12

# What is open, innermost first: its closer, and what it is in. Kept in one step however deep it is.
_Open: TypeAlias = "tuple[bytes, _Open] | None"


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
    stack: _Open = None
    # Up to where the document is whole but for closing what is open, and what is open there.
    safe, safe_stack = 0, stack
    last = 0
    for mark, start, end in tokens(body):
        if mark == 0x22:
            in_object = stack is not None and stack[0] == b"}"
            is_value = not in_object or last == ord(":")
            if not end:
                # Cut within it.
                if not is_value:
                    break
                kept = _kept_of(body[start:])
                if kept:
                    return body[:start] + kept + b'"' + _closing(stack)
                break
            if is_value:
                safe, safe_stack = end, stack
            last = mark
            continue
        if mark in b"{[":
            stack = _CLOSERS[mark], stack
            safe, safe_stack = end, stack
        elif mark in b"}]":
            if stack is not None:
                stack = stack[1]
            safe, safe_stack = end, stack
        elif mark == ord(","):
            # Numbers and words before a comma are whole.
            safe, safe_stack = start, stack
        last = mark
    return body[:safe] + _closing(safe_stack)


def _kept_of(cut: bytes) -> bytes:
    """As much of a cut text as is whole; nothing where more than the cut is wrong with it."""
    for size in range(len(cut), max(0, len(cut) - _MOST_CUT_BYTES), -1):
        if _whole_text(cut[:size]) is not None:
            return cut[:size]
    return b""


def _whole_text(cut: bytes) -> str | None:
    """The text of one that lacks its last quote; None if that does not make it a text."""
    try:
        text: str = orjson.loads(cut + b'"')
    except orjson.JSONDecodeError:
        return None
    return text


def _closing(stack: _Open) -> bytes:
    closers = []
    while stack is not None:
        closer, stack = stack
        closers.append(closer)
    return b"".join(closers)
