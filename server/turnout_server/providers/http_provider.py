"""One upstream call over HTTP: send, time, read, and turn all that can go wrong into one kind of error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

from turnout_server.providers.call_timer import CallTimer
from turnout_server.providers.chat import ChatResponse, StreamEvent, TextDelta, UsageUpdate
from turnout_server.providers.credentials import CredentialError
from turnout_server.providers.error_mapping import NativeError, classify, classify_body
from turnout_server.providers.event_stream import EventStream, StreamBroken
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.json_fields import WireError
from turnout_server.providers.protocol import Clock, ProviderCall, UpstreamError
from turnout_server.providers.retry_after import parse_retry_after
from turnout_server.providers.transport import Exchange, Transport, TransportError
from turnout_server.providers.wire import Encoded, NotCarried, StreamReader, UpstreamTold, WireFormat

MAX_BODY_BYTES = 32 << 20
MAX_ERROR_BYTES = 64 << 10
# An error's status alone says enough where its body is slow.
ERROR_BODY_S = 1.0
# After the end mark only the end of the body, which lets the connection be kept.
DRAIN_S = 0.05

_REQUEST_ID_HEADERS = ("request-id", "x-request-id", "apim-request-id", "x-goog-request-id")
_MAX_ID_CHARS = 128


class HttpProvider:
    """A wire format over a transport."""

    def __init__(
        self,
        wire: WireFormat,
        transport: Transport,
        clock: Clock = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Speaks `wire` over `transport`.

        Args:
            wire: conversion of requests and responses.
            transport: sends them.
            clock: monotonic seconds, in which deadlines are.
            wall: seconds since the epoch, for Retry-After dates.
        """
        self._wire = wire
        self._transport = transport
        self._clock = clock
        self._wall = wall

    async def complete(self, call: ProviderCall) -> ChatResponse:
        """See `Provider.complete`."""
        timer = CallTimer(call.limits, self._clock, stream=False)
        encoded = self._encode(call, stream=False)
        async with AsyncExitStack() as stack:
            exchange, encoded = await self._open(stack, call, encoded, timer, stream=False)
            body = await self._read_body(exchange, timer, MAX_BODY_BYTES)
        request_id = _request_id(exchange)
        try:
            response = self._wire.decode(body, call)
        except UpstreamTold as told:
            raise self._told(exchange, told, request_id) from None
        except WireError:
            raise _fault(FaultKind.MALFORMED, exchange, request_id=request_id) from None
        return replace(
            response,
            request_id=response.request_id or request_id,
            ignored=(*encoded.ignored, *response.ignored),
        )

    async def stream(self, call: ProviderCall) -> AsyncGenerator[StreamEvent, None]:
        """See `Provider.stream`."""
        timer = CallTimer(call.limits, self._clock, stream=True)
        encoded = self._encode(call, stream=True)
        reader = self._wire.reader(call)
        partial: list[str] = []
        content_seen = False
        async with AsyncExitStack() as stack:
            exchange, encoded = await self._open(stack, call, encoded, timer, stream=True)
            request_id = _request_id(exchange)
            if not _is_event_stream(exchange):
                raise await self._no_stream(exchange, call, timer)
            events = EventStream(exchange, reader, timer, MAX_BODY_BYTES)
            try:
                while (found := await events.more()) is not None:
                    for event in found:
                        if isinstance(event, TextDelta):
                            partial.append(event.text)
                        if not isinstance(event, UsageUpdate):
                            content_seen = True
                            timer.content()
                        timer.hold()
                        yield event
                        timer.resume()
            except UpstreamTold as told:
                error = self._told(exchange, told, request_id)
                raise _with_partial(error, partial, content_seen, reader) from None
            except StreamBroken as broken:
                error = _fault(broken.kind, exchange, request_id=request_id)
                raise _with_partial(error, partial, content_seen, reader) from None
            finished = reader.finish()
            yield replace(
                finished,
                request_id=finished.request_id or request_id,
                ignored=(*encoded.ignored, *finished.ignored),
            )
            await _drain(exchange)

    def _encode(self, call: ProviderCall, *, stream: bool) -> Encoded:
        try:
            key = call.target.key.key().reveal() if call.target.key else None
        except CredentialError:
            raise UpstreamError(FaultKind.CONFIGURATION, field="credentials") from None
        try:
            return self._wire.encode(call, key, stream=stream)
        except NotCarried as error:
            raise UpstreamError(FaultKind.BAD_REQUEST, field=error.field) from None

    async def _open(
        self, stack: AsyncExitStack, call: ProviderCall, encoded: Encoded, timer: CallTimer, *, stream: bool
    ) -> tuple[Exchange, Encoded]:
        """A successful response's headers; a rejected key is read again once, for it may have been rotated."""
        exchange = await self._send(stack, call, encoded, timer)
        if exchange.status == 401 and call.target.key is not None and call.target.key.reread():
            await stack.aclose()
            encoded = self._encode(call, stream=stream)
            exchange = await self._send(stack, call, encoded, timer)
        if not 200 <= exchange.status < 300:
            raise await self._http_error(exchange, timer)
        return exchange, encoded

    async def _send(
        self, stack: AsyncExitStack, call: ProviderCall, encoded: Encoded, timer: CallTimer
    ) -> Exchange:
        connect_s = timer.clip(call.limits.connect_s)
        if connect_s <= 0:
            raise UpstreamError(FaultKind.DEADLINE)
        try:
            async with timer.waiting():
                return await stack.enter_async_context(self._transport.open(encoded.http, connect_s))
        except TransportError as error:
            raise UpstreamError(
                error.kind, native_code=error.cause, bytes_seen=error.kind is FaultKind.MALFORMED
            ) from None
        except TimeoutError:
            raise UpstreamError(timer.expired()) from None

    async def _http_error(self, exchange: Exchange, timer: CallTimer) -> UpstreamError:
        body = b""
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(max(timer.clip(ERROR_BODY_S), 0.0)):
                body = await self._read_body(exchange, timer, MAX_ERROR_BYTES, whole=False)
        return self._error(exchange, classify_body(exchange.status, body), _request_id(exchange))

    async def _read_body(
        self, exchange: Exchange, timer: CallTimer, limit_bytes: int, *, whole: bool = True
    ) -> bytes:
        body = bytearray()
        while True:
            try:
                async with timer.waiting():
                    chunk = await exchange.read()
            except TransportError as error:
                raise _fault(error.kind, exchange, request_id=_request_id(exchange)) from None
            except TimeoutError:
                raise _fault(timer.expired(), exchange, request_id=_request_id(exchange)) from None
            if not chunk:
                return bytes(body)
            timer.content()
            body += chunk
            if len(body) > limit_bytes:
                if whole:
                    raise _fault(FaultKind.MALFORMED, exchange, request_id=_request_id(exchange))
                return bytes(body[:limit_bytes])

    async def _no_stream(self, exchange: Exchange, call: ProviderCall, timer: CallTimer) -> UpstreamError:
        """What a success is that says to be no event stream: an error told in JSON, or not the wire format."""
        request_id = _request_id(exchange)
        body = await self._read_body(exchange, timer, MAX_ERROR_BYTES, whole=False)
        with suppress(WireError):
            try:
                self._wire.decode(body, call)
            except UpstreamTold as told:
                return self._told(exchange, told, request_id)
        return _fault(FaultKind.MALFORMED, exchange, request_id=request_id)

    def _told(self, exchange: Exchange, told: UpstreamTold, request_id: str) -> UpstreamError:
        return self._error(exchange, classify(200, told.error), request_id)

    def _error(self, exchange: Exchange, native: NativeError, request_id: str) -> UpstreamError:
        return UpstreamError(
            native.kind,
            http_status=exchange.status,
            native_code=native.code,
            retry_after_s=parse_retry_after(exchange.headers, native.details, wall_s=self._wall()),
            bytes_seen=True,
            request_id=request_id,
        )


async def _drain(exchange: Exchange) -> None:
    """Reads the end of the body, so that the connection can be kept; gives up soon."""
    with suppress(TransportError, TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while await exchange.read():
                pass


def _fault(kind: FaultKind, exchange: Exchange, *, request_id: str) -> UpstreamError:
    return UpstreamError(kind, http_status=exchange.status, bytes_seen=True, request_id=request_id)


def _with_partial(
    error: UpstreamError, partial: list[str], content_seen: bool, reader: StreamReader
) -> UpstreamError:
    error.partial_text = "".join(partial)
    error.content_seen = content_seen
    error.usage = reader.usage
    return error


def _is_event_stream(exchange: Exchange) -> bool:
    """True unless the type says otherwise; some servers do not give one."""
    told = exchange.headers.get("content-type", "").lower()
    return not told.startswith(("application/json", "text/html"))


def _request_id(exchange: Exchange) -> str:
    for name in _REQUEST_ID_HEADERS:
        if found := exchange.headers.get(name):
            return found[:_MAX_ID_CHARS]
    return ""
