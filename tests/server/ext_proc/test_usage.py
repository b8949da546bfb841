"""Token counts at the end of responses, in any pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.completion.tokens import TokenCounts
from turnout_server.doors.ext_proc.chat_body import ChatWire
from turnout_server.doors.ext_proc.usage import KEPT_TAIL_BYTES, ResponseTail

from tests.server.ext_proc.providers import _anthropic, _gemini, _openai

COUNTS = TokenCounts(input_uncached=11, output_text=7)
BODIES = {
    wire: ["".join(made).encode() for made in both]
    for wire, both in {
        ChatWire.OPENAI: [_openai("a", {}, False), _openai("a", {}, True)],
        ChatWire.ANTHROPIC: [_anthropic("a", {}, False), _anthropic("a", {}, True)],
        ChatWire.GEMINI: [_gemini("a", False), _gemini("a", True)],
    }.items()
}


@given(st.sampled_from(list(ChatWire)), st.sampled_from([0, 1]), st.integers(1, 60))
def test_counts_are_found(wire: ChatWire, streamed: int, size: int) -> None:
    tail = ResponseTail()
    body = BODIES[wire][streamed]
    for at in range(0, len(body), size):
        tail.add(body[at : at + size])
    assert tail.usage(wire) == COUNTS


@pytest.mark.parametrize("wire", [ChatWire.OPENAI, ChatWire.ANTHROPIC])
def test_a_long_stream_keeps_both_ends(wire: ChatWire) -> None:
    events = BODIES[wire][1].split(b"\n\n")
    tail = ResponseTail()
    middle = f"data: {json.dumps({'text': 'x' * 1000})}\n\n".encode() * (KEPT_TAIL_BYTES // 500)
    for piece in (b"\n\n".join(events[:3]) + b"\n\n", middle, b"\n\n".join(events[3:])):
        tail.add(piece)
    assert tail.usage(wire) == COUNTS


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"error":{}}', b"data: [DONE]\n\n"])
def test_without_counts_there_are_none(body: bytes) -> None:
    tail = ResponseTail()
    tail.add(body)
    assert [tail.usage(wire) for wire in ChatWire] == [None, None, None]
