"""What of a request is read, restated over bytes and lists; the tokenizer is the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Role: TypeAlias = Literal["user", "assistant", "system", "developer", "tool"]

HEAD_PIECES = 256
TAIL_PIECES = 128
TAIL_BYTES = 1024
SHORT_TURN_BYTES = 48
BORROWED_TURNS = 2
BORROWED_BYTES = 256
# How far behind the start of the tail a space is looked for.
SPACE_REACH = 64
SPACES = b"\t\n\v\f\r "

# Pieces, words and the bytes read of (text, most pieces): whole words only.
Encode = Callable[[bytes, int], tuple[list[int], list[int], int]]


@dataclass(frozen=True)
class Judged:
    """The text that is judged, and what is counted of the rest."""

    text: bytes
    borrowed_bytes: int
    user_turns: int
    system_bytes: int
    history_bytes: int
    tool_results: int
    tool_result_bytes: int


@dataclass(frozen=True)
class Windows:
    """What the learned part reads of the judged text."""

    ids: list[int]
    n_unknown: int
    head_words: list[int]
    tail_words: list[int]
    total: int
    truncated: bool


def last_bytes(text: bytes, limit: int) -> bytes:
    """The last `limit` bytes, without a cut character at the start."""
    end = text[-limit:]
    return end.lstrip(bytes(range(0x80, 0xC0))) if len(text) > limit else end


def choose_text(messages: Sequence[tuple[Role, bytes]]) -> Judged:
    """The last user turn; when it is short, with the ends of the two turns of the conversation before it."""
    turns = [i for i, (role, _) in enumerate(messages) if role == "user"]
    text, borrowed = b"", list[bytes]()
    if turns:
        text = messages[turns[-1]][1]
        if len(text) < SHORT_TURN_BYTES:
            before = [said for role, said in messages[: turns[-1]] if role in ("user", "assistant") and said]
            borrowed = [last_bytes(said, BORROWED_BYTES) for said in before[-BORROWED_TURNS:]]

    def size(*roles: Role) -> int:
        return sum(len(said) for role, said in messages if role in roles)

    return Judged(
        text=b"\n".join([*borrowed, text]),
        borrowed_bytes=sum(len(said) + 1 for said in borrowed),
        user_turns=len(turns),
        system_bytes=size("system", "developer"),
        history_bytes=size("user", "assistant") - len(text) - sum(map(len, borrowed)),
        tool_results=sum(role == "tool" for role, _ in messages),
        tool_result_bytes=size("tool"),
    )


def tail_start(text: bytes, read: int) -> int:
    """Where the second window begins, behind the `read` bytes of the first."""
    if len(text) - read <= TAIL_BYTES:
        return read
    start = len(text) - TAIL_BYTES
    for at in range(start, start + SPACE_REACH):
        if text[at] in SPACES:
            return at
    while start < len(text) - 1 and text[start] & 0xC0 == 0x80:
        start += 1
    return start


def read_windows(encode: Encode, unk_id: int, text: bytes) -> Windows:
    """The first 256 and the last 128 pieces; the number of pieces between is estimated from bytes."""
    head, words, read = encode(text, HEAD_PIECES)
    if read >= len(text):
        return Windows(head, head.count(unk_id), words, [], len(head), truncated=False)
    start = tail_start(text, read)
    tail, tail_words, tail_read = encode(text[start:], TAIL_BYTES)
    kept = tail[-TAIL_PIECES:]
    total = len(head) + len(tail)
    if start > read:
        total += int((start - read) * total / (read + tail_read) + 0.5)
    ids = head + kept
    return Windows(
        ids=ids,
        n_unknown=ids.count(unk_id),
        head_words=words,
        tail_words=tail_words[-len(kept) :] if kept else [],
        total=total,
        truncated=start > read or len(kept) < len(tail),
    )


def context_features(
    judged: Judged,
    windows: Windows,
    *,
    n_messages: int,
    n_tools: int = 0,
    tool_schema_bytes: int = 0,
    media_bytes: int = 0,
) -> dict[str, float]:
    """The context features by name, rounded to float32 as the kernel keeps them."""
    unread = judged.system_bytes + judged.history_bytes + judged.tool_result_bytes + tool_schema_bytes
    values = {
        "tokens": windows.total,
        "request_tokens": windows.total + unread // 4,
        "messages": n_messages,
        "user_turns": judged.user_turns,
        "system_bytes": judged.system_bytes,
        "history_bytes": judged.history_bytes,
        "tool_results": judged.tool_results,
        "tool_result_bytes": judged.tool_result_bytes,
        "tools": n_tools,
        "tool_schema_bytes": tool_schema_bytes,
        "borrowed_bytes": judged.borrowed_bytes,
        "media_bytes": media_bytes,
    }
    return {name: float(np.float32(value)) for name, value in values.items()}
