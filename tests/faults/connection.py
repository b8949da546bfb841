"""HTTP/1.1 on a socket whose every byte and end is the server's own doing."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from tests.faults.ledger import Closer, Ledger, SeenConnection

MAX_HEAD_BYTES = 64 << 10
MAX_BODY_BYTES = 64 << 20
CHUNK = re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n")
# Lingering for no time at all: closing sends a reset instead of the rest.
LINGER_0 = struct.pack("ii", 1, 0)


class PeerLeftError(Exception):
    """The peer closed the connection."""


class BadRequestError(Exception):
    """The bytes are not HTTP/1.1, or too many."""


@dataclass(frozen=True)
class HttpRequest:
    """A request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """One accepted connection; serves its requests one after another.

    Args:
        serve: answers a request on this connection.
        ledger: where it counts.
    """

    def __init__(self, serve: Callable[[Connection, HttpRequest], Awaitable[None]], ledger: Ledger) -> None:
        self._serve = serve
        self._ledger = ledger
        self._buffer = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self._wake = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self.open = True
        self.task: asyncio.Task[None] | None = None
        self.peer_left = False
        self.seen: SeenConnection = cast("SeenConnection", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seen = self._ledger.connect()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        self._serve_next()

    def eof_received(self) -> bool:
        """See asyncio.Protocol. A peer that sends no more is taken to have left: HTTP clients do not half-close."""
        self._leave(reset=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.open = False
        self._leave(reset=exc is not None)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    async def send(self, data: bytes) -> None:
        """Writes at once; waits while the peer does not read. Raises PeerLeftError."""
        if self.peer_left or self._transport is None:
            raise PeerLeftError
        self._transport.write(data)
        # A turn of the loop, so that what the peer did meanwhile is known before the next write.
        await asyncio.sleep(0)
        await self._writable.wait()
        if self.peer_left:
            raise PeerLeftError

    async def hold(self, duration_s: float) -> None:
        """Waits, at most so long, or until `release`. Raises PeerLeftError as soon as the peer leaves."""
        self._wake.clear()
        if not self.peer_left:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(duration_s):
                    await self._wake.wait()
        if self.peer_left:
            raise PeerLeftError

    def release(self) -> None:
        """Ends a wait."""
        self._wake.set()

    def close(self) -> None:
        """Sends what is written, then FIN."""
        if self._transport is not None and not self._closing:
            self._closing = True
            self._ledger.disconnect(self.seen, Closer.SERVER)
            self._transport.close()

    def reset(self) -> None:
        """Ends the connection by a TCP reset."""
        if self._transport is not None and not self._closing:
            self._closing = True
            self._ledger.disconnect(self.seen, Closer.SERVER)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            self._transport.abort()

    def _leave(self, *, reset: bool) -> None:
        if not self.peer_left:
            self.peer_left = True
            self._ledger.disconnect(self.seen, Closer.PEER, reset=reset)
            self._wake.set()
            self._writable.set()

    def _serve_next(self) -> None:
        if self._closing or self.peer_left or self.task is not None:
            return
        try:
            request = take_request(self._buffer)
        except BadRequestError:
            self.reset()
            return
        if request is not None:
            self.seen.requests += 1
            self.task = asyncio.create_task(self._serve_one(request))

    async def _serve_one(self, request: HttpRequest) -> None:
        with contextlib.suppress(PeerLeftError):
            await self._serve(self, request)
        self.task = None
        if request.headers.get("connection", "").lower() == "close":
            self.close()
        self._serve_next()


def take_request(buffer: bytearray) -> HttpRequest | None:
    """Takes the first request off a buffer; None if it is not whole yet. Raises BadRequestError."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MAX_HEAD_BYTES:
            raise BadRequestError(f"head: over {MAX_HEAD_BYTES} bytes")
        return None
    first, *lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    try:
        method, path, version = first.split(" ")
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise BadRequestError(f"head: {error}") from error
    if not version.startswith("HTTP/1."):
        raise BadRequestError(f"version: {version!r}, HTTP/1.1 needed")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        found = _find_chunks(buffer, end + 4)
        if found is None:
            return None
        body, rest = found
    else:
        if not 0 <= length <= MAX_BODY_BYTES:
            raise BadRequestError(f"content-length: {length}, at most {MAX_BODY_BYTES} allowed")
        rest = end + 4 + length
        if len(buffer) < rest:
            return None
        body = bytes(buffer[end + 4 : rest])
    del buffer[:rest]
    return HttpRequest(method, path, headers, body)


def _find_chunks(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    """A chunked body from `start`, and where it ends; None if it is not whole yet."""
    body = bytearray()
    while (head := CHUNK.match(buffer, start)) is not None:
        size = int(head[1], 16)
        start = head.end() + size + 2
        if len(body) + size > MAX_BODY_BYTES:
            raise BadRequestError(f"body: over {MAX_BODY_BYTES} bytes")
        if len(buffer) < start:
            return None
        if size == 0:
            return bytes(body), start
        body += buffer[head.end() : head.end() + size]
    return None
