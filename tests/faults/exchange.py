"""One request and the ways to answer it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from tests.faults.answer import Answer
from tests.faults.connection import Connection
from tests.faults.fault import Fault
from tests.faults.ledger import Ledger, Moment, SeenRequest
from tests.faults.wire import Call, Event, Part, Problem, Reply, Wire, WireFormat

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"


@dataclass
class Exchange:
    """A call that is being answered.

    Attributes:
        connection: where it came from.
        call: what it asks.
        form: its wire's forms.
        answer: what the model answers, if no fault forbids it.
        seen: its entry in the ledger.
        ledger: where it counts.
        time_factor: real seconds of waiting for each second that a fault says.
        retry_after_s: what a rate limit says to wait, in seconds.
        down: what an outage plays while the test says that the upstream is down; None: it is up.
        clock: the time of day, in seconds, for headers.
    """

    connection: Connection
    call: Call
    form: WireFormat
    answer: Answer
    seen: SeenRequest
    ledger: Ledger
    time_factor: float
    retry_after_s: float
    down: Fault | None
    clock: Callable[[], float]
    _first_of_array: bool = True

    async def reply(
        self,
        body: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        content_type: str = JSON,
        sent_bytes: int | None = None,
    ) -> None:
        """A whole response; of its body only the first `sent_bytes`, where given."""
        content = body.encode()
        extra = {"content-length": str(len(content))} | dict(headers or {})
        # One write, as servers do with a small body; byte by byte and slow ones have their own ways.
        await self._send_head(status, content_type, extra, content[:sent_bytes])
        if status == HTTPStatus.OK and self.answer.tokens and sent_bytes is None:
            self._note_first_token()

    async def complain(
        self,
        problem: Problem,
        message: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        retry_info_s: float | None = None,
    ) -> None:
        """The wire's error response."""
        reply: Reply = self.form.problem(problem, message, retry_info_s=retry_info_s)
        await self.reply(reply.body, reply.status, {**reply.headers, **(headers or {})})

    async def reply_in_pieces(self, body: str, size: int, delay_s: float = 0.0) -> None:
        """A whole response whose body comes in writes of `size` bytes."""
        content = body.encode()
        await self._send_head(200, JSON, {"content-length": str(len(content))}, b"")
        for start in range(0, len(content), size):
            if start and delay_s:
                await self.hold(delay_s)
            await self.connection.send(content[start : start + size])

    async def open_stream(self) -> Iterator[Event]:
        """Sends the head of a stream; its events are yet to be sent."""
        headers = {"transfer-encoding": "chunked", "cache-control": "no-cache"}
        await self._send_head(200, SSE if self.call.sse else JSON, headers, b"")
        return self.form.events(self.answer, self.call)

    async def send_tokens(self, events: Iterator[Event], count: int) -> None:
        """Sends events until so many tokens of text are sent."""
        for event in events:
            await self.send_event(event)
            if self.seen.tokens_sent >= count:
                return

    async def send_rest(self, events: Iterator[Event], delay_s: float = 0.0) -> None:
        """Sends all further events, and ends the stream well. `delay_s` stands between tokens."""
        for event in events:
            if delay_s and event.part is Part.TOKEN and self.seen.tokens_sent:
                await self.hold(delay_s)
            await self.send_event(event)
        await self.end_stream()

    async def send_event(self, event: Event) -> None:
        """Sends one event, as its wire frames it."""
        await self.send_chunk(self.frame(event))
        self.count(event)

    def count(self, event: Event) -> None:
        """Counts a sent event's token, if it is one."""
        if event.part is Part.TOKEN:
            self.seen.tokens_sent += 1
            self._note_first_token()

    def frame(self, event: Event) -> bytes:
        """An event's bytes."""
        if not self.call.sse:
            opening = "[" if self._first_of_array else ",\r\n"
            self._first_of_array = False
            return (opening + event.data).encode()
        end = self.form.line_end
        name = f"event: {event.name}{end}" if event.name else ""
        return f"{name}data: {event.data}{end}{end}".encode()

    async def send_chunk(self, data: bytes) -> None:
        """Sends bytes of a stream as one chunk of HTTP, in one write."""
        await self.connection.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self) -> None:
        """The last chunk: HTTP's own end of the body."""
        if not self.call.sse:
            await self.send_chunk(b"[]" if self._first_of_array else b"]")
        await self.connection.send(b"0\r\n\r\n")

    async def hold(self, duration_s: float) -> None:
        """Waits so many of the fault's seconds, until the test releases it, or the peer leaves."""
        self.ledger.note(self.seen, Moment.HELD)
        await self.connection.hold(duration_s * self.time_factor)

    @property
    def gemini(self) -> bool:
        """Whether the wire is Gemini's."""
        return self.call.wire is Wire.GEMINI

    async def _send_head(
        self, status: int, content_type: str, headers: Mapping[str, str], content: bytes
    ) -> None:
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", f"date: {formatdate(self.clock(), usegmt=True)}"]
        lines.append(f"content-type: {content_type}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.seen.status = status
        await self.connection.send("\r\n".join([*lines, "", ""]).encode() + content)
        self.ledger.note(self.seen, Moment.HEAD_SENT)

    def _note_first_token(self) -> None:
        if self.seen.at(Moment.FIRST_TOKEN) is None:
            self.ledger.note(self.seen, Moment.FIRST_TOKEN)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        # 529 is in no registry.
        return "Overloaded"
