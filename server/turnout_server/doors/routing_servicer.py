"""`Route`, `RouteBatch` and `RouteStream` over grpc.aio.

No interceptors and no task a call: each would cost more than the decision.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import NoReturn

import grpc
from turnout.v1.routing_pb2 import (
    RouteBatchRequest,
    RouteBatchResponse,
    RouteResponse,
    RouteStreamRequest,
    RouteStreamResponse,
)

from turnout_server.doors.admission import Admission
from turnout_server.doors.door import EOF, AdmittedDoor, Context, Method
from turnout_server.doors.errors import abort, describe_failure
from turnout_server.doors.items import (
    Deadline,
    ItemDecider,
    ReceivedBatch,
    ReceivedItem,
    parse_request,
    read_batch,
)
from turnout_server.doors.wire import BULKY_BYTES, Bulky, parser
from turnout_server.observability.metrics import Metrics

SERVICE = "turnout.v1.RoutingService"
# Items of a batch between two turns of the event loop, so that others wait for a batch under a millisecond.
BATCH_CHUNK = 32


class RoutingDoor(AdmittedDoor):
    """The service's methods, each behind admission."""

    def __init__(
        self, decider: ItemDecider, metrics: Metrics, admission: Admission, *, max_batch: int = 1024
    ) -> None:
        """Answers with what `decider` decides; a batch holds at most `max_batch` requests."""
        super().__init__(metrics, admission)
        self._decider = decider
        self._max_batch = max_batch
        self._route = Method("Route", metrics, service=SERVICE)
        self._batch = Method("RouteBatch", metrics, service=SERVICE)
        self._stream = Method("RouteStream", metrics, service=SERVICE, kind="bidi_stream")
        unary, streaming = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        # Bytes both ways: parsed and written by compiled code.
        self._add(self._route, unary, self.route)
        self._add(
            self._batch,
            unary,
            self.route_batch,
            parser(RouteBatchRequest),
            RouteBatchResponse.SerializeToString,
        )
        self._add(
            self._stream,
            streaming,
            self.route_stream,
            parser(RouteStreamRequest),
            RouteStreamResponse.SerializeToString,
        )

    async def route(self, data: bytes, context: Context) -> bytes:
        """Decides one request."""
        began = perf_counter()
        method = self._route
        method.started.value += 1
        try:
            if len(data) <= BULKY_BYTES:
                response = self._decider.decide(data, context.time_remaining())
            else:
                deadline = Deadline(context.time_remaining())
                judged = await asyncio.to_thread(lambda: self._decider.judge(parse_request(data), deadline))
                response = self._decider.write(judged, RouteResponse()).SerializeToString()
        except asyncio.CancelledError:
            method.count_ended("CANCELLED")
            raise
        except Exception as error:
            await self._fail(context, method, began, error)
        method.succeeded.value += 1
        method.seconds.observe(perf_counter() - began)
        return response

    async def route_batch(self, message: ReceivedBatch, context: Context) -> RouteBatchResponse:
        """Decides many requests; each succeeds or fails alone."""
        began = perf_counter()
        method = self._batch
        method.started.value += 1
        try:
            response = await self._decide_batch(message, context)
        except asyncio.CancelledError:
            method.count_ended("CANCELLED")
            raise
        except Exception as error:
            await self._fail(context, method, began, error)
        method.succeeded.value += 1
        method.seconds.observe(perf_counter() - began)
        return response

    async def route_stream(self, _: object, context: Context) -> None:
        """Decides requests as they come, in order.

        One is read, decided and answered before the next; HTTP/2's flow control bounds what lies ahead.
        """
        began = perf_counter()
        method = self._stream
        method.started.value += 1
        try:
            while (message := await context.read()) is not EOF:
                await context.write(await self._decide_item(message, context))
        except (asyncio.CancelledError, grpc.aio.BaseError):
            # The caller went away while an item was read or written.
            method.count_ended("CANCELLED")
            raise
        except Exception as error:
            await self._fail(context, method, began, error)
        method.succeeded.value += 1
        method.seconds.observe(perf_counter() - began)

    async def _decide_batch(self, message: ReceivedBatch, context: Context) -> RouteBatchResponse:
        in_thread = type(message) is not RouteBatchRequest
        requests = read_batch(message, self._max_batch)
        response = RouteBatchResponse()
        for start in range(0, len(requests), BATCH_CHUNK):
            chunk = requests[start : start + BATCH_CHUNK]
            deadline = Deadline(context.time_remaining())
            if in_thread:
                results = await asyncio.to_thread(self._decider.judge_all, chunk, deadline)
            else:
                results = self._decider.judge_all(chunk, deadline)
                await asyncio.sleep(0)
            for result in results:
                self._decider.write_result(result, response.results.add())
        return response

    async def _decide_item(self, message: ReceivedItem, context: Context) -> RouteStreamResponse:
        deadline = Deadline(context.time_remaining())
        if isinstance(message, Bulky):
            judged = await asyncio.to_thread(self._decider.judge_item, message, deadline)
        else:
            judged = self._decider.judge_item(message, deadline)
        return self._decider.write_item(judged)

    async def _fail(self, context: Context, method: Method, began: float, error: Exception) -> NoReturn:
        """Ends a call with what its error means."""
        failure = describe_failure(error)
        self._count_failure(method, failure)
        method.seconds.observe(perf_counter() - began)
        await abort(context, failure)
