"""The Python client's calls: what is sent, what comes back, deadlines, retries, streams, health, closing."""

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import socket
import subprocess
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2
from turnout import (
    AccessDeniedError,
    AsyncClient,
    CallCancelledError,
    Client,
    ClientClosedError,
    DeadlineExceededError,
    Decision,
    DecisionStatus,
    ErrorReason,
    HealthStatus,
    InternalError,
    InvalidRequestError,
    NoCandidateError,
    OverloadedError,
    Reason,
    ReasonKind,
    TlsConfig,
    TurnoutError,
    UnavailableError,
    __version__,
    build_request,
)
from turnout.v1 import routing_pb2

from tests.clients.both_clients import Opener
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
# Deadlines travel rounded up, in the coarser units the longer they are.
ROUNDING = 1.01


@pytest.fixture
def fake() -> Iterator[FakeRouting]:
    """A service that answers with `full_response`."""
    with serving(full_response) as fake:
        yield fake


@pytest.fixture
def free_target() -> Iterator[str]:
    """An address that refuses connections for as long as the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


# Decisions.


async def test_route_sends_the_request_and_returns_the_decision(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
        decision = await client.route("how?", tenant="acme", quality_bar=0.5)
    assert decision == Decision.from_response(full_response(routing_pb2.RouteRequest(prompt="how?")))
    assert not decision.fell_back
    assert fake.requests == [build_request("how?", tenant="acme", quality_bar=0.5)]


async def test_route_takes_messages_or_a_built_request(opener: Opener, fake: FakeRouting) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "how?"}]
    request = build_request(messages=messages)
    async with opener(fake.target) as client:
        await client.route(messages=messages)
        await client.route(request)
    assert fake.requests == [request, request]


async def test_a_request_that_cannot_be_built_is_not_sent(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.route()
    assert caught.value.reason == ErrorReason.PROMPT_REQUIRED
    assert caught.value.field == "prompt"
    assert not fake.calls


async def test_route_batch_keeps_order_and_mixes_decisions_with_errors(opener: Opener) -> None:
    def on_route(request: routing_pb2.RouteRequest, _: Any) -> routing_pb2.RouteResponse:
        if request.prompt == "nobody":
            raise ItemError(code=9, reason=8, message="no candidate")
        if request.prompt == "policy":
            raise ItemError(code=3, reason=4, message="no policy 'x'", field="policy")
        if request.prompt == "newer":
            raise ItemError(code=77, reason=99, message="a newer reason")
        return full_response(request)

    with serving(on_route) as fake:
        async with opener(fake.target) as client:
            results = await client.route_batch(["a", "nobody", build_request("b"), "policy", "newer"])
    assert [result.policy for result in (results[0], results[2])] == ["a", "b"]
    nobody, policy, newer = results[1], results[3], results[4]
    assert isinstance(nobody, NoCandidateError)
    assert nobody.code is StatusCode.FAILED_PRECONDITION
    assert nobody.message == "no candidate"
    assert isinstance(policy, InvalidRequestError)
    assert (policy.reason, policy.field) == (ErrorReason.UNKNOWN_POLICY, "policy")
    assert isinstance(newer, InternalError)
    assert (newer.code, newer.reason, newer.label) == (StatusCode.UNKNOWN, "UNKNOWN_99", "UNKNOWN_99")
    assert [call.method for call in fake.calls] == ["RouteBatch"]


async def test_an_empty_batch_makes_no_call(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
        assert await client.route_batch([]) == []
    assert not fake.calls


async def test_a_batch_of_too_few_results_is_an_error(opener: Opener, fake: FakeRouting) -> None:
    fake.on_batch = lambda *_: routing_pb2.RouteBatchResponse()
    async with opener(fake.target) as client:
        with pytest.raises(InternalError, match="0 results for 2 requests"):
            await client.route_batch(["a", "b"])


# What every call carries.


async def test_calls_carry_user_agent_and_token(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target, token="s3cret", user_agent="shop/2") as client:
        await client.route("a")
        await client.route_batch(["a"])
        await client.stream(["a"])
    assert [call.method for call in fake.calls] == ["Route", "RouteBatch", "RouteStream"]
    for call in fake.calls:
        assert call.metadata["authorization"] == "Bearer s3cret"
        assert str(call.metadata["user-agent"]).startswith(f"turnout-python/{__version__} shop/2 grpc-python")


async def test_every_call_has_a_deadline(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
        await client.route("a")
        await client.route_batch(["a"])
        await client.stream(["a"])
    limits = {"Route": 1.0, "RouteBatch": 5.0, "RouteStream": 3600.0}
    assert [call.method for call in fake.calls] == list(limits)
    for call in fake.calls:
        assert call.remaining_s <= limits[call.method] * ROUNDING


async def test_deadlines_can_be_longer_than_the_defaults(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target, timeout_s=50.0, route_or_timeout_s=70.0) as client:
        await client.route("a")
        await client.route_batch(["a"])
        await client.route("a", timeout_s=60.0)
        await client.route_or("small", "a")
    remaining_s = [call.remaining_s for call in fake.calls]
    for given, limit_s in zip(remaining_s, [50.0, 50.0, 60.0, 70.0], strict=True):
        assert limit_s - PATIENCE_S < given <= limit_s * ROUNDING


async def test_a_passed_deadline_is_an_error_and_cancels_the_call(opener: Opener) -> None:
    gone = threading.Event()

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        wait_until_cancelled(context)
        gone.set()
        return full_response(request)

    with serving(on_route) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(DeadlineExceededError) as caught:
                await client.route("a", timeout_s=0.2)
        assert await asyncio.to_thread(gone.wait, PATIENCE_S)
    assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
    assert caught.value.label == "DEADLINE_EXCEEDED"


async def test_a_pool_has_as_many_connections_as_it_is_told(opener: Opener, fake: FakeRouting) -> None:
    fake.health.set("", health_pb2.HealthCheckResponse.SERVING)
    async with opener(fake.target, connections=3) as client:
        assert await client.check_health() is HealthStatus.SERVING
        for _ in range(9):
            await client.route("a")
        peers = [call.peer for call in fake.calls]
    assert len(set(peers)) == 3
    assert peers[:3] * 3 == peers


async def test_a_message_beyond_the_limit_is_the_callers_defect(opener: Opener) -> None:
    with serving(full_response, options=(("grpc.max_receive_message_length", 4096),)) as fake:
        async with opener(fake.target, options=[("grpc.max_send_message_length", 8192)]) as client:
            with pytest.raises(InvalidRequestError) as by_server:
                await client.route_or("small", "a" * 5000, timeout_s=PATIENCE_S)
            with pytest.raises(InvalidRequestError) as by_client:
                await client.route_or("small", "a" * 9000, timeout_s=PATIENCE_S)
    assert by_server.value.limit == "4096 bytes"
    assert by_client.value.limit == "8192 bytes"
    assert by_client.value.value == "9003 bytes"


async def test_a_response_beyond_the_limit_is_not(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target, options=[("grpc.max_receive_message_length", 64)]) as client:
        with pytest.raises(TurnoutError) as caught:
            await client.route("a")
    assert type(caught.value) is TurnoutError
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


async def test_a_prompt_of_4_mib_passes_and_is_retried(opener: Opener) -> None:
    left = [1]

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        if left:
            left.pop()
            fail(context, StatusCode.UNAVAILABLE)
        return routing_pb2.RouteResponse(tokens_total=len(request.prompt))

    with serving(on_route, options=(("grpc.max_receive_message_length", 16 << 20),)) as fake:
        async with opener(fake.target, timeout_s=PATIENCE_S) as client:
            assert (await client.route("a" * (4 << 20))).tokens_total == 4 << 20


# Errors.


async def test_what_lies_on_the_wire_raises_its_class(opener: Opener) -> None:
    info = ErrorInfo(domain="turnout.v1", reason="OVERLOADED", metadata={"limit": "1024"})
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)

    def on_route(_: routing_pb2.RouteRequest, context: Any) -> Any:
        fail(context, StatusCode.RESOURCE_EXHAUSTED, info, retry, message="at the limit")

    with serving(on_route) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(OverloadedError) as caught:
                await client.route("a")
    error = caught.value
    assert (error.code, error.reason) == (StatusCode.RESOURCE_EXHAUSTED, ErrorReason.OVERLOADED)
    assert (error.retry_after_s, error.metadata, error.message) == (1.5, {"limit": "1024"}, "at the limit")
    assert str(error) == "RESOURCE_EXHAUSTED (OVERLOADED): at the limit"
    assert isinstance(error.__cause__, grpc.RpcError)
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.INVALID_ARGUMENT, InvalidRequestError),
        (StatusCode.FAILED_PRECONDITION, TurnoutError),
        (StatusCode.RESOURCE_EXHAUSTED, OverloadedError),
        (StatusCode.UNAVAILABLE, UnavailableError),
        (StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
        (StatusCode.CANCELLED, CallCancelledError),
        (StatusCode.UNAUTHENTICATED, AccessDeniedError),
        (StatusCode.PERMISSION_DENIED, AccessDeniedError),
        (StatusCode.UNIMPLEMENTED, TurnoutError),
        (StatusCode.INTERNAL, InternalError),
        (StatusCode.UNKNOWN, InternalError),
        (StatusCode.DATA_LOSS, InternalError),
    ],
)
async def test_without_details_the_code_alone_counts(
    opener: Opener, code: StatusCode, kind: type[TurnoutError]
) -> None:
    def on_route(_: routing_pb2.RouteRequest, context: Any) -> Any:
        context.set_trailing_metadata((("grpc-retry-pushback-ms", "-1"),))
        context.abort(code, "a proxy's words")

    with serving(on_route) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(TurnoutError) as caught:
                await client.route("a")
    assert type(caught.value) is kind
    assert caught.value.code is code
    assert caught.value.reason == ErrorReason.UNSPECIFIED
    assert caught.value.label == code.name
    assert str(caught.value) == f"{code.name}: a proxy's words"


async def test_a_service_that_is_not_there_is_unavailable(opener: Opener, free_target: str) -> None:
    async with opener(free_target, timeout_s=PATIENCE_S) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.route("a")
    assert caught.value.retry_after_s is None


# Retries.


def _unavailable_until(
    attempt: int, *trailers: tuple[str, str], code: StatusCode = StatusCode.UNAVAILABLE
) -> Any:
    """A handler that fails all attempts before that one, counted from 1."""
    count = [0]

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        count[0] += 1
        if count[0] < attempt:
            info = ErrorInfo(domain="turnout.v1", reason="NOT_SERVING")
            fail(context, code, info, trailers=trailers)
        return full_response(request)

    return on_route


async def test_unavailable_is_retried_three_times(opener: Opener) -> None:
    with serving(_unavailable_until(4)) as fake:
        async with opener(fake.target, timeout_s=PATIENCE_S) as client:
            assert (await client.route("a")).tier == "mid"
    attempts = [call.metadata.get("grpc-previous-rpc-attempts") for call in fake.calls]
    assert attempts == [None, "1", "2", "3"]


async def test_then_it_is_an_error(opener: Opener) -> None:
    with serving(_unavailable_until(99)) as fake:
        async with opener(fake.target, timeout_s=PATIENCE_S) as client:
            with pytest.raises(UnavailableError) as caught:
                await client.route("a")
    assert caught.value.reason == ErrorReason.NOT_SERVING
    assert len(fake.calls) == 4


async def test_batches_are_retried_too(opener: Opener) -> None:
    with serving(_unavailable_until(2)) as fake:
        async with opener(fake.target, timeout_s=PATIENCE_S) as client:
            assert len(await client.route_batch(["a"])) == 1
    assert len(fake.calls) == 2


async def test_streams_are_not(opener: Opener) -> None:
    with serving(_unavailable_until(99)) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(UnavailableError):
                await client.stream(["a"])
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    "code", [StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL, StatusCode.ABORTED, StatusCode.UNKNOWN]
)
async def test_nothing_else_is_retried(opener: Opener, code: StatusCode) -> None:
    with serving(_unavailable_until(99, code=code)) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(TurnoutError):
                await client.route("a")
    assert len(fake.calls) == 1


async def test_a_negative_pushback_ends_the_retries(opener: Opener) -> None:
    with serving(_unavailable_until(99, ("grpc-retry-pushback-ms", "-1"))) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(UnavailableError):
                await client.route("a")
    assert len(fake.calls) == 1


async def test_a_pushback_beyond_the_deadline_leaves_no_retry(opener: Opener) -> None:
    with serving(_unavailable_until(2, ("grpc-retry-pushback-ms", "60000"))) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(DeadlineExceededError):
                await client.route("a", timeout_s=0.2)
    assert len(fake.calls) == 1


async def test_throttling_ends_the_retries_of_a_service_that_stays_away(opener: Opener) -> None:
    # A short pushback; with one of 0, gRPC waits until the deadline.
    with serving(_unavailable_until(10_000, ("grpc-retry-pushback-ms", "10"))) as fake:
        async with opener(fake.target, timeout_s=PATIENCE_S) as client:
            for _ in range(40):
                with pytest.raises(UnavailableError):
                    await client.route("a")
    # Of 100 tokens each failed attempt takes one, and half must be left for a retry.
    assert 50 <= len(fake.calls) < 90


# Failing open.


async def test_route_or_returns_the_decision(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target, route_or_timeout_s=PATIENCE_S) as client:
        decision = await client.route_or("frontier", "a", tenant="acme")
        assert not client.client.fail_open_count
    assert (decision.tier, decision.fell_back) == ("mid", False)
    assert fake.requests == [build_request("a", tenant="acme")]


async def test_route_or_falls_back_and_counts_by_reason(opener: Opener) -> None:
    told: list[TurnoutError] = []

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> Any:
        if request.prompt == "no candidate":
            info = ErrorInfo(domain="turnout.v1", reason="NO_CANDIDATE", metadata={"constraint": "region"})
            fail(context, StatusCode.FAILED_PRECONDITION, info)
        context.abort(getattr(StatusCode, request.prompt), "a proxy's words")

    with serving(on_route) as fake:
        async with opener(fake.target, on_fail_open=told.append, route_or_timeout_s=PATIENCE_S) as client:
            decision = await client.route_or("frontier", "no candidate")
            await client.route_or("frontier", "INTERNAL")
            await client.route_or("frontier", "INTERNAL")
            counts = client.client.fail_open_count
    assert decision == Decision(
        tier="frontier",
        status=DecisionStatus.DEFAULTED,
        reasons=(Reason(ReasonKind.DEFAULT, "NO_CANDIDATE"),),
        fell_back=True,
    )
    assert counts == {"NO_CANDIDATE": 1, "INTERNAL": 2}
    assert counts.total() == 3
    assert [error.label for error in told] == ["NO_CANDIDATE", "INTERNAL", "INTERNAL"]
    assert isinstance(told[0], NoCandidateError)
    assert told[0].constraint == "region"


async def test_route_or_has_a_deadline_of_its_own(opener: Opener) -> None:
    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        wait_until_cancelled(context)
        return full_response(request)

    with serving(on_route) as fake:
        async with opener(fake.target, timeout_s=3600.0) as client:
            assert (await client.route_or("small", "a")).fell_back
            assert (await client.route_or("small", "a", timeout_s=0.1)).fell_back
            assert client.client.fail_open_count == {"DEADLINE_EXCEEDED": 2}
    assert all(call.remaining_s <= 0.1 * ROUNDING for call in fake.calls)


async def test_route_or_without_a_service(opener: Opener, free_target: str) -> None:
    async with opener(free_target, route_or_timeout_s=PATIENCE_S) as client:
        assert (await client.route_or("small", "a")).tier == "small"
        assert client.client.fail_open_count == {"UNAVAILABLE": 1}


async def test_the_default_may_depend_on_the_error(opener: Opener, free_target: str) -> None:
    def default(error: TurnoutError) -> str:
        return "small" if isinstance(error, UnavailableError) else "frontier"

    async with opener(free_target, route_or_timeout_s=PATIENCE_S) as client:
        assert (await client.route_or(default, "a")).tier == "small"


async def test_route_or_raises_the_callers_defects(opener: Opener) -> None:
    def on_route(_: routing_pb2.RouteRequest, context: Any) -> Any:
        context.abort(StatusCode.INVALID_ARGUMENT, "policy: no policy of that name")

    with serving(on_route) as fake:
        async with opener(fake.target, route_or_timeout_s=PATIENCE_S) as client:
            with pytest.raises(InvalidRequestError):
                await client.route_or("small", "a", policy="none")
            with pytest.raises(InvalidRequestError):
                await client.route_or("small")
            with pytest.raises(TypeError, match="tennant"):
                await client.route_or("small", "a", tennant="acme")
            assert not client.client.fail_open_count


async def test_a_broken_callback_does_not_close_what_is_open(
    opener: Opener, free_target: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: TurnoutError) -> None:
        raise RuntimeError("with a secret")

    async with opener(free_target, on_fail_open=broken, route_or_timeout_s=PATIENCE_S) as client:
        assert (await client.route_or("small", "a")).fell_back
    assert "on_fail_open_failed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


# Streams.


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
    async with opener(fake.target, timeout_s=PATIENCE_S) as client:
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
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_async_iterable_is_streamed_as_it_comes(fake: FakeRouting) -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def requests() -> AsyncIterator[str]:
        while (prompt := await asked.get()) != "end":
            yield prompt

    async with AsyncClient(fake.target) as client:
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
    async with AsyncClient(fake.target) as client:
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


# Health.


async def test_check_health_says_what_the_server_says(opener: Opener, fake: FakeRouting) -> None:
    service = "turnout.v1.RoutingService"
    async with opener(fake.target) as client:
        fake.health.set("", health_pb2.HealthCheckResponse.SERVING)
        fake.health.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert await client.check_health() is HealthStatus.SERVING
        assert await client.check_health(service) is HealthStatus.NOT_SERVING
        assert await client.check_health("another.Service") is HealthStatus.SERVICE_UNKNOWN


async def test_check_health_without_a_server(opener: Opener, free_target: str) -> None:
    async with opener(free_target) as client:
        with pytest.raises(UnavailableError):
            await client.check_health()


# Closing.


async def test_a_closed_client_is_refused(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
        await client.route("a")
        await client.close()
        await client.close()
        for call in (
            lambda: client.route("a"),
            lambda: client.route_or("small", "a"),
            lambda: client.route_batch(["a"]),
            lambda: client.stream(["a"]),
            client.check_health,
        ):
            with pytest.raises(ClientClosedError):
                await call()


async def test_closing_ends_calls_in_flight(opener: Opener) -> None:
    arrived = threading.Semaphore(0)

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        arrived.release()
        wait_until_cancelled(context)
        return full_response(request)

    with serving(on_route) as fake:
        async with opener(fake.target, timeout_s=3600.0) as client:
            calls = [asyncio.create_task(client.route("a")), asyncio.create_task(client.stream(["a"]))]
            for _ in calls:
                assert await asyncio.to_thread(arrived.acquire, timeout=PATIENCE_S)
            await client.close()
            ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [CallCancelledError] * 2


async def test_cancelling_the_task_cancels_the_call() -> None:
    arrived, gone = threading.Event(), threading.Event()

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        arrived.set()
        wait_until_cancelled(context)
        gone.set()
        return full_response(request)

    with serving(on_route) as fake:
        async with AsyncClient(fake.target) as client:
            call = asyncio.create_task(client.route("a", timeout_s=3600.0))
            assert await asyncio.to_thread(arrived.wait, PATIENCE_S)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(gone.wait, PATIENCE_S)


def _sockets() -> int:
    links = Path("/proc/self/fd").iterdir()
    count = 0
    for link in links:
        with contextlib.suppress(FileNotFoundError):
            count += str(link.readlink()).startswith("socket:")
    return count


async def test_200_clients_leave_nothing_behind(opener: Opener, fake: FakeRouting) -> None:
    async def use(times: int) -> None:
        for _ in range(times):
            async with opener(fake.target, connections=2) as client:
                await client.route("a")
                await client.stream(["a"], most=1)

    def own_threads() -> set[str]:
        # The service's and the event loop's pools grow as they like, up to their limits; grpcio has one poller,
        # which comes and goes with the first and the last of its asyncio objects.
        names = [thread.name for thread in threading.enumerate()]
        assert sum("_poll_wrapper" in name for name in names) <= 1
        return {name for name in names if not name.startswith(("fake", "asyncio")) and "_poll_w" not in name}

    # What grpcio keeps for the process, it makes at the first use.
    await use(2)
    threads, sockets = own_threads(), _sockets()
    await use(200)
    # gRPC tidies up behind the caller's back and tells no one.
    for _ in range(300):
        left = (_sockets() - sockets, own_threads() - threads, asyncio.all_tasks() - {asyncio.current_task()})
        if left[0] <= 0 and not left[1] and not left[2]:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"left behind: {left}")


# Ways to connect.


async def test_tls_and_mutual_tls(opener: Opener, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", "/CN=router.test", "-addext", "subjectAltName=DNS:router.test",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command")
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], pair[1], True)
    with serving(full_response, credentials=credentials) as fake:
        tls = TlsConfig(
            root_certificates=pair[1],
            private_key=pair[0],
            certificate_chain=pair[1],
            server_name="router.test",
        )
        assert "PRIVATE" not in repr(tls)
        async with opener(fake.target, tls=tls, token="s3cret", timeout_s=PATIENCE_S) as client:
            assert (await client.route("a")).tier == "mid"
        assert fake.calls[0].metadata["authorization"] == "Bearer s3cret"
        strangers = TlsConfig(root_certificates=pair[1], server_name="router.test")
        async with opener(fake.target, tls=strangers) as client:
            with pytest.raises(UnavailableError):
                await client.route("a")


async def test_credentials_of_grpcs_own(opener: Opener) -> None:
    with serving(full_response, credentials=grpc.local_server_credentials()) as fake:
        async with opener(fake.target, credentials=grpc.local_channel_credentials()) as client:
            assert (await client.route("a")).tier == "mid"


def test_a_callers_channel_stays_open(fake: FakeRouting) -> None:
    with grpc.insecure_channel(fake.target) as channel:
        with Client(channel=channel) as client:
            client.route("a")
        with Client(channel=channel) as client:
            client.route("b")
    assert [request.prompt for request in fake.requests] == ["a", "b"]


async def test_a_callers_asyncio_channel_stays_open(fake: FakeRouting) -> None:
    async with grpc.aio.insecure_channel(fake.target) as channel:
        async with AsyncClient(channel=channel) as client:
            await client.route("a")
        async with AsyncClient(channel=channel) as client:
            await client.route("b")
    assert [request.prompt for request in fake.requests] == ["a", "b"]


async def test_an_async_client_may_be_made_where_no_loop_runs(fake: FakeRouting) -> None:
    client = await asyncio.to_thread(AsyncClient, fake.target)
    assert (await client.route("a")).tier == "mid"
    with pytest.raises(RuntimeError, match="the event loop of its first call"):
        await asyncio.to_thread(asyncio.run, client.route("a"))
    await client.close()


def test_threads_share_a_client(fake: FakeRouting) -> None:
    found: list[str] = []
    with ExitStack() as stack:
        client = stack.enter_context(Client(fake.target, connections=2, timeout_s=PATIENCE_S))

        def use(name: str) -> None:
            found.extend(client.route(f"{name}{i}").policy for i in range(20))

        threads = [threading.Thread(target=use, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == sorted(f"{name}{i}" for name in "abcd" for i in range(20))


# What is never said.


async def test_prompts_are_never_logged_nor_in_errors(
    opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "xyzzy-4711"

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        if "fail" in request.prompt:
            context.abort(StatusCode.INTERNAL, "a failure")
        return routing_pb2.RouteResponse(tier="mid")

    def requests() -> Iterator[str]:
        yield secret
        raise LookupError("the caller's own")

    said: list[str] = []
    caplog.set_level(logging.DEBUG)
    with serving(on_route) as fake:
        async with opener(fake.target, token=secret) as client:
            await client.route(secret)
            with pytest.raises(LookupError):
                await client.stream(requests())
            for call in (
                client.route(f"fail {secret}"),
                client.route_or("small", messages=[{"role": secret}]),
                client.route(messages=[{"role": "user", "content": [{"type": "text", "text": [secret]}]}]),
            ):
                with pytest.raises(TurnoutError) as caught:
                    await call
                said.extend([repr(caught.value), *traceback.format_exception(caught.value)])
            said.append(repr(client.client))
    assert secret not in caplog.text
    assert secret not in "".join(said)


def test_both_clients_have_the_same_methods() -> None:
    names = {name for name in vars(Client) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncClient) if not name.startswith("_")}
    for name in names - {"route_stream"}:
        sync, aio = (inspect.signature(vars(kind)[name]) for kind in (Client, AsyncClient))
        assert sync == aio, name
