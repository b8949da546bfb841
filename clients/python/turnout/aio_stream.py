"""One stream of grpcio's asyncio kind: sending beside receiving, and what it ended with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Iterable
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio

from turnout.requests import RequestLike, build_request
from turnout.v1.routing_pb2 import RouteRequest, RouteStreamRequest, RouteStreamResponse

_Call: TypeAlias = grpc.aio.StreamStreamCall[RouteStreamRequest, RouteStreamResponse]
_Value = TypeVar("_Value")

# What grpcio puts in the place of a call's status where a message could not be sent (grpc/grpc#36066). Where
# a service ends a stream early, that hides its own status, which came before or comes soon.
_SENDING_FAILED = "Internal error from Core"
_STATUS_WAIT_S = 1.0
_STATUS_POLL_S = 0.001


class FedStream:
    """A stream and the task that feeds it; grpcio's own would go on waiting for requests after the end.

    Attributes:
        failure: what reading or building the requests raised; it ended the sending.
    """

    def __init__(self, call: _Call, requests: AsyncIterable[RequestLike] | Iterable[RequestLike]) -> None:
        self.failure: Exception | None = None
        self._call = call
        self._requests = requests
        self._responses = aiter(call)
        self._end: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._keep_end)
        self._feeder = asyncio.create_task(self._feed())

    async def read(self) -> RouteStreamResponse | None:
        """The next result; None at the end.

        Raises:
            grpc.RpcError: the stream failed.
        """
        try:
            return await anext(self._responses, None)
        except grpc.RpcError as error:
            if error.details() != _SENDING_FAILED:
                raise
            end = await self._find_end()
        if end.code() is not grpc.StatusCode.OK:
            raise end
        return None

    async def close(self) -> None:
        """Cancels what is not at its end."""
        self._call.cancel()
        self._feeder.cancel()
        await asyncio.gather(self._feeder, return_exceptions=True)
        if isinstance(self._responses, AsyncGenerator):
            await self._responses.aclose()

    def _keep_end(self, call: _Call) -> None:
        # Called at the first status, right before another might take its place: no time to await.
        self._end = _finish(_read_end(call))

    async def _find_end(self) -> grpc.aio.AioRpcError:
        end = self._end
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_WAIT_S):
                while end is None or end.details() == _SENDING_FAILED:
                    await asyncio.sleep(_STATUS_POLL_S)
                    end = await _read_end(self._call)
        return end or await _read_end(self._call)

    async def _feed(self) -> None:
        # The call's end is told by reading its results.
        with contextlib.suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            async for request in self._each():
                await self._call.write(RouteStreamRequest(request=request))
            await self._call.done_writing()

    async def _each(self) -> AsyncIterator[RouteRequest]:
        try:
            if isinstance(self._requests, AsyncIterable):
                async for request in self._requests:
                    yield build_request(request)
            else:
                for request in self._requests:
                    yield build_request(request)
        except Exception as error:
            self.failure = error


async def _read_end(call: _Call) -> grpc.aio.AioRpcError:
    """The status of a call that is done, be it OK or not."""
    return grpc.aio.AioRpcError(
        await call.code(),
        await call.initial_metadata(),
        await call.trailing_metadata(),
        details=await call.details(),
        debug_error_string=None,
    )


def _finish(coroutine: Coroutine[Any, Any, _Value]) -> _Value | None:
    """What a coroutine returns that has nothing to wait for; None if it does wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: _Value = end.value
        return value
    coroutine.close()
    return None
