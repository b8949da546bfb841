"""The asyncio client."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar, Unpack

import grpc
import grpc.aio

from turnout.aio_stream import FedStream
from turnout.base import ClientBase
from turnout.completion_requests import (
    CompleteFields,
    CompleteLike,
    OnCut,
    StreamMode,
    build_complete_request,
    build_complete_stream_request,
)
from turnout.decision import Decision
from turnout.error_decoding import decode_rpc_error
from turnout.errors import CallCancelledError, ClientClosedError, InvalidRequestError, TurnoutError
from turnout.fail_open import DefaultTier
from turnout.health import CHECK_METHOD, HealthStatus, decode_check, encode_check
from turnout.messages import Message
from turnout.requests import RequestFields, RequestLike, build_request
from turnout.results import decode_result, decode_results
from turnout.v1.completion_pb2 import CompleteResponse, CompleteStreamResponse
from turnout.v1.completion_pb2_grpc import CompletionServiceStub
from turnout.v1.routing_pb2 import RouteBatchRequest
from turnout.v1.routing_pb2_grpc import RoutingServiceStub

if TYPE_CHECKING:
    from turnout.v1.completion_pb2_grpc import CompletionServiceAsyncStub
    from turnout.v1.routing_pb2_grpc import RoutingServiceAsyncStub

_Answer = TypeVar("_Answer")


class _Lane(NamedTuple):
    """One HTTP/2 connection and what is called over it."""

    channel: grpc.aio.Channel
    routing: RoutingServiceAsyncStub
    completion: CompletionServiceAsyncStub
    check: grpc.aio.UnaryUnaryMultiCallable[str, HealthStatus]


class AsyncClient(ClientBase[grpc.aio.Channel]):
    """Asks the service from one event loop, that of the first call; close it, or use it with `async with`.

    Every call has a deadline. UNAVAILABLE is retried within it, up to three times, unless the service asks to
    stay away; nothing else is retried. What calls raise is in `turnout.errors`; a call of a closed client
    raises ClientClosedError. Cancelling the task that waits cancels the call.
    """

    def _prepare(self) -> None:
        # Channels belong to an event loop, which need not run yet.
        self._lanes: list[_Lane] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = itertools.count()

    async def route(
        self,
        prompt: RequestLike | None = None,
        *,
        messages: Iterable[Message] | None = None,
        timeout_s: float | None = None,
        **fields: Unpack[RequestFields],
    ) -> Decision:
        """Asks which tier should answer a request.

        Args:
            prompt: the user's question, at most 4 MiB of UTF-8, or a request from `build_request`.
            messages: instead of `prompt`, turns as the chat completions API takes them, oldest first; the
                last user turn is judged.
            timeout_s: deadline in seconds; None is the client's.
            fields: see `RequestFields`.

        Raises:
            TurnoutError: there is no decision; its class says why.
        """
        request = build_request(prompt, messages=messages, **fields)
        timeout_s = self._timeouts.route_s if timeout_s is None else timeout_s
        return Decision.from_response(await self._call(self._lane().routing.Route, request, timeout_s))

    async def route_or(
        self,
        default: DefaultTier,
        prompt: RequestLike | None = None,
        *,
        messages: Iterable[Message] | None = None,
        timeout_s: float | None = None,
        **fields: Unpack[RequestFields],
    ) -> Decision:
        """As `route`, but fails open: without a decision the caller's default serves, with `fell_back` true.

        Each such case is counted in `fail_open_count` and told to `on_fail_open`.

        Args:
            default: a tier's name, or what names one for the error.
            prompt: as for `route`.
            messages: as for `route`.
            timeout_s: deadline in seconds; None is the client's `route_or_timeout_s`, 0.05.
            fields: see `RequestFields`.

        Raises:
            InvalidRequestError: the request breaks the contract, which a default would hide.
        """
        timeout_s = self._timeouts.route_or_s if timeout_s is None else timeout_s
        try:
            return await self.route(prompt, messages=messages, timeout_s=timeout_s, **fields)
        except InvalidRequestError:
            raise
        except TurnoutError as error:
            return self._fail_open.decide(default, error)

    async def route_batch(
        self, requests: Iterable[RequestLike], *, timeout_s: float | None = None
    ) -> list[Decision | TurnoutError]:
        """Asks for many decisions in one call.

        Args:
            requests: prompts or requests from `build_request`, at most 1,024; none at all make no call.
            timeout_s: deadline of all, in seconds; None is the client's.

        Returns:
            For each request, in their order, its decision or its error, which is not raised.

        Raises:
            TurnoutError: the call as a whole failed.
        """
        batch = RouteBatchRequest(requests=[build_request(request) for request in requests])
        if not batch.requests:
            return []
        timeout_s = self._timeouts.batch_s if timeout_s is None else timeout_s
        response = await self._call(self._lane().routing.RouteBatch, batch, timeout_s)
        return decode_results(response.results, len(batch.requests))

    async def route_stream(
        self,
        requests: AsyncIterable[RequestLike] | Iterable[RequestLike],
        *,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[Decision | TurnoutError, None]:
        """Asks for decisions as requests come.

        The call begins when the first result is awaited, and ends with the last one or with `aclose` on the
        iterator (`contextlib.aclosing` does that; leaving `async for` early does not at once). It is not
        retried.

        Args:
            requests: prompts or requests from `build_request`. A task of the client's reads them, ahead of
                the results; what they raise is raised here, after the results of what came before.
            timeout_s: deadline of the whole stream in seconds; None is an hour.

        Yields:
            For each request, in their order, its decision or its error, which is not raised.

        Raises:
            TurnoutError: the stream as a whole failed.
        """
        timeout_s = self._timeouts.stream_s if timeout_s is None else timeout_s
        call = self._lane().routing.RouteStream(None, timeout=timeout_s, metadata=self._metadata)
        stream = FedStream(call, requests)
        try:
            while (response := await self._answer(stream.read())) is not None:
                yield decode_result(response.result)
        finally:
            await stream.close()
        if stream.failures:
            # Taken out: what holds an exception must not be held by it.
            raise stream.failures.pop()

    async def complete(
        self,
        prompt: CompleteLike | None = None,
        *,
        messages: Iterable[Message] | None = None,
        timeout_s: float | None = None,
        **fields: Unpack[CompleteFields],
    ) -> CompleteResponse:
        """Has a request answered by the tier that is decided for it.

        Nothing is retried by the client: the service has done what helps, and the call is billed.

        Args:
            prompt: the user's question, at most 4 MiB of UTF-8, or a request from `build_complete_request`.
            messages: instead of `prompt`, turns as the chat completions API takes them, oldest first.
            timeout_s: deadline in seconds; None is 120.
            fields: see `CompleteFields`.

        Returns:
            The contract's message: the answer, its cost, the decision, and every attempt.

        Raises:
            TurnoutError: there is no whole answer; its class says why.
        """
        request = build_complete_request(prompt, messages=messages, **fields)
        timeout_s = self._timeouts.complete_s if timeout_s is None else timeout_s
        return await self._call(self._lane().completion.Complete, request, timeout_s)

    async def complete_stream(
        self,
        prompt: CompleteLike | None = None,
        *,
        messages: Iterable[Message] | None = None,
        mode: StreamMode | int = StreamMode.UNSPECIFIED,
        on_cut: OnCut | int = OnCut.UNSPECIFIED,
        timeout_s: float | None = None,
        **fields: Unpack[CompleteFields],
    ) -> AsyncGenerator[CompleteStreamResponse, None]:
        """Has a request answered, as the answer comes. Nothing is retried by the client.

        Args:
            prompt: as for `complete`.
            messages: as for `complete`.
            mode: when an answer is shown that gates may still reject.
            on_cut: what happens when an answer is cut after some of it was given.
            timeout_s: deadline of the whole stream in seconds; None is 600.
            fields: see `CompleteFields`.

        Yields:
            The contract's events: `started` first; after `restarted` the deltas before it do not count; `finished` last.

        Raises:
            TurnoutError: there is no whole answer, after a `failed` event where anything was asked upstream.
        """
        request = build_complete_stream_request(prompt, messages=messages, mode=mode, on_cut=on_cut, **fields)
        timeout_s = self._timeouts.complete_stream_s if timeout_s is None else timeout_s
        call = self._lane().completion.CompleteStream(request, timeout=timeout_s, metadata=self._metadata)
        try:
            # At the end it is grpc.aio.EOF, which grpcio's stubs lack.
            while isinstance(event := await self._answer(call.read()), CompleteStreamResponse):
                yield event
        finally:
            call.cancel()

    async def check_health(self, service: str = "", *, timeout_s: float | None = None) -> HealthStatus:
        """Asks how the server is, by the standard health check, and so connects.

        Args:
            service: a service's full name, such as "turnout.v1.RoutingService"; empty means the whole server.
            timeout_s: deadline for each connection in seconds; None is the client's.

        Returns:
            SERVING if every connection leads to a server that serves; else what the first other one says.

        Raises:
            TurnoutError: a server cannot be asked.
        """
        timeout_s = self._timeouts.health_s if timeout_s is None else timeout_s
        self._lane()
        for lane in self._lanes:
            try:
                status = await self._call(lane.check, service, timeout_s)
            except TurnoutError as error:
                if error.code is not grpc.StatusCode.NOT_FOUND:
                    raise
                return HealthStatus.SERVICE_UNKNOWN
            if status is not HealthStatus.SERVING:
                return status
        return HealthStatus.SERVING

    async def close(self) -> None:
        """Ends calls in flight with CallCancelledError and disconnects. May be called again."""
        self._closed = True
        if self._given_channel is None:
            for lane in self._lanes:
                await lane.channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _lane(self) -> _Lane:
        """The next connection.

        Raises:
            ClientClosedError: the client is closed.
            RuntimeError: another event loop runs than at the first call.
        """
        if self._closed:
            raise ClientClosedError
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._connect(loop)
        lanes = self._lanes
        return lanes[0] if len(lanes) == 1 else lanes[next(self._turn) % len(lanes)]

    def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise RuntimeError("an AsyncClient belongs to the event loop of its first call")
        self._loop = loop
        given = self._given_channel
        channels = self._connection.open_aio_channels() if given is None else [given]
        self._lanes = [
            _Lane(
                channel,
                RoutingServiceStub(channel),
                CompletionServiceStub(channel),
                channel.unary_unary(CHECK_METHOD, encode_check, decode_check),
            )
            for channel in channels
        ]

    async def _call(
        self, method: Callable[..., Awaitable[_Answer]], question: object, timeout_s: float
    ) -> _Answer:
        return await self._answer(method(question, timeout=timeout_s, metadata=self._metadata))

    async def _answer(self, pending: Awaitable[_Answer]) -> _Answer:
        try:
            return await pending
        except grpc.RpcError as error:
            raise decode_rpc_error(error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            # Nobody cancelled this task: it is what grpcio makes of closing the channel.
            raise CallCancelledError("the client was closed", code=grpc.StatusCode.CANCELLED) from None
