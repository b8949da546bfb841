"""Server-sent events split from bytes, by the parsing rules of the WHATWG HTML standard (section 9.2.6).

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE_BYTES = 1 << 20
# An event is the sum of its data lines; some providers put a whole answer into one.
MAX_EVENT_BYTES = 8 << 20

_BOM = b"\xef\xbb\xbf"
_CR = 0x0D
_LF = 0x0A


class SseError(ValueError):
    """The stream breaks a limit; the message says which."""


class SseEvent(NamedTuple):
    """An event's type, empty where the stream names none, and its data, lines joined by line feeds."""

    event: str
    data: bytes


class SseSplitter:
    """Takes chunks as they come and gives the events that are whole.

    How the bytes were cut into chunks changes nothing but when an event comes. Ids and retry times mean nothing to
    a single request, so they are dropped with all unknown fields. An event whose blank line never came is dropped,
    as the standard says: only an ended event counts.
    """

    __slots__ = ("_after_cr", "_buffer", "_data", "_data_bytes", "_event", "_started")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._after_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes.

        Raises:
            SseError: a line or an event is beyond its limit.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            # The second half of a CRLF whose CR was the last byte of the chunk before.
            if chunk[0] == _LF:
                chunk = chunk[1:]
        self._buffer += chunk
        if not self._started:
            if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
                return []
            self._started = True
            if self._buffer.startswith(_BOM):
                del self._buffer[: len(_BOM)]
        elif b"\n" not in chunk and b"\r" not in chunk:
            # Only new bytes are searched: a long line in small chunks costs no more than in one.
            _check_line(len(self._buffer))
            return []
        lines = self._lines()
        if (usual := self._usual(lines)) is not None:
            return usual
        events: list[SseEvent] = []
        for line in lines:
            if line:
                self._take(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        return events

    def _usual(self, lines: list[bytes]) -> list[SseEvent] | None:
        """The events, where each is one line of data and nothing is left over; None where it is otherwise."""
        if self._data or self._event or len(lines) % 2 or any(lines[1::2]):
            return None
        data = lines[::2]
        if not all([line.startswith(b"data: ") for line in data]):
            return None
        return [SseEvent("", line[6:]) for line in data]

    def _lines(self) -> list[bytes]:
        """The whole lines of the buffer, without their ends, which it then no longer holds."""
        buffer = self._buffer
        if buffer.find(b"\r") < 0:
            # The usual stream: line feeds alone.
            end = buffer.rfind(b"\n")
            if end < 0:
                _check_line(len(buffer))
                return []
            lines = bytes(buffer[:end]).split(b"\n")
            del buffer[: end + 1]
        else:
            lines = self._split_any_end()
        _check_line(max(map(len, lines), default=0))
        _check_line(len(buffer))
        return lines

    def _split_any_end(self) -> list[bytes]:
        buffer = self._buffer
        self._after_cr = buffer[-1] == _CR
        lines = bytes(buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer = bytearray(lines.pop())
        return lines

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            self._data_bytes += len(value) + 1
            if self._data_bytes > MAX_EVENT_BYTES:
                raise SseError(f"event: more than the limit of {MAX_EVENT_BYTES} bytes")
            self._data.append(value)
        elif name == b"event":
            self._event = value

    def _dispatch(self) -> SseEvent | None:
        data, event = self._data, self._event
        self._event = b""
        if not data:
            return None
        self._data, self._data_bytes = [], 0
        return SseEvent(event.decode("utf-8", "replace") if event else "", b"\n".join(data))


def _check_line(size: int) -> None:
    if size > MAX_LINE_BYTES:
        raise SseError(f"line: more than the limit of {MAX_LINE_BYTES} bytes")
