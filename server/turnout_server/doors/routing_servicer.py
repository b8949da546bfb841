"""`Route`, `RouteBatch` and `RouteStream` over grpc.aio.

No interceptors and no task a call: each would cost more than the decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple, NoReturn, TypeAlias

import grpc
from turnout.v1.routing_pb2 import (
    RouteBatchRequest,
    RouteBatchResponse,
    RouteRequest,
    RouteResponse,
    RouteResult,
    RouteStreamRequest,
    RouteStreamResponse,
)
from turnout_fastpath import Reason, RouteError

from turnout_server.doors.admission import Admission
from turnout_server.doors.codec import MAX_TEXT_BYTES, read_request, write_response
from turnout_server.doors.errors import (
    DeadlineExceededError,
    Failure,
    MalformedRequestError,
    OverloadedError,
    abort,
    describe_failure,
)
from turnout_server.doors.wire import Bulky, Malformed, find_payloads, parser
from turnout_server.observability.decision_log import DecisionLog
from turnout_server.observability.metrics import Call, Metrics
from turnout_server.routing import Router

SERVICE = "turnout.v1.RoutingService"
MAX_CORRELATION_BYTES = 128
# Items of a batch between two turns of the event loop, so that a batch keeps others waiting for under a millisecond.
BATCH_CHUNK = 32

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Received: TypeAlias = "RouteRequest | Bulky[RouteRequest] | Malformed"
ReceivedBatch: TypeAlias = "RouteBatchRequest | Bulky[RouteBatchRequest] | Malformed"
ReceivedItem: TypeAlias = "RouteStreamRequest | Bulky[RouteStreamRequest] | Malformed"

_parse_request = parser(RouteRequest)


class Limits(NamedTuple):
    """What the operator allows of one call.

    Attributes:
        max_batch: most requests of a batch.
        max_text_bytes: most bytes of text of a request, UTF-8.
    """

    max_batch: int = 1024
    max_text_bytes: int = MAX_TEXT_BYTES


class RoutingDoor(grpc.GenericRpcHandler[Any, Any]):
    """The service's methods, each behind admission."""

    def __init__(
        self, router: Router, metrics: Metrics, log: DecisionLog, admission: Admission, limits: Limits
    ) -> None:
        self._router = router
        self._metrics = metrics
        self._log = log
        self._admission = admission
        self._limits = limits
        self._route = metrics.call("unary", SERVICE, "Route")
        self._batch = metrics.call("unary", SERVICE, "RouteBatch")
        self._stream = metrics.call("bidi_stream", SERVICE, "RouteStream")
        unary = grpc.unary_unary_rpc_method_handler
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            f"/{SERVICE}/Route": unary(self.route, _parse_request, RouteResponse.SerializeToString),
            f"/{SERVICE}/RouteBatch": unary(
                self.route_batch, parser(RouteBatchRequest), RouteBatchResponse.SerializeToString
            ),
            f"/{SERVICE}/RouteStream": grpc.stream_stream_rpc_method_handler(
                self.route_stream, parser(RouteStreamRequest), RouteStreamResponse.SerializeToString
            ),
        }
        # Without deserializers: what is refused is not parsed.
        self._refusals: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            f"/{SERVICE}/Route": unary(self._refuser("unary", "Route", self._route)),
            f"/{SERVICE}/RouteBatch": unary(self._refuser("unary", "RouteBatch", self._batch)),
            f"/{SERVICE}/RouteStream": grpc.stream_stream_rpc_method_handler(
                self._refuser("bidi_stream", "RouteStream", self._stream)
            ),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call, by its method; runs in the call's own task, before its message is received."""
        handler = self._handlers.get(handler_call_details.method)
        if handler is None or self._admission.admit():
            return handler
        return self._refusals[handler_call_details.method]

    async def route(self, message: Received, context: Context) -> RouteResponse:
        """Decides one request."""
        began = perf_counter()
        call = self._route
        call.started()
        try:
            if type(message) is not RouteRequest:
                response = await self._route_rare(message, context)
            elif self._log.draws():
                response = self._decide_observed(message, self._is_rules_only(message, context))
            else:
                rules_only = self._is_rules_only(message, context)
                request = read_request(
                    message, rules_only=rules_only, max_text_bytes=self._limits.max_text_bytes
                )
                response = write_response(self._router.decide(request), RouteResponse())
        except Exception as error:
            await self._fail(context, "unary", "Route", call, began, error)
        except asyncio.CancelledError:
            self._metrics.count_failed("unary", SERVICE, "Route", "CANCELLED")
            raise
        call.succeeded()
        call.seconds(perf_counter() - began)
        return response

    async def route_batch(self, message: ReceivedBatch, context: Context) -> RouteBatchResponse:
        """Decides many requests; each succeeds or fails alone."""
        began = perf_counter()
        call = self._batch
        call.started()
        try:
            response = await self._decide_batch(message, context)
        except Exception as error:
            await self._fail(context, "unary", "RouteBatch", call, began, error)
        except asyncio.CancelledError:
            self._metrics.count_failed("unary", SERVICE, "RouteBatch", "CANCELLED")
            raise
        call.succeeded()
        call.seconds(perf_counter() - began)
        return response

    async def route_stream(self, _: object, context: Context) -> None:
        """Decides requests as they come, in order.

        One is read, decided and answered before the next: what lies ahead of it is bounded by HTTP/2's flow control.
        """
        began = perf_counter()
        call = self._stream
        call.started()
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                await context.write(await self._decide_item(message, context))
        except (asyncio.CancelledError, grpc.aio.BaseError):
            # The caller went away while an item was read or written.
            self._metrics.count_failed("bidi_stream", SERVICE, "RouteStream", "CANCELLED")
            raise
        except Exception as error:
            await self._fail(context, "bidi_stream", "RouteStream", call, began, error)
        call.succeeded()
        call.seconds(perf_counter() - began)

    def _is_rules_only(self, message: RouteRequest, context: Context) -> bool:
        """Whether too little time is left for the classifier; raises if none is left."""
        remaining: float | None = context.time_remaining()
        if remaining is None:
            return False
        if remaining <= 0:
            raise DeadlineExceededError
        return self._router.is_short_of_time(message.policy, remaining)

    def _decide(self, message: RouteRequest, rules_only: bool, response: RouteResponse) -> None:
        request = read_request(message, rules_only=rules_only, max_text_bytes=self._limits.max_text_bytes)
        decision = self._router.decide(request)
        write_response(decision, response)
        if self._log.draws():
            self._log.write(decision, _texts(message))

    def _decide_observed(self, message: RouteRequest, rules_only: bool) -> RouteResponse:
        """Decides a sampled request: its stages are timed, its decision is logged."""
        began = perf_counter()
        request = read_request(message, rules_only=rules_only, max_text_bytes=self._limits.max_text_bytes)
        was_read = perf_counter()
        decision = self._router.decide(request)
        decided = perf_counter()
        response = write_response(decision, RouteResponse())
        stages = self._metrics.stages
        stages.read(was_read - began)
        stages.decide(decided - was_read)
        stages.write(perf_counter() - decided)
        self._log.write(decision, _texts(message))
        return response

    async def _route_rare(self, message: Received, context: Context) -> RouteResponse:
        if isinstance(message, Malformed):
            raise MalformedRequestError(message.field)
        assert isinstance(message, Bulky)
        response = RouteResponse()
        rules_only = self._is_rules_only(message.message, context)
        await asyncio.to_thread(self._decide, message.message, rules_only, response)
        return response

    async def _decide_batch(self, message: ReceivedBatch, context: Context) -> RouteBatchResponse:
        if isinstance(message, Malformed):
            requests, in_thread = _salvage_batch(message), True
        elif isinstance(message, Bulky):
            requests, in_thread = list(message.message.requests), True
        else:
            requests, in_thread = list(message.requests), False
        if not 1 <= len(requests) <= self._limits.max_batch:
            limit = f"1 to {self._limits.max_batch} requests"
            raise RouteError(Reason.INVALID_FIELD, "requests", value=f"{len(requests)} requests", limit=limit)
        response = RouteBatchResponse()
        for start in range(0, len(requests), BATCH_CHUNK):
            if start:
                await asyncio.sleep(0)
            remaining: float | None = context.time_remaining()
            if remaining is not None and remaining <= 0:
                raise DeadlineExceededError
            chunk = requests[start : start + BATCH_CHUNK]
            if in_thread:
                await asyncio.to_thread(self._decide_chunk, chunk, remaining, response)
            else:
                self._decide_chunk(chunk, remaining, response)
        return response

    def _decide_chunk(
        self, requests: list[Any], remaining: float | None, response: RouteBatchResponse
    ) -> None:
        for request in requests:
            self._fill_result(request, remaining, response.results.add())

    async def _decide_item(self, message: ReceivedItem, context: Context) -> RouteStreamResponse:
        remaining: float | None = context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise DeadlineExceededError
        response = RouteStreamResponse()
        if isinstance(message, Malformed):
            response.correlation_id = _salvage_correlation(message)
            # Paths of an item are those of its request, as in a unary call.
            fault = MalformedRequestError(message.field.removeprefix("request."))
            self._fill_failure(fault, response.result)
            return response
        item = message.message if isinstance(message, Bulky) else message
        size = len(item.correlation_id.encode())
        if size > MAX_CORRELATION_BYTES:
            limit = f"{MAX_CORRELATION_BYTES} bytes"
            error = RouteError(Reason.INVALID_FIELD, "correlation_id", value=f"{size} bytes", limit=limit)
            self._fill_failure(error, response.result)
            return response
        response.correlation_id = item.correlation_id
        if item is message:
            self._fill_result(item.request, remaining, response.result)
        else:
            await asyncio.to_thread(self._fill_result, item.request, remaining, response.result)
        return response

    def _fill_result(
        self, request: RouteRequest | Bulky[RouteRequest] | Malformed, remaining: float | None, result: RouteResult
    ) -> None:
        """Decides one item, and fills in the decision or why there is none."""
        try:
            if isinstance(request, Malformed):
                raise MalformedRequestError(request.field)
            message = request.message if isinstance(request, Bulky) else request
            rules_only = remaining is not None and self._router.is_short_of_time(message.policy, remaining)
            response = RouteResponse()
            self._decide(message, rules_only, response)
            result.response.CopyFrom(response)
        except Exception as error:
            self._fill_failure(error, result)

    def _fill_failure(self, error: Exception, result: RouteResult) -> None:
        failure = describe_failure(error)
        self._metrics.count_error(failure.reason_name)
        result.error.CopyFrom(failure.to_item())

    async def _fail(
        self, context: Context, kind: str, method: str, call: Call, began: float, error: Exception
    ) -> NoReturn:
        """Ends a call with what its error means."""
        failure = describe_failure(error)
        self._count_failure(kind, method, failure)
        call.seconds(perf_counter() - began)
        await abort(context, failure)

    def _refuser(self, kind: str, method: str, call: Call) -> Callable[[Any, Context], Awaitable[None]]:
        async def refuse(_: object, context: Context) -> None:
            call.started()
            error = self._admission.refusal()
            if isinstance(error, OverloadedError):
                self._metrics.count_shed()
            failure = describe_failure(error)
            self._count_failure(kind, method, failure)
            await abort(context, failure)

        return refuse

    def _count_failure(self, kind: str, method: str, failure: Failure) -> None:
        self._metrics.count_failed(kind, SERVICE, method, failure.code.name)
        self._metrics.count_error(failure.reason_name)


def _texts(message: RouteRequest) -> Iterator[str]:
    yield message.prompt
    for turn in message.messages:
        yield turn.content
        for part in turn.parts:
            yield part.text


def _salvage_batch(malformed: Malformed) -> list[RouteRequest | Bulky[RouteRequest] | Malformed]:
    """The requests of a batch that does not parse as a whole, so that only those at fault fail."""
    payloads = find_payloads(malformed.data, RouteBatchRequest.REQUESTS_FIELD_NUMBER)
    items = [_parse_request(payload) for payload in payloads or ()]
    if not any(isinstance(item, Malformed) for item in items):
        raise MalformedRequestError(malformed.field)
    return items


def _salvage_correlation(malformed: Malformed) -> str:
    """The correlation of a stream's item that does not parse as a whole; empty if it cannot be read."""
    payloads = find_payloads(malformed.data, RouteStreamRequest.CORRELATION_ID_FIELD_NUMBER)
    if not payloads or len(payloads[-1]) > MAX_CORRELATION_BYTES:
        return ""
    try:
        return payloads[-1].decode()
    except UnicodeDecodeError:
        return ""
