"""Bounded admission: what is refused, how it is told, and that every place is given back."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import StatusCode
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteStreamRequest
from turnout_server.doors.admission import RETRY_AFTER_S, Admission
from turnout_server.doors.door import EOF
from turnout_server.doors.errors import NotServingError, OverloadedError
from turnout_server.settings import Settings

from tests.server.conftest import Running, started
from tests.server.rich_errors import RichError, decode, failure_of

ITEM = RouteStreamRequest(request=RouteRequest(prompt="hello"))


@pytest.fixture
async def narrow(settings: Settings, log: object) -> AsyncIterator[Running]:
    """A service with one place."""
    async with started(dataclasses.replace(settings, max_in_flight=1)) as running:
        yield running


def check_overloaded(rich: RichError) -> None:
    assert (rich.code, rich.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert rich.metadata == {"limit": "1"}
    assert rich.retry_s is not None
    assert RETRY_AFTER_S[0] <= rich.retry_s <= RETRY_AFTER_S[1]
    assert rich.pushback_ms == round(rich.retry_s * 1000)


async def test_beyond_the_limit_is_refused(narrow: Running) -> None:
    stream = narrow.stub.RouteStream()
    await stream.write(ITEM)
    await stream.read()
    assert narrow.service.port.admission.in_flight == 1
    check_overloaded(await failure_of(narrow.stub.Route(RouteRequest(prompt="a"))))
    check_overloaded(await failure_of(narrow.stub.RouteBatch(RouteBatchRequest())))
    second = narrow.stub.RouteStream()
    check_overloaded(await failure_of(second.read()))
    # What is refused is not even parsed.
    check_overloaded(await failure_of(narrow.raw("Route")(b"\xff")))
    await stream.done_writing()
    assert await stream.read() is EOF
    await until_idle(narrow)
    assert (await narrow.stub.Route(RouteRequest(prompt="a"))).tier


async def until_idle(running: Running) -> None:
    """Waits for the server's side of calls that have ended for the client."""
    async with asyncio.timeout(10):
        while running.service.port.admission.in_flight:
            await asyncio.sleep(0)


async def test_every_place_is_given_back(settings: Settings, log: object) -> None:
    async with started(dataclasses.replace(settings, max_in_flight=4)) as running:
        for _ in range(20):
            await running.stub.Route(RouteRequest(prompt="a"))
            await failure_of(running.stub.Route(RouteRequest()))
            await failure_of(running.raw("Route")(b"\xff"))
        for _ in range(20):
            # Cancelled before, while and after its message arrives.
            call = running.stub.Route(RouteRequest(prompt="a" * 100_000))
            await asyncio.sleep(0)
            call.cancel()
            stream = running.stub.RouteStream()
            await stream.write(ITEM)
            stream.cancel()
        await until_idle(running)
        for _ in range(8):
            await running.stub.Route(RouteRequest(prompt="a"))


async def test_a_burst_is_decided_or_shed_and_nothing_else(settings: Settings, log: object) -> None:
    async with started(dataclasses.replace(settings, max_in_flight=8)) as running:

        async def call() -> str:
            try:
                await running.stub.Route(RouteRequest(prompt="hello"))
            except grpc.aio.AioRpcError as error:
                return decode(error).reason
            return "decided"

        # More than the 1,000 that grpc's core queues by itself before it cancels calls without a word.
        outcomes = await asyncio.gather(*(call() for _ in range(1500)))
        assert set(outcomes) <= {"decided", "OVERLOADED"}
        assert outcomes.count("decided") >= 8
        await until_idle(running)
        sums = {(name, labels): values[0] for name, labels, values in running.service.metrics.sums().values}
        assert sums["turnout_coverage", ("shed",)] == outcomes.count("OVERLOADED")


async def test_before_the_warm_up_nothing_is_let_in(settings: Settings, log: object) -> None:
    async with started(settings, opened=False) as running:
        rich = await failure_of(running.stub.Route(RouteRequest(prompt="a")))
        assert (rich.code, rich.reason) == (StatusCode.UNAVAILABLE, "NOT_SERVING")
        assert rich.retry_s is not None
        await running.service.port.open()
        await running.stub.Route(RouteRequest(prompt="a"))


def test_refusals_come_back_at_different_times() -> None:
    admission = Admission(1, random.Random(1))
    assert isinstance(admission.refusal(), NotServingError)
    admission.is_open = True
    refusals = [admission.refusal() for _ in range(10)]
    assert all(isinstance(refusal, OverloadedError) for refusal in refusals)
    assert len({refusal.retry_after_s for refusal in refusals}) == 10
