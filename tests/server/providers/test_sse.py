"""The splitter gives what the standard's algorithm, written out plainly, gives, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from turnout_server.providers.sse import (
    MAX_EVENT_BYTES,
    MAX_LINE_BYTES,
    SseError,
    SseEvent,
    SseSplitter,
)


def reference(stream: bytes) -> list[SseEvent]:
    """The WHATWG algorithm on the whole stream, byte by byte."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines: list[bytes] = []
    line = b""
    position = 0
    while position < len(stream):
        byte = stream[position : position + 1]
        position += 1
        if byte in (b"\r", b"\n"):
            if byte == b"\r" and stream[position : position + 1] == b"\n":
                position += 1
            lines.append(line)
            line = b""
        else:
            line += byte
    events: list[SseEvent] = []
    data: bytes | None = None
    event = b""
    for line in lines:
        if not line:
            if data is not None:
                events.append(SseEvent(event.decode("utf-8", "replace"), data))
            data, event = None, b""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            event = value
    return events


def split(chunks: list[bytes]) -> list[SseEvent]:
    splitter = SseSplitter()
    return [event for chunk in chunks for event in splitter.feed(chunk)]


PIECES = st.lists(
    st.sampled_from(
        [
            b"data", b"event", b"id", b"retry", b":", b" ", b"\r", b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf",
            b"\xef", b"\xbb", b"{}", b"[DONE]", "é".encode(), b"\x00", b"data: a\n\n", b": comment\n",
        ]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(stream=PIECES, cuts=st.lists(st.integers(0, 60), max_size=8))
@example(stream=b"data: a\r\n\r\ndata: b\r\r\n", cuts=[8])
@example(stream=b"\xef\xbb\xbfdata: a\n\n", cuts=[1, 2])
@example(stream=b"\xef\xbbdata: a\n\n", cuts=[1, 2])
def test_splitter_equals_the_standard(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert split(chunks) == reference(stream)
    assert split([stream[index : index + 1] for index in range(len(stream))]) == reference(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\ndata:b\ndata\n\n", [SseEvent("", b"a\nb\n")]),
        (b"event: x\ndata:  a\n\ndata: b\n\n", [SseEvent("x", b" a"), SseEvent("", b"b")]),
        (b"event: x\n\ndata: b\n\n", [SseEvent("", b"b")]),
        (b": ping\n\n:\n\n", []),
        (b"data:\n\n", [SseEvent("", b"")]),
        (b"data: a\n", []),
        (b"data: a\r\rdata: b\r\n\r\n", [SseEvent("", b"a"), SseEvent("", b"b")]),
        (b"id: 1\nretry: 5\nnonsense\ndata: a\n\n", [SseEvent("", b"a")]),
        ("data: é\n\n".encode(), [SseEvent("", "é".encode())]),
    ],
)
def test_streams_of_the_standard(stream: bytes, events: list[SseEvent]) -> None:
    assert split([stream]) == events


@pytest.mark.parametrize("chunk", [1 << 10, 1 << 16, 1 << 22])
@pytest.mark.parametrize("ended", [True, False])
def test_a_line_above_the_limit_is_an_error(chunk: int, ended: bool) -> None:
    line = b"data: " + b"x" * MAX_LINE_BYTES + (b"\n\n" if ended else b"")
    with pytest.raises(SseError, match=str(MAX_LINE_BYTES)):
        split([line[start : start + chunk] for start in range(0, len(line), chunk)])


def test_a_line_at_the_limit_is_none() -> None:
    line = b"data:" + b"x" * (MAX_LINE_BYTES - 5)
    assert [len(event.data) for event in split([line, b"\n\n"])] == [MAX_LINE_BYTES - 5]


def test_an_event_above_the_limit_is_an_error() -> None:
    line = b"data:" + b"x" * (MAX_LINE_BYTES - 6) + b"\n"
    with pytest.raises(SseError, match=str(MAX_EVENT_BYTES)):
        split([line] * (MAX_EVENT_BYTES // MAX_LINE_BYTES + 2))
