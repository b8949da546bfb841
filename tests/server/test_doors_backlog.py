"""Calls that wait in gRPC's core: they are seen, too many completions are refused, and nothing is counted for ever."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import grpc
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from turnout.v1 import completion_pb2_grpc
from turnout.v1.completion_pb2 import CompleteRequest
from turnout.v1.routing_pb2 import RouteRequest, RouteStreamRequest
from turnout_server.doors.admission import Admission
from turnout_server.doors.backlog import (
    LATE_S,
    LEAST_BACKLOG,
    LOOK_S,
    MOST_WAIT_S,
    Arrivals,
    Backlog,
    CoreCounts,
)

from tests.server.conftest import Running
from tests.server.rich_errors import decode


@dataclass
class Core:
    """A core, a clock and the service's own counts, all held by the test."""

    begun: int = 0
    ended: int = 0
    now_s: float = 0.0
    arrivals: Arrivals = field(default_factory=lambda: Arrivals([]))
    decisions: Admission = field(default_factory=lambda: Admission(1000))
    completions: Admission = field(default_factory=lambda: Admission(1000))

    def backlog(self) -> Backlog:
        return Backlog(
            self.arrivals,
            self.decisions,
            self.completions,
            lambda: CoreCounts(self.begun, self.ended),
            lambda: self.now_s,
        )


@given(
    before=st.integers(0, 5_000),
    waiting=st.integers(0, 5_000),
    pace=st.integers(1, 4_000),
    in_service=st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300)),
    ended=st.integers(0, 10_000),
)
def test_what_cannot_be_answered_in_time_is_surplus(
    before: int, waiting: int, pace: int, in_service: tuple[int, int, int], ended: int
) -> None:
    core = Core()
    backlog = core.backlog()
    core.begun, core.now_s, core.arrivals.seen = before, LOOK_S, 1
    backlog.look()
    assert (backlog.waiting, core.completions.surplus) == (before, 0)
    core.decisions.in_flight, core.completions.in_flight, core.arrivals.aside = in_service
    core.ended, core.begun = ended, ended + sum(in_service) + waiting
    core.now_s, core.arrivals.seen = 2 * LOOK_S, 1 + pace
    backlog.look()
    assert backlog.waiting == waiting
    most = max(LEAST_BACKLOG, int(pace / LOOK_S * MOST_WAIT_S))
    # A burst that a quiet moment came before says nothing of the pace.
    assert core.completions.surplus == (max(0, waiting - most) if before > LEAST_BACKLOG else 0)
    assert core.decisions.surplus == 0


def test_what_the_core_forgets_to_end_is_no_backlog() -> None:
    core = Core()
    backlog = core.backlog()
    core.begun, core.arrivals.seen, core.now_s = 500, 100, LOOK_S
    backlog.look()
    assert backlog.waiting == 500
    # Nothing was seen since: nothing waits.
    core.now_s = 2 * LOOK_S
    backlog.look()
    assert (backlog.waiting, core.completions.surplus) == (0, 0)


async def test_surplus_is_refused_one_by_one() -> None:
    admission = Admission(1000)
    admission.is_open, admission.surplus = True, 2

    async def ask() -> bool:
        return admission.admit()

    assert [await asyncio.create_task(ask()) for _ in range(4)] == [False, False, True, True]


async def test_completions_that_came_while_the_service_was_held(running: Running) -> None:
    n_calls = 4 * LEAST_BACKLOG
    port = running.service.port
    port.stop_watching()
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub = completion_pb2_grpc.CompletionServiceStub(channel)
        request = CompleteRequest(prompt="hello")
        await asyncio.to_thread(stub.Complete, request)
        # The caller may have its answer before the call's task is done.
        while port.completions.in_flight:
            await asyncio.sleep(0)
        port.backlog.look()
        begun, _ = port.backlog._counts()
        calls = [stub.Complete.future(request, timeout=30) for _ in range(n_calls)]
        # The loop stands still until the core has them all.
        deadline = time.monotonic() + 10
        while port.backlog._counts().begun < begun + n_calls and time.monotonic() < deadline:
            time.sleep(0.02)
        for is_second in (False, True):
            # As though one had been seen since the last look, which was just now.
            port.backlog._seen -= 1
            port.backlog._looked_s = time.monotonic() - LOOK_S
            port.backlog.look()
            assert port.backlog.waiting == n_calls
            assert bool(port.completions.surplus) is is_second
        assert port.completions.surplus == n_calls - LEAST_BACKLOG
        errors = await asyncio.to_thread(lambda: [call.exception() for call in calls])
    refused = [error for error in errors if error is not None]
    assert len(refused) == n_calls - LEAST_BACKLOG
    for error in refused:
        assert isinstance(error, grpc.RpcError)
        rich = decode(error)  # type: ignore[arg-type]
        assert (rich.code, rich.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert rich.retry_s is not None


def test_a_look_that_comes_late_refuses_nobody() -> None:
    core = Core()
    backlog = core.backlog()
    core.begun, core.now_s, core.arrivals.seen = 5_000, LOOK_S, 1
    backlog.look()
    core.now_s += LATE_S
    backlog.look()
    assert (backlog.waiting, core.completions.surplus) == (5_000, 0)
    core.now_s, core.arrivals.seen = core.now_s + LOOK_S, 2
    backlog.look()
    assert core.completions.surplus == 5_000 - LEAST_BACKLOG


async def test_every_end_of_a_call_is_counted(running: Running) -> None:
    """Whatever way calls end, the core has none under way behind them that the service has not."""
    ended: Counter[str] = Counter()
    for number in range(20):
        call = running.stub.Route(RouteRequest(prompt="hello"), timeout=0.0005 if number % 4 == 1 else 10)
        if number % 4 == 2:
            call.cancel()
        try:
            await call
            ended["OK"] += 1
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            ended["failed"] += 1
    for _ in range(5):
        stream = running.stub.RouteStream()
        await stream.write(RouteStreamRequest(request=RouteRequest(prompt="hello")))
        await stream.read()
        stream.cancel()
    for wrong in (running.raw("Nothing"), running.raw("Route")):
        try:
            await wrong(b"\xff")
        except grpc.aio.AioRpcError:
            ended["failed"] += 1
    assert ended["OK"] and ended["failed"]
    port = running.service.port
    async with asyncio.timeout(10):
        while True:
            begun, done = port.backlog._counts()
            in_service = port.admission.in_flight + port.completions.in_flight + port.backlog._arrivals.aside
            if begun >= 15 and begun - done - in_service == 0:
                break
            await asyncio.sleep(0.02)
