"""JSON as text: the one value that is rewritten, where it stands, and a document of which only the beginning is known."""

from __future__ import annotations

import re

import orjson

from turnout_server.doors.compiled.json_tokens import tokens

_CLOSERS = {ord("{"): b"}", ord("["): b"]"}
# A text may be cut within an escape.
_CUT_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?$")


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
    for mark, start, end in tokens(body):
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


def _whole_text(cut: bytes) -> str | None:
    """The text of one that lacks its last quote; None if that does not make it a text."""
    try:
        text: str = orjson.loads(cut + b'"')
    except orjson.JSONDecodeError:
        return None
    return text


def _closing(stack: list[int]) -> bytes:
    return b"".join([_CLOSERS[mark] for mark in reversed(stack)])
