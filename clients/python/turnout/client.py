"""The synchronous client."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Self, TypeVar, Unpack

import grpc

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
from turnout.errors import ClientClosedError, InvalidRequestError, TurnoutError
from turnout.fail_open import DefaultTier
from turnout.health import CHECK_METHOD, HealthStatus, decode_check, encode_check
from turnout.messages import Message
from turnout.requests import RequestFields, RequestLike, build_request
from turnout.results import decode_result, decode_results
from turnout.v1.completion_pb2 import CompleteResponse, CompleteStreamResponse
from turnout.v1.completion_pb2_grpc import CompletionServiceStub
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteStreamRequest
from turnout.v1.routing_pb2_grpc import RoutingServiceStub

_Answer = TypeVar("_Answer")


class _Lane(NamedTuple):
    """One HTTP/2 connection and what is called over it."""

    channel: grpc.Channel
    routing: RoutingServiceStub
    completion: CompletionServiceStub
    check: grpc.UnaryUnaryMultiCallable[str, HealthStatus]


class Client(ClientBase[grpc.Channel]):
    """Asks the service. Safe to use from any thread; close it, or use it as a context manager.

    Every call has a deadline. UNAVAILABLE is retried within it, up to three times, unless the service asks to
    stay away; nothing else is retried. What calls raise is in `turnout.errors`; a call of a closed client
    raises ClientClosedError.
    """

    def _prepare(self) -> None:
        given = self._given_channel
        channels = self._connection.open_channels() if given is None else [given]
        self._lanes = [
            _Lane(
                channel,
                RoutingServiceStub(channel),
                CompletionServiceStub(channel),
                channel.unary_unary(CHECK_METHOD, encode_check, decode_check),
            )
            for channel in channels
        ]
        self._turn = itertools.count()

    def route(
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
        return Decision.from_response(self._call(self._lane().routing.Route, request, timeout_s))

    def route_or(
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
            return self.route(prompt, messages=messages, timeout_s=timeout_s, **fields)
        except InvalidRequestError:
            raise
        except TurnoutError as error:
            return self._fail_open.decide(default, error)

    def route_batch(
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
        response = self._call(self._lane().routing.RouteBatch, batch, timeout_s)
        return decode_results(response.results, len(batch.requests))

    def route_stream(
        self, requests: Iterable[RequestLike], *, timeout_s: float | None = None
    ) -> Generator[Decision | TurnoutError, None, None]:
        """Asks for decisions as requests come.

        The call begins with the first `next`, and ends with the last result or with `close` on the iterator
        (or when it is dropped). It is not retried.

        Args:
            requests: prompts or requests from `build_request`. A thread of gRPC's reads them, ahead of the
                results; what they raise is raised here, after the results of what came before.
            timeout_s: deadline of the whole stream in seconds; None is an hour.

        Yields:
            For each request, in their order, its decision or its error, which is not raised.

        Raises:
            TurnoutError: the stream as a whole failed.
        """
        failures: list[Exception] = []
        timeout_s = self._timeouts.stream_s if timeout_s is None else timeout_s
        call = self._call(self._lane().routing.RouteStream, _write_stream(requests, failures), timeout_s)
        try:
            for response in call:
                yield decode_result(response.result)
        except grpc.RpcError as error:
            raise decode_rpc_error(error) from error
        finally:
            call.cancel()  # type: ignore[no-untyped-call]
        if failures:
            # Taken out: what holds an exception must not be held by it.
            raise failures.pop()

    def complete(
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
        return self._call(self._lane().completion.Complete, request, timeout_s)

    def complete_stream(
        self,
        prompt: CompleteLike | None = None,
        *,
        messages: Iterable[Message] | None = None,
        mode: StreamMode | int = StreamMode.UNSPECIFIED,
        on_cut: OnCut | int = OnCut.UNSPECIFIED,
        timeout_s: float | None = None,
        **fields: Unpack[CompleteFields],
    ) -> Generator[CompleteStreamResponse, None, None]:
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
        call = self._call(self._lane().completion.CompleteStream, request, timeout_s)
        try:
            yield from call
        except grpc.RpcError as error:
            raise decode_rpc_error(error) from error
        finally:
            call.cancel()  # type: ignore[no-untyped-call]

    def check_health(self, service: str = "", *, timeout_s: float | None = None) -> HealthStatus:
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
        for lane in self._lanes:
            try:
                status = self._call(lane.check, service, timeout_s)
            except TurnoutError as error:
                if error.code is not grpc.StatusCode.NOT_FOUND:
                    raise
                return HealthStatus.SERVICE_UNKNOWN
            if status is not HealthStatus.SERVING:
                return status
        return HealthStatus.SERVING

    def close(self) -> None:
        """Ends calls in flight with CallCancelledError and disconnects. May be called again."""
        self._closed = True
        if self._given_channel is None:
            for lane in self._lanes:
                lane.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lane(self) -> _Lane:
        # Counting is one step of the interpreter's, so threads need no lock.
        lanes = self._lanes
        return lanes[0] if len(lanes) == 1 else lanes[next(self._turn) % len(lanes)]

    def _call(self, method: Callable[..., _Answer], question: object, timeout_s: float) -> _Answer:
        if self._closed:
            raise ClientClosedError
        try:
            return method(question, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise decode_rpc_error(error) from error
        except ValueError as error:
            # What grpcio raises if another thread has closed the channel since.
            if self._closed:
                raise ClientClosedError from error
            raise


def _write_stream(requests: Iterable[RequestLike], failures: list[Exception]) -> Iterator[RouteStreamRequest]:
    """The messages of a stream; what goes wrong with a request ends them, and is left in `failures`."""
    # grpcio would log what is raised here, and tell the caller nothing but that something was.
    try:
        for request in requests:
            yield RouteStreamRequest(request=build_request(request))
    except Exception as error:
        failures.append(error)
