"""One stream of grpcio's asyncio kind: sending beside receiving, and what it ended with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar

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


class _End(NamedTuple):
    """What a call ended with, be it OK or not; in the order of AioRpcError's arguments."""

    code: grpc.StatusCode
    initial_metadata: grpc.aio.Metadata
    trailing_metadata: grpc.aio.Metadata
    details: str


class FedStream:
    """A stream and the task that feeds it; grpcio's own would go on waiting for requests after the end.

    Attributes:
        failures: what reading or building the requests raised, if it did; it ended the sending.
    """

    def __init__(self, call: _Call, requests: AsyncIterable[RequestLike] | Iterable[RequestLike]) -> None:
        self.failures: list[Exception] = []
        self._call = call
        self._requests = requests
        self._responses = aiter(call)
        self._end: _End | None = None
        call.add_done_callback(self._keep_end)
        self._feeder: asyncio.Task[None] | None = asyncio.create_task(self._feed())

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
        if end.code is grpc.StatusCode.OK:
            return None
        raise grpc.aio.AioRpcError(*end, debug_error_string=None)

    async def close(self) -> None:
        """Cancels what is not at its end."""
        self._call.cancel()
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.gather(self._feeder, return_exceptions=True)
            # What ended the task holds its frames, which hold this stream: a ring that would keep the
            # connection open until the garbage collector comes.
            self._feeder = None
        if isinstance(self._responses, AsyncGenerator):
            await self._responses.aclose()

    def _keep_end(self, call: _Call) -> None:
        # Called at the first status, right before another might take its place: no time to await.
        self._end = _finish(_read_end(call))

    async def _find_end(self) -> _End:
        end = self._end
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_WAIT_S):
                while end is None or end.details == _SENDING_FAILED:
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
            self.failures.append(error)


async def _read_end(call: _Call) -> _End:
    return _End(
        await call.code(),
        await call.initial_metadata(),
        await call.trailing_metadata(),
        await call.details(),
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
