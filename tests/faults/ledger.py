"""What the upstream saw, counted by itself alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.faults.fault import Fault
from tests.faults.wire import Wire


class Moment(StrEnum):
    """What can happen to a request, on the upstream's side."""

    ARRIVED = "arrived"
    """Its last byte is read."""
    HEAD_SENT = "head-sent"
    FIRST_TOKEN = "first-token"
    HELD = "held"
    """A wait begins: a silence, a stall, a slow token."""
    FINISHED = "finished"
    """The answer, or what the fault makes of it, is sent and over."""
    LEFT = "left"
    """The peer closed the connection before that."""


class Closer(StrEnum):
    """Who closed a connection."""

    PEER = "peer"
    SERVER = "server"


@dataclass
class SeenConnection:
    """One connection. Times are of the system's monotonic clock, in seconds.

    Attributes:
        number: counts from 1.
        opened_s: when it was accepted.
        closed_s: when it ended; None while it is open.
        closed_by: who ended it first.
        reset: whether the peer ended it by a TCP reset.
        requests: requests that it brought.
    """

    number: int
    opened_s: float
    closed_s: float | None = None
    closed_by: Closer | None = None
    reset: bool = False
    requests: int = 0


@dataclass
class SeenRequest:
    """One request. Times are of the system's monotonic clock, in seconds.

    Attributes:
        number: counts from 1.
        wire: its format.
        model: the model it names.
        fault: what met it; None where the request itself was at fault, or its model is unknown.
        stream: whether it asks for a stream.
        path: with its query.
        headers: names in lower case.
        body: its JSON.
        connection: what brought it.
        status: HTTP status of the response; None until its head is sent.
        complaint: why the provider would refuse it; empty if it would not.
        tokens_sent: tokens of text streamed so far.
        moments: what happened, in order.
    """

    number: int
    wire: Wire
    model: str
    fault: Fault | None
    stream: bool
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    connection: SeenConnection
    status: int | None = None
    complaint: str = ""
    tokens_sent: int = 0
    moments: list[tuple[Moment, float]] = field(default_factory=list)

    def at(self, moment: Moment) -> float | None:
        """When it last happened; None if it did not."""
        return next((at for what, at in reversed(self.moments) if what is moment), None)

    @property
    def over(self) -> bool:
        """Whether it is finished, or the peer left."""
        return bool(self.moments) and self.moments[-1][0] in (Moment.FINISHED, Moment.LEFT)

    @property
    def left_after(self) -> tuple[Moment, float] | None:
        """What had happened last when the peer left, and how many seconds before; None if it did not leave."""
        if len(self.moments) < 2 or self.moments[-1][0] is not Moment.LEFT:
            return None
        (what, at), (_, left) = self.moments[-2:]
        return what, left - at


class Ledger:
    """Every request and connection since the start, or since the last `clear`.

    Args:
        clock: the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self.requests: list[SeenRequest] = []
        self.connections: list[SeenConnection] = []
        self.peak_connections = 0
        self.peak_in_flight = 0

    def of(self, model: str) -> list[SeenRequest]:
        """Requests of a model, in the order in which they came."""
        return [request for request in self.requests if request.model == model]

    def count(self, model: str | None = None) -> int:
        """Requests of a model, or of all."""
        return len(self.requests if model is None else self.of(model))

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return sum(connection.closed_s is None for connection in self.connections)

    @property
    def in_flight(self) -> int:
        """Requests that are neither finished nor left."""
        return sum(not request.over for request in self.requests)

    async def until(self, held: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Waits until a condition on this ledger holds; raises TimeoutError when the time is over."""
        async with asyncio.timeout(timeout_s):
            while not held():
                self._changed.clear()
                await self._changed.wait()

    def connect(self) -> SeenConnection:
        """A connection is accepted."""
        connection = SeenConnection(len(self.connections) + 1, self._clock())
        self.connections.append(connection)
        self.peak_connections = max(self.peak_connections, self.open_connections)
        self._changed.set()
        return connection

    def disconnect(self, connection: SeenConnection, by: Closer, *, reset: bool = False) -> None:
        """A connection ends; what ends it first counts."""
        if connection.closed_s is None:
            connection.closed_s, connection.closed_by, connection.reset = self._clock(), by, reset
            self._changed.set()

    def arrive(self, connection: SeenConnection, **fields: Any) -> SeenRequest:
        """A request is read; `fields` are those of SeenRequest."""
        request = SeenRequest(number=len(self.requests) + 1, connection=connection, **fields)
        self.requests.append(request)
        self.note(request, Moment.ARRIVED)
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return request

    def note(self, request: SeenRequest, moment: Moment) -> None:
        """Something happens to a request; nothing does once it is over."""
        if not request.over:
            request.moments.append((moment, self._clock()))
            self._changed.set()

    def clear(self) -> None:
        """Forgets everything but what is still open."""
        self.requests = [request for request in self.requests if not request.over]
        self.connections = [one for one in self.connections if one.closed_s is None]
        self.peak_connections, self.peak_in_flight = self.open_connections, self.in_flight

    def to_json(self) -> dict[str, Any]:
        """For a test in another process; see SeenRequest and SeenConnection."""
        return {
            "requests": [_request_form(request) for request in self.requests],
            "connections": [vars(connection) for connection in self.connections],
            "open_connections": self.open_connections,
            "peak_connections": self.peak_connections,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "requests_by_model": dict(self._by_model()),
        }

    def _by_model(self) -> Iterator[tuple[str, int]]:
        for model in sorted({request.model for request in self.requests}):
            yield model, self.count(model)


def _request_form(request: SeenRequest) -> dict[str, Any]:
    return vars(request) | {
        "connection": request.connection.number,
        "headers": dict(request.headers),
        "left_after": request.left_after,
    }
