"""A service that answers as a request's `policy` says: it fails, delays, pushes back, and speaks as a newer version would."""

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc import StatusCode
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from turnout.v1 import chat_pb2, completion_pb2, completion_pb2_grpc, routing_pb2, routing_pb2_grpc

from tests.clients.fake_routing import PATIENCE_S, fail, full_response, wait_until_cancelled
from tests.conformance.seen import Ledger
from tests.conformance.table import CASE_LABEL

# Field 1000, which no version has: a varint, and a message's worth of bytes.
_UNKNOWN_FIELDS = bytes.fromhex("c03e2a c23e036e6577")
_UNKNOWN_ENUM = 99
_BIG_RESPONSE_REASONS = 60_000

_Script = Callable[[routing_pb2.RouteRequest, Any, int], routing_pb2.RouteResponse]


def _info(reason: str, **metadata: str) -> ErrorInfo:
    return ErrorInfo(domain="turnout.v1", reason=reason, metadata=metadata)


def _failing(
    code: StatusCode,
    *details: Any,
    times: int = 1_000_000,
    trailers: tuple[tuple[str, str | bytes], ...] = (),
) -> _Script:
    """Fails the first so many attempts of a case."""

    def script(request: routing_pb2.RouteRequest, context: Any, attempt: int) -> routing_pb2.RouteResponse:
        if attempt <= times:
            fail(context, code, *details, trailers=trailers)
        return full_response(request)

    return script


def _plainly_failing(code: StatusCode, *trailers: tuple[str, str | bytes]) -> _Script:
    """Without google.rpc.Status, as a proxy would, or with what is none."""

    def script(request: routing_pb2.RouteRequest, context: Any, attempt: int) -> routing_pb2.RouteResponse:
        context.set_trailing_metadata(trailers)
        context.abort(code, "for people")
        raise AssertionError

    return script


def _slow(request: routing_pb2.RouteRequest, context: Any, attempt: int) -> routing_pb2.RouteResponse:
    wait_until_cancelled(context)
    return routing_pb2.RouteResponse()


def _newer(request: routing_pb2.RouteRequest, context: Any, attempt: int) -> routing_pb2.RouteResponse:
    response = full_response(request)
    # Open enums take any number.
    response.status = response.strategy = response.task = _UNKNOWN_ENUM  # type: ignore[assignment]
    response.reasons[0].kind = _UNKNOWN_ENUM  # type: ignore[assignment]
    response.candidates[0].MergeFromString(_UNKNOWN_FIELDS)
    return routing_pb2.RouteResponse.FromString(response.SerializeToString() + _UNKNOWN_FIELDS)


def _full(request: routing_pb2.RouteRequest, context: Any, attempt: int) -> routing_pb2.RouteResponse:
    return full_response(request)


def _big(request: routing_pb2.RouteRequest, context: Any, attempt: int) -> routing_pb2.RouteResponse:
    """More than gRPC's own limit of 4 MiB."""
    response = full_response(request)
    reason = routing_pb2.Reason(kind=routing_pb2.REASON_KIND_RULE, id="x" * 100)
    response.reasons.extend([reason] * _BIG_RESPONSE_REASONS)
    return response


_RETRY = RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
_UNKNOWN_DETAIL = AnyMessage(type_url="type.googleapis.com/of.the.Future", value=b"\x0a\x01x")

SCRIPTS: dict[str, _Script] = {
    "full": _full,
    "newer": _newer,
    "big": _big,
    "slow": _slow,
    "unavailable-once": _failing(StatusCode.UNAVAILABLE, _info("NOT_SERVING"), times=1),
    "unavailable-thrice": _failing(StatusCode.UNAVAILABLE, _info("NOT_SERVING"), times=3),
    "unavailable": _failing(StatusCode.UNAVAILABLE, _info("NOT_SERVING"), _RETRY),
    "stay-away": _failing(
        StatusCode.UNAVAILABLE, _info("NOT_SERVING"), trailers=(("grpc-retry-pushback-ms", "-1"),)
    ),
    "come-back": _failing(
        StatusCode.UNAVAILABLE, _info("NOT_SERVING"), times=1, trailers=(("grpc-retry-pushback-ms", "30"),)
    ),
    "overloaded": _failing(StatusCode.RESOURCE_EXHAUSTED, _info("OVERLOADED", limit="8"), _RETRY),
    "budget": _failing(
        StatusCode.RESOURCE_EXHAUSTED, _info("BUDGET_EXHAUSTED", budget="tenant acme", left="0"), _RETRY
    ),
    "invalid": _failing(
        StatusCode.INVALID_ARGUMENT,
        BadRequest(field_violations=[BadRequest.FieldViolation(field="messages[3].role")]),
        _info("INVALID_FIELD", field="messages[3].role", value="9", limit="0 to 5"),
    ),
    "no-candidate": _failing(StatusCode.FAILED_PRECONDITION, _info("NO_CANDIDATE", constraint="region")),
    "internal": _failing(StatusCode.INTERNAL, _info("INTERNAL", incident="a1b2")),
    "denied": _failing(StatusCode.PERMISSION_DENIED),
    "unauthenticated": _failing(StatusCode.UNAUTHENTICATED),
    "newer-error": _failing(
        StatusCode.FAILED_PRECONDITION, _info("FROM_THE_FUTURE", key="value"), _UNKNOWN_DETAIL
    ),
    "other-domain": _failing(
        StatusCode.INVALID_ARGUMENT, ErrorInfo(domain="example.com", reason="UNKNOWN_TIER")
    ),
    "plain": _plainly_failing(StatusCode.RESOURCE_EXHAUSTED),
    "garbled-details": _plainly_failing(
        StatusCode.FAILED_PRECONDITION, ("grpc-status-details-bin", b"\xff\xff\xff")
    ),
    "aborted": _failing(StatusCode.ABORTED),
}


class ScriptedRouting(routing_pb2_grpc.RoutingServiceServicer):
    """RoutingService by script."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def Route(self, request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        """See the class."""
        attempt = note(self._ledger, request.caller.labels[CASE_LABEL], context)
        return SCRIPTS[request.policy](request, context, attempt)

    def RouteBatch(
        self, request: routing_pb2.RouteBatchRequest, context: Any
    ) -> routing_pb2.RouteBatchResponse:
        """The first request's script decides over the call; each item is answered by `item`."""
        attempt = note(self._ledger, request.requests[0].caller.labels[CASE_LABEL], context)
        SCRIPTS[request.requests[0].policy](request.requests[0], context, attempt)
        return routing_pb2.RouteBatchResponse(results=[item(one) for one in request.requests])

    def RouteStream(self, request_iterator: Any, context: Any) -> Iterator[routing_pb2.RouteStreamResponse]:
        """As RouteBatch; `endless` answers without an end."""
        for at, message in enumerate(request_iterator):
            request = message.request
            if at == 0:
                attempt = note(self._ledger, request.caller.labels[CASE_LABEL], context)
                SCRIPTS.get(request.policy, _full)(request, context, attempt)
            while request.policy == "endless" and context.is_active():
                yield routing_pb2.RouteStreamResponse(result=item(request))
            yield routing_pb2.RouteStreamResponse(correlation_id=message.correlation_id, result=item(request))


def item(request: routing_pb2.RouteRequest) -> routing_pb2.RouteResult:
    """What one item of a batch or stream gets: what its prompt names."""
    match request.prompt:
        case "unknown-tier":
            error = routing_pb2.RouteError(
                code=3,
                reason=5,  # type: ignore[arg-type]
                message="for people",
                field="constraints.min_tier",
            )
        case "newer-error":
            error = routing_pb2.RouteError(code=9, reason=_UNKNOWN_ENUM, message="for people")  # type: ignore[arg-type]
        case _:
            return routing_pb2.RouteResult(response=full_response(request))
    return routing_pb2.RouteResult(error=error)


def note(ledger: Ledger, case: str, context: Any) -> int:
    """Keeps what was seen of a call, and of its end."""
    metadata = {item.key: item.value for item in context.invocation_metadata()}
    attempt = ledger.note_call(case, context.time_remaining() or 0.0, str(metadata.get("user-agent", "")))

    def ended() -> None:
        if context.code() is None and not finished.is_set():
            ledger.note_cancelled(case)

    finished = threading.Event()
    context.finished = finished
    context.add_callback(ended)
    return attempt


def _started() -> completion_pb2.CompleteStreamResponse:
    return completion_pb2.CompleteStreamResponse(
        started=completion_pb2.CompleteStarted(
            decision=full_response(routing_pb2.RouteRequest(prompt="p")), strategy=routing_pb2.STRATEGY_SINGLE
        )
    )


def _text(text: str) -> completion_pb2.CompleteStreamResponse:
    return completion_pb2.CompleteStreamResponse(text=completion_pb2.TextDelta(text=text))


def _answer(text: str) -> completion_pb2.CompleteResponse:
    return completion_pb2.CompleteResponse(
        message=chat_pb2.ChatMessage(role=chat_pb2.ROLE_ASSISTANT, content=text),
        finish_reason=completion_pb2.FINISH_REASON_STOP,
        tier="mid",
        deployment="mid-a",
        cost=completion_pb2.Cost(nano_usd=9_007_199_254_740_993, complete=True),
        decision=full_response(routing_pb2.RouteRequest(prompt="p")),
    )


class ScriptedCompletion(completion_pb2_grpc.CompletionServiceServicer):
    """CompletionService by script; what it does not know is as in RoutingService."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def Complete(
        self, request: completion_pb2.CompleteRequest, context: Any
    ) -> completion_pb2.CompleteResponse:
        """See the class."""
        attempt = note(self._ledger, request.caller.labels[CASE_LABEL], context)
        if request.policy == "newer":
            answer = _answer("whole")
            answer.finish_reason = _UNKNOWN_ENUM  # type: ignore[assignment]
            return completion_pb2.CompleteResponse.FromString(answer.SerializeToString() + _UNKNOWN_FIELDS)
        SCRIPTS[request.policy](routing_pb2.RouteRequest(prompt="p"), context, attempt)
        return _answer("whole")

    def CompleteStream(
        self, request: completion_pb2.CompleteStreamRequest, context: Any
    ) -> Iterator[completion_pb2.CompleteStreamResponse]:
        """`endless` goes on until the caller goes; `cut` ends with an error after content; `newer` has an event of its own."""
        asked = request.request
        attempt = note(self._ledger, asked.caller.labels[CASE_LABEL], context)
        if asked.policy in SCRIPTS and asked.policy not in ("full", "newer"):
            SCRIPTS[asked.policy](routing_pb2.RouteRequest(prompt="p"), context, attempt)
        yield _started()
        yield _text("wh")
        if asked.policy == "newer":
            # An event that this version has no name for.
            yield completion_pb2.CompleteStreamResponse.FromString(_UNKNOWN_FIELDS)
        if asked.policy == "cut":
            yield completion_pb2.CompleteStreamResponse(
                failed=completion_pb2.CompleteFailure(decision_id="0" * 32, tier="mid")
            )
            fail(
                context,
                StatusCode.UNAVAILABLE,
                _info("STREAM_CUT", cause="cut", deployment="mid-a", output_tokens="1"),
                trailers=(("grpc-retry-pushback-ms", "-1"),),
            )
        while asked.policy == "endless" and context.is_active():
            yield _text("o")
        if asked.policy == "silent":
            wait_until_cancelled(context)
            return
        yield _text("ole")
        yield completion_pb2.CompleteStreamResponse(finished=_answer(""))


@contextmanager
def serving(ledger: Ledger) -> Iterator[str]:
    """The scripted services on a port of loopback; its address."""
    with ThreadPoolExecutor(64, thread_name_prefix="scripted") as threads:
        options = [("grpc.max_receive_message_length", 16 << 20)]
        server = grpc.server(threads, options=options)
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(ScriptedRouting(ledger), server)
        completion_pb2_grpc.add_CompletionServiceServicer_to_server(ScriptedCompletion(ledger), server)
        alive = health.HealthServicer()
        alive.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(alive, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            assert server.stop(None).wait(PATIENCE_S)
