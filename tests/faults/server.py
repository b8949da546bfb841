"""The fake upstream as a whole: who listens, what meets which model, and what a test may change while it runs."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tests.faults import control
from tests.faults.answer import Answer
from tests.faults.anthropic_wire import AnthropicWire
from tests.faults.behaviours import BEHAVIOURS
from tests.faults.connection import Connection, HttpRequest, PeerLeftError
from tests.faults.exchange import Exchange
from tests.faults.fault import BY_NAME, Fault
from tests.faults.gemini_wire import GeminiWire
from tests.faults.ledger import Ledger, Moment
from tests.faults.openai_wire import OpenAIWire
from tests.faults.wire import BadCallError, Call, Problem, Wire, WireFormat, parsed

FORMATS: dict[Wire, WireFormat] = {
    Wire.OPENAI: OpenAIWire(),
    Wire.ANTHROPIC: AnthropicWire(),
    Wire.GEMINI: GeminiWire(),
}
BACKLOG = 1024


@dataclass
class Role:
    """What a model plays.

    Attributes:
        fault: what meets its requests.
        left: how many more requests it meets; None means all.
        answer: what it answers otherwise, or at the fault's will.
    """

    fault: Fault
    left: int | None
    answer: Answer

    def take(self) -> Fault:
        """What meets the next request."""
        if self.left is None:
            return self.fault
        self.left -= 1
        return self.fault if self.left >= 0 else Fault.ORDINARY


class FaultServer:
    """A fake upstream on a loopback port, for `async with`.

    A model's name picks its fault: the fault's value, or that, a dot and a label, so that each test may have its own
    count of it, over all wires. `play` gives any other name a part. While `down` is set, every model of the fault
    OUTAGE plays that.

    Args:
        port: 0 for any that is free.
        time_factor: real seconds of waiting for each second that a fault says; 0.01 makes 20 s of silence 0.2 s.
        retry_after_s: what rate limits say to wait, in seconds; not scaled.
        monotonic: the ledger's clock, in seconds; the system-wide one, so that other processes may compare.
        clock: the time of day, in seconds, for headers.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        time_factor: float = 1.0,
        retry_after_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.port = port
        self.time_factor = time_factor
        self.retry_after_s = retry_after_s
        self.clock = clock
        self.down: Fault | None = None
        self.ledger = Ledger(monotonic)
        self._roles: dict[str, Role] = {}
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        tasks = [one.task for one in self._connections if one.task is not None]
        for task in tasks:
            task.cancel()
        for connection in self._connections:
            connection.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A turn of the loop for each transport to end.
        while any(connection.open for connection in self._connections):
            await asyncio.sleep(0)
        self._connections.clear()

    @property
    def url(self) -> str:
        """Base address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Accepts connections; on the same port again after `refuse`."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, sock=listener, backlog=BACKLOG)

    async def refuse(self) -> None:
        """Refuses new connections (ECONNREFUSED); those that are open stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(0)

    def play(
        self,
        model: str,
        fault: Fault = Fault.ORDINARY,
        *,
        times: int | None = None,
        answer: Answer | None = None,
    ) -> None:
        """From now on a model plays this.

        Args:
            model: its name.
            fault: what meets its requests.
            times: how many of them, before the rest are answered; None means as the fault has it.
            answer: what it answers; None means the ordinary 60 tokens.
        """
        self._roles[model] = Role(fault, fault.times if times is None else times, answer or Answer())

    def release(self, model: str | None = None) -> None:
        """Ends the waits of a model's requests, or of all: a silence, a stall, a slow token."""
        waiting = {one.connection.number for one in self.ledger.requests if model in (None, one.model)}
        for connection in self._connections:
            if connection.seen.number in waiting:
                connection.release()

    def drop_idle(self) -> int:
        """Closes the connections on which no request is being answered; says how many."""
        idle = [one for one in self._connections if one.open and one.task is None]
        for connection in idle:
            connection.close()
        return len(idle)

    def _accept(self) -> Connection:
        self._connections = {one for one in self._connections if one.open}
        connection = Connection(self._serve, self.ledger)
        self._connections.add(connection)
        return connection

    def _role(self, model: str) -> Role | None:
        if model not in self._roles:
            fault = BY_NAME.get(model.partition(".")[0])
            if fault is None:
                return None
            self.play(model, fault)
        return self._roles[model]

    async def _serve(self, connection: Connection, request: HttpRequest) -> None:
        if request.path.startswith(control.PREFIX):
            await control.serve(self, connection, request)
            return
        wire = _wire(request.path)
        form = FORMATS[wire]
        body = parsed(request.body.decode("utf-8", "replace"))
        fields = body if isinstance(body, dict) else {}
        try:
            call = form.read(request.path, request.headers, fields)
            complaint: BadCallError | None = None
        except BadCallError as error:
            complaint = error
            call = Call(wire, str(fields.get("model", "")), False, fields)
        await self._answer(connection, request, call, complaint)

    async def _answer(
        self, connection: Connection, request: HttpRequest, call: Call, complaint: BadCallError | None
    ) -> None:
        role = None if complaint else self._role(call.model)
        fault = role.take() if role else None
        if fault is None and complaint is None:
            complaint = BadCallError(Problem.NOT_FOUND, "")
        elif fault is not None and (call.wire not in fault.wires or not (call.stream or fault.unary)):
            text = f"{fault}: not spoken by {call.wire} with stream={call.stream}"
            complaint = BadCallError(Problem.BAD_REQUEST, text)
        seen = self.ledger.arrive(
            connection.seen,
            wire=call.wire,
            model=call.model,
            fault=None if complaint else fault,
            stream=call.stream,
            path=request.path,
            headers=request.headers,
            body=call.body,
            complaint=str(complaint or ""),
        )
        exchange = Exchange(
            connection=connection,
            call=call,
            form=FORMATS[call.wire],
            answer=role.answer if role else Answer(),
            seen=seen,
            ledger=self.ledger,
            time_factor=self.time_factor,
            retry_after_s=self.retry_after_s,
            down=self.down,
            clock=self.clock,
        )
        try:
            if complaint is not None:
                await exchange.complain(complaint.problem, complaint.message)
            else:
                assert fault is not None
                await BEHAVIOURS[fault](exchange)
        except PeerLeftError:
            self.ledger.note(seen, Moment.LEFT)
            raise
        self.ledger.note(seen, Moment.FINISHED)


def _wire(path: str) -> Wire:
    if path.partition("?")[0].endswith("/messages"):
        return Wire.ANTHROPIC
    return Wire.GEMINI if "/models/" in path else Wire.OPENAI


def describe_faults() -> list[Mapping[str, Any]]:
    """One row a fault, for a scorecard: its name, what it does, what a dispatcher owes then."""
    return [
        {
            "fault": fault.value,
            "does": fault.__doc__,
            "must": fault.must,
            "times": fault.times,
            "wires": sorted(fault.wires),
            "unary": fault.unary,
        }
        for fault in Fault
    ]
