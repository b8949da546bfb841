"""The aiohttp transport on real sockets: what is kept, what is aborted, and which fault is which."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import uvloop
from turnout_server.providers.aiohttp_transport import AiohttpTransport
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.transport import HttpRequest, TransportError

from tests.server.providers.loopback import Loopback, Peer, loopback

CONNECT_S = 5.0
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.close()


def post(upstream: Loopback, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest(f"{upstream.url}/v1/x?a=%2F", {"Content-Type": "application/json"}, body)


async def body_of(transport: AiohttpTransport, request: HttpRequest) -> bytes:
    async with transport.open(request, CONNECT_S) as exchange:
        body = b""
        while chunk := await exchange.read():
            body += chunk
        return body


async def answer(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.respond(b"hello", headers="Set-Cookie: a=b\r\n")


async def test_a_read_body_keeps_its_connection(transport: AiohttpTransport) -> None:
    async with loopback(answer) as upstream:
        for _ in range(3):
            assert await body_of(transport, post(upstream)) == b"hello"
        assert len(upstream.peers) == 1
        head = upstream.peers[0].requests[-1]
    assert head.startswith(b"POST /v1/x?a=%2F HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"ookie" not in head
    assert b"gzip" not in head


async def test_an_unread_body_does_not(transport: AiohttpTransport) -> None:
    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await peer.gone()

    async with loopback(slow) as upstream:
        for _ in range(2):
            async with transport.open(post(upstream), CONNECT_S) as exchange:
                assert exchange.status == 200
                assert exchange.headers["content-length"] == "9"
        assert len(upstream.peers) == 2


async def test_half_a_body_is_a_cut(transport: AiohttpTransport) -> None:
    async def half(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    async with loopback(half) as upstream:
        with pytest.raises(TransportError) as caught:
            await body_of(transport, post(upstream))
    assert caught.value.kind is FaultKind.CUT


async def test_half_a_chunked_body_is_a_cut(transport: AiohttpTransport) -> None:
    async def half(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        if peer.number == 2:
            peer.reset()

    async with loopback(half) as upstream:
        for _ in range(2):
            with pytest.raises(TransportError) as caught:
                await body_of(transport, post(upstream))
            assert caught.value.kind is FaultKind.CUT


@pytest.mark.parametrize("by_reset", [True, False])
async def test_a_kept_connection_that_was_closed_is_stale(
    transport: AiohttpTransport, by_reset: bool
) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        if peer.number < 3:
            await peer.respond(b"hello")
            await peer.request()
        if by_reset:
            peer.reset()

    async with loopback(once) as upstream:
        for _ in range(2):
            assert await body_of(transport, post(upstream)) == b"hello"
            with pytest.raises(TransportError) as caught:
                await body_of(transport, post(upstream))
            assert caught.value.kind is FaultKind.STALE_CONNECTION
        # The third connection is fresh, and lost before any byte.
        with pytest.raises(TransportError) as caught:
            await body_of(transport, post(upstream))
        assert caught.value.kind is FaultKind.CONNECTION
        assert len(upstream.peers) == 3


async def test_a_refused_connection(transport: AiohttpTransport) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        request = HttpRequest(f"http://127.0.0.1:{free.getsockname()[1]}/", {}, b"")
        with pytest.raises(TransportError) as caught:
            await body_of(transport, request)
    assert caught.value.kind is FaultKind.CONNECTION


async def test_a_server_that_speaks_no_tls(transport: AiohttpTransport) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"hello")

    async with loopback(plain) as upstream:
        request = HttpRequest(upstream.url.replace("http:", "https:") + "/", {}, b"")
        with pytest.raises(TransportError) as caught:
            await body_of(transport, request)
    assert caught.value.kind is FaultKind.CONNECTION


async def test_a_handshake_that_takes_too_long(transport: AiohttpTransport) -> None:
    async def silent(peer: Peer) -> None:
        await peer.gone()

    async with loopback(silent) as upstream:
        request = HttpRequest(upstream.url.replace("http:", "https:") + "/", {}, b"")
        with pytest.raises(TransportError) as caught:
            async with transport.open(request, 0.05):
                pass
    assert caught.value.kind is FaultKind.CONNECTION


@pytest.mark.parametrize(
    "response",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"],
    ids=["no_status", "odd_status", "long_header"],
)
async def test_what_is_no_http_is_malformed(transport: AiohttpTransport, response: bytes) -> None:
    async def nonsense(peer: Peer) -> None:
        await peer.request()
        await peer.send(response)
        await peer.gone()

    async with loopback(nonsense) as upstream:
        with pytest.raises(TransportError) as caught:
            await body_of(transport, post(upstream))
    assert caught.value.kind is FaultKind.MALFORMED
    assert "nonsense" not in str(caught.value)


async def test_an_address_that_is_none(transport: AiohttpTransport) -> None:
    with pytest.raises(TransportError) as caught:
        await body_of(transport, HttpRequest("http:///v1", {}, b""))
    assert caught.value.kind is FaultKind.CONFIGURATION


async def test_redirects_and_proxies_are_not_followed(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def redirect(peer: Peer) -> None:
        await peer.request()
        await peer.respond(b"", "307 Temporary Redirect", "Location: /elsewhere\r\n")

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with loopback(redirect) as upstream, transport.open(post(upstream), CONNECT_S) as exchange:
        assert exchange.status == 307
        assert len(upstream.peers[0].requests) == 1


async def test_a_proxy_that_is_set_is_used() -> None:
    async with loopback(answer) as proxy:
        transport = AiohttpTransport(proxy=proxy.url, tls=ssl.create_default_context())
        assert await body_of(transport, HttpRequest("http://192.0.2.1/x", {}, b"{}")) == b"hello"
        await transport.close()
        assert proxy.peers[0].requests[0].startswith(b"POST http://192.0.2.1/x HTTP/1.1")


async def test_small_writes_leave_at_once(transport: AiohttpTransport) -> None:
    async def stream(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await peer.gone()

    async with loopback(stream) as upstream, transport.open(post(upstream), CONNECT_S) as exchange:
        connection = exchange._response.connection  # type: ignore[attr-defined]
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("phase", ["headers", "body"])
async def test_cancelling_aborts_the_socket(transport: AiohttpTransport, phase: str) -> None:
    waiting, gone = asyncio.Event(), asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.request()
        if phase == "body":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        waiting.set()
        await peer.gone()
        gone.set()

    async with loopback(silent) as upstream:
        task = asyncio.create_task(body_of(transport, post(upstream)))
        await waiting.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await gone.wait()


async def test_cancelling_does_not_wait_for_a_large_request_to_be_sent(transport: AiohttpTransport) -> None:
    accepted, read_on = asyncio.Event(), asyncio.Event()

    async def lazy(peer: Peer) -> None:
        accepted.set()
        await read_on.wait()

    async with loopback(lazy) as upstream:
        task = asyncio.create_task(body_of(transport, post(upstream, b"x" * (32 << 20))))
        await accepted.wait()
        # Until the socket's buffers are full.
        await asyncio.sleep(0.05)
        open_files = len(list(DESCRIPTORS.iterdir()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The upstream has read nothing yet, and still the socket is closed.
        async with asyncio.timeout(5):
            while len(list(DESCRIPTORS.iterdir())) >= open_files:
                await asyncio.sleep(0)
        read_on.set()


async def test_closing_leaves_nothing_open() -> None:
    transport = AiohttpTransport()
    await transport.close()
    gone = asyncio.Event()

    async def kept(peer: Peer) -> None:
        await peer.request()
        await peer.respond(b"hello")
        await peer.gone()
        gone.set()

    async with loopback(kept) as upstream:
        await body_of(transport, post(upstream))
        await transport.close()
        async with asyncio.timeout(5):
            await gone.wait()


Scenario = Callable[[AiohttpTransport], Awaitable[None]]
SCENARIOS: list[Scenario] = [
    test_a_read_body_keeps_its_connection,
    test_half_a_body_is_a_cut,
    test_half_a_chunked_body_is_a_cut,
    partial(test_a_kept_connection_that_was_closed_is_stale, by_reset=True),
    partial(test_a_kept_connection_that_was_closed_is_stale, by_reset=False),
    test_a_handshake_that_takes_too_long,
    test_small_writes_leave_at_once,
    partial(test_cancelling_aborts_the_socket, phase="headers"),
    partial(test_cancelling_aborts_the_socket, phase="body"),
    test_cancelling_does_not_wait_for_a_large_request_to_be_sent,
]


@pytest.mark.parametrize("number", range(len(SCENARIOS)))
def test_the_servers_own_loop_does_the_same(number: int) -> None:
    async def run() -> None:
        transport = AiohttpTransport()
        try:
            async with asyncio.timeout(30):
                await SCENARIOS[number](transport)
        finally:
            await transport.close()

    uvloop.run(run())
