"""The Python client's calls: what is sent, what comes back, what is raised, and health."""

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import traceback
from collections.abc import Iterator
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
    DeadlineExceededError,
    Decision,
    ErrorReason,
    HealthStatus,
    InternalError,
    InvalidRequestError,
    NoCandidateError,
    OverloadedError,
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
    async with opener(fake.target, timeout_s=None) as client:
        # On a busy machine one may pass.
        with contextlib.suppress(DeadlineExceededError):
            await client.route("a")
        with contextlib.suppress(DeadlineExceededError):
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
                await client.route_or("small", "a" * 5000)
            with pytest.raises(InvalidRequestError) as by_client:
                await client.route_or("small", "a" * 9000)
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
        async with opener(fake.target) as client:
            assert (await client.route("a" * (4 << 20))).tokens_total == 4 << 20


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
    async with opener(free_target) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.route("a")
    assert caught.value.retry_after_s is None


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
    for name in names - {"route_stream", "complete_stream"}:
        sync, aio = (inspect.signature(vars(kind)[name]) for kind in (Client, AsyncClient))
        assert sync == aio, name
