"""The Python client's streams: order, cancelling, and how they end."""

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from turnout import (
    AsyncClient,
    DeadlineExceededError,
    Decision,
    ErrorReason,
    InternalError,
    TurnoutError,
    UnavailableError,
)
from turnout.v1 import routing_pb2

from tests.clients.both_clients import PATIENT, Opener
from tests.clients.fake_routing import (
    PATIENCE_S,
    FakeRouting,
    ItemError,
    fail,
    full_response,
    serving,
    wait_until_cancelled,
)

StatusCode = grpc.StatusCode


async def test_a_stream_keeps_order_and_mixes_decisions_with_errors(opener: Opener) -> None:
    def on_route(request: routing_pb2.RouteRequest, _: Any) -> routing_pb2.RouteResponse:
        if request.prompt == "7":
            raise ItemError(code=4, reason=10, message="too late")
        return full_response(request)

    with serving(on_route) as fake:
        async with opener(fake.target) as client:
            results = await client.stream(str(i) for i in range(100))
    assert isinstance(results[7], DeadlineExceededError)
    del results[7]
    assert [result.policy for result in results] == [str(i) for i in range(100) if i != 7]


async def test_an_empty_stream_ends(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
        assert await client.stream([]) == []


async def test_a_result_of_a_kind_unknown_stands_in_its_place(opener: Opener, fake: FakeRouting) -> None:
    newer = routing_pb2.RouteResult.FromString(b"\x1a\x00")
    fake.on_stream = lambda requests, _: (routing_pb2.RouteStreamResponse(result=newer) for _ in requests)
    async with opener(fake.target) as client:
        [result] = await client.stream(["a"])
    assert isinstance(result, TurnoutError)
    assert result.code is StatusCode.UNKNOWN


async def test_closing_a_stream_cancels_it(opener: Opener, fake: FakeRouting) -> None:
    gone = threading.Event()

    def on_stream(requests: Iterator[Any], context: Any) -> Iterator[routing_pb2.RouteStreamResponse]:
        if not context.add_callback(gone.set):
            gone.set()
        for message in requests:
            response = routing_pb2.RouteResult(response=full_response(message.request))
            yield routing_pb2.RouteStreamResponse(result=response)

    fake.on_stream = on_stream
    more = iter(int, 1)
    async with opener(fake.target) as client:
        results = await client.stream((str(n) for n in more), most=3)
        assert len(results) == 3
        assert await asyncio.to_thread(gone.wait, PATIENCE_S)


async def test_a_stream_that_fails_raises_after_what_came(opener: Opener, fake: FakeRouting) -> None:
    def on_stream(requests: Iterator[Any], context: Any) -> Iterator[routing_pb2.RouteStreamResponse]:
        response = routing_pb2.RouteResult(response=full_response(next(requests).request))
        yield routing_pb2.RouteStreamResponse(result=response)
        info = ErrorInfo(domain="turnout.v1", reason="INTERNAL", metadata={"incident": "abc"})
        fail(context, StatusCode.INTERNAL, info)

    fake.on_stream = on_stream
    found: list[Decision] = []
    async with opener(fake.target) as client:
        with pytest.raises(InternalError) as caught:
            await client.stream(["a", "b"], found)
    assert [result.policy for result in found] == ["a"]
    assert caught.value.incident == "abc"


async def test_a_service_that_ends_a_stream_early_tells_why(opener: Opener, fake: FakeRouting) -> None:
    def on_stream(requests: Iterator[Any], context: Any) -> Iterator[routing_pb2.RouteStreamResponse]:
        for _ in range(3):
            response = routing_pb2.RouteResult(response=full_response(next(requests).request))
            yield routing_pb2.RouteStreamResponse(result=response)
        info = ErrorInfo(domain="turnout.v1", reason="NOT_SERVING")
        fail(context, StatusCode.UNAVAILABLE, info)

    fake.on_stream = on_stream
    async with opener(fake.target) as client:
        for _ in range(50):
            found: list[Decision] = []
            with pytest.raises(UnavailableError) as caught:
                # So many that the service's end always meets the client while it sends.
                await client.stream((str(n) for n in range(100_000)), found)
            assert caught.value.reason == ErrorReason.NOT_SERVING
            assert [result.policy for result in found] == ["0", "1", "2"]


async def test_what_the_callers_iterable_raises_comes_after_the_results(
    opener: Opener, fake: FakeRouting, caplog: pytest.LogCaptureFixture
) -> None:
    def requests() -> Iterator[str]:
        yield "a"
        yield "b"
        raise LookupError("the caller's own")

    found: list[Decision] = []
    async with opener(fake.target) as client:
        with pytest.raises(LookupError, match="the caller's own"):
            await client.stream(requests(), found)
    assert [result.policy for result in found] == ["a", "b"]
    # grpcio would log the caller's own exception.
    ours = [record for record in caplog.records if record.name.startswith(("grpc", "turnout"))]
    assert not [record for record in ours if record.levelno >= logging.WARNING]


async def test_an_async_iterable_is_streamed_as_it_comes(fake: FakeRouting) -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def requests() -> AsyncIterator[str]:
        while (prompt := await asked.get()) != "end":
            yield prompt

    async with AsyncClient(fake.target, **PATIENT) as client:
        results = client.route_stream(requests())
        for prompt in ["a", "b"]:
            asked.put_nowait(prompt)
            result = await anext(results)
            assert isinstance(result, Decision)
            assert result.policy == prompt
        asked.put_nowait("end")
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_no_task_waits_for_requests_of_a_stream_that_has_ended(fake: FakeRouting) -> None:
    def on_stream(_: Iterator[Any], context: Any) -> Iterator[routing_pb2.RouteStreamResponse]:
        context.abort(StatusCode.INTERNAL, "at once")
        yield routing_pb2.RouteStreamResponse()

    async def requests() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    fake.on_stream = on_stream
    async with AsyncClient(fake.target, **PATIENT) as client:
        with pytest.raises(InternalError):
            await anext(client.route_stream(requests()))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_has_the_deadline_it_is_given(opener: Opener, fake: FakeRouting) -> None:
    def on_stream(_: Iterator[Any], context: Any) -> Iterator[routing_pb2.RouteStreamResponse]:
        wait_until_cancelled(context)
        yield routing_pb2.RouteStreamResponse()

    fake.on_stream = on_stream
    async with opener(fake.target) as client:
        with pytest.raises(DeadlineExceededError):
            await client.stream(["a"], timeout_s=0.2)
