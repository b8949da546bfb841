"""What the Python client does where the service fails: retries, and failing open."""

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from turnout import (
    DeadlineExceededError,
    Decision,
    DecisionStatus,
    ErrorReason,
    InvalidRequestError,
    NoCandidateError,
    Reason,
    ReasonKind,
    TurnoutError,
    UnavailableError,
    build_request,
)
from turnout.v1 import routing_pb2

from tests.clients.both_clients import Opener
from tests.clients.fake_routing import (
    FakeRouting,
    fail,
    full_response,
    serving,
    wait_until_cancelled,
)

StatusCode = grpc.StatusCode
# Deadlines travel rounded up, in the coarser units the longer they are.
ROUNDING = 1.01


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
        async with opener(fake.target) as client:
            assert (await client.route("a")).tier == "mid"
    attempts = [call.metadata.get("grpc-previous-rpc-attempts") for call in fake.calls]
    assert attempts == [None, "1", "2", "3"]


async def test_then_it_is_an_error(opener: Opener) -> None:
    with serving(_unavailable_until(99)) as fake:
        async with opener(fake.target) as client:
            with pytest.raises(UnavailableError) as caught:
                await client.route("a")
    assert caught.value.reason == ErrorReason.NOT_SERVING
    assert len(fake.calls) == 4


async def test_batches_are_retried_too(opener: Opener) -> None:
    with serving(_unavailable_until(2)) as fake:
        async with opener(fake.target) as client:
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
        async with opener(fake.target) as client:
            for _ in range(40):
                with pytest.raises(UnavailableError):
                    await client.route("a")
    # Of 100 tokens each failed attempt takes one, and half must be left for a retry.
    assert 50 <= len(fake.calls) < 90


async def test_route_or_returns_the_decision(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
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
        async with opener(fake.target, on_fail_open=told.append) as client:
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
        async with opener(fake.target, timeout_s=3600.0, route_or_timeout_s=0.05) as client:
            assert (await client.route_or("small", "a")).fell_back
            assert (await client.route_or("small", "a", timeout_s=0.1)).fell_back
            assert client.client.fail_open_count == {"DEADLINE_EXCEEDED": 2}
    assert all(call.remaining_s <= 0.1 * ROUNDING for call in fake.calls)


async def test_route_or_without_a_service(opener: Opener, free_target: str) -> None:
    async with opener(free_target) as client:
        assert (await client.route_or("small", "a")).tier == "small"
        assert client.client.fail_open_count == {"UNAVAILABLE": 1}


async def test_the_default_may_depend_on_the_error(opener: Opener, free_target: str) -> None:
    def default(error: TurnoutError) -> str:
        return "small" if isinstance(error, UnavailableError) else "frontier"

    async with opener(free_target) as client:
        assert (await client.route_or(default, "a")).tier == "small"


async def test_route_or_raises_the_callers_defects(opener: Opener) -> None:
    def on_route(_: routing_pb2.RouteRequest, context: Any) -> Any:
        context.abort(StatusCode.INVALID_ARGUMENT, "policy: no policy of that name")

    with serving(on_route) as fake:
        async with opener(fake.target) as client:
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

    async with opener(free_target, on_fail_open=broken) as client:
        assert (await client.route_or("small", "a")).fell_back
    assert "on_fail_open_failed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text
