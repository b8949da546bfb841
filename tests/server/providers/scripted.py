"""A transport that does what a test writes down, without sockets, and notes what was done to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from turnout_server.providers.faults import FaultKind
from turnout_server.providers.transport import Exchange, HttpRequest, TransportError

CUT = TransportError(FaultKind.CUT, "ClientPayloadError")
SSE = {"content-type": "text/event-stream"}


class Silence:
    """Nothing comes, ever."""


Chunk = bytes | TransportError | Silence


@dataclass
class Response:
    """A scripted response: its head, and what each read gives."""

    chunks: list[Chunk] = field(default_factory=list)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: SSE)

    async def read(self) -> bytes:
        # As on a socket, a timer may end the wait.
        await asyncio.sleep(0)
        if not self.chunks:
            return b""
        match chunk := self.chunks.pop(0):
            case TransportError():
                raise chunk
            case Silence():
                await asyncio.Event().wait()
                raise AssertionError
            case _:
                return chunk


class ScriptedTransport:
    """Answers requests in order."""

    def __init__(self, *responses: Response | TransportError | Silence) -> None:
        self.responses = list(responses)
        self.requests: list[HttpRequest] = []
        self.closed = 0

    @asynccontextmanager
    async def open(self, request: HttpRequest, connect_s: float) -> AsyncIterator[Exchange]:
        self.requests.append(request)
        response = self.responses.pop(0)
        try:
            if isinstance(response, TransportError):
                raise response
            if isinstance(response, Silence):
                await asyncio.Event().wait()
            else:
                yield response
        finally:
            self.closed += 1
