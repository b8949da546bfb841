"""One stream's content up to its end: bytes to events to what they hold."""

from __future__ import annotations

import itertools

from turnout_server.providers.call_timer import CallTimer
from turnout_server.providers.chat import StreamEvent, TextDelta
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.json_fields import WireError
from turnout_server.providers.sse import SseError, SseSplitter
from turnout_server.providers.transport import Exchange, TransportError
from turnout_server.providers.wire import StreamReader, UpstreamTold

# After the finish reason only counts and the end mark may come; the answer is whole without them. A gateway may take
# a second to count, as LiteLLM's does on its first stream, and an exact bill is worth that.
TAIL_S = 5.0


class StreamBroken(Exception):
    """The stream ended before its finish reason, or holds what the wire format does not know."""

    def __init__(self, kind: FaultKind) -> None:
        super().__init__(kind)
        self.kind = kind


class EventStream:
    """Reads a response's body; what came before a fault is given first, then the fault is raised."""

    def __init__(self, exchange: Exchange, reader: StreamReader, timer: CallTimer, max_bytes: int) -> None:
        self._exchange = exchange
        self._reader = reader
        self._timer = timer
        self._left_bytes = max_bytes
        self._splitter = SseSplitter()
        self._ended = False
        self._fault: Exception | None = None

    async def more(self) -> list[StreamEvent] | None:
        """What the next bytes hold, which may be nothing; None at the end, after the finish reason was seen.

        Raises:
            StreamBroken: the stream is cut, stalled, late or malformed.
            UpstreamTold: the provider says that it failed.
        """
        if self._fault is not None:
            raise self._fault
        if self._ended:
            return None
        chunk = await self._read()
        if not chunk:
            if not self._reader.finish_seen:
                raise StreamBroken(FaultKind.CUT)
            return None
        return self._take(chunk)

    async def _read(self) -> bytes:
        finish_seen = self._reader.finish_seen
        try:
            async with self._timer.waiting(TAIL_S if finish_seen else None):
                chunk = await self._exchange.read()
        except (TransportError, TimeoutError) as error:
            # The provider has said why it stopped: nothing of the answer is missing.
            if finish_seen:
                return b""
            kind = error.kind if isinstance(error, TransportError) else self._timer.expired()
            raise StreamBroken(kind) from None
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise StreamBroken(FaultKind.MALFORMED)
        return chunk

    def _take(self, chunk: bytes) -> list[StreamEvent]:
        found: list[StreamEvent] = []
        try:
            for event in self._splitter.feed(chunk):
                found += self._reader.read(event)
                if self._reader.ended:
                    self._end()
                    break
        except (SseError, WireError):
            self._fault = StreamBroken(FaultKind.MALFORMED)
        except (UpstreamTold, StreamBroken) as error:
            self._fault = error
        if self._fault is not None and not found:
            raise self._fault
        return _joined(found)

    def _end(self) -> None:
        self._ended = True
        if not self._reader.finish_seen:
            raise StreamBroken(FaultKind.CUT)


def _joined(found: list[StreamEvent]) -> list[StreamEvent]:
    """Text that came in one read is one event: a message for each token costs more than the token."""
    events: list[StreamEvent] = []
    at = 0
    while at < len(found):
        first, end = found[at], at + 1
        if type(first) is TextDelta:
            while end < len(found) and type(found[end]) is TextDelta:
                end += 1
        if end - at > 1:
            texts = [one for one in found[at:end] if isinstance(one, TextDelta)]
            logprobs = tuple(itertools.chain.from_iterable(one.logprobs for one in texts))
            first = TextDelta("".join([one.text for one in texts]), logprobs)
        events.append(first)
        at = end
    return events
