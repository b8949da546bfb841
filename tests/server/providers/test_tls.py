"""The transport over TLS: connections are kept, cancelled calls end at once, and strangers are not trusted."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import uvloop
from turnout_server.providers.aiohttp_transport import AiohttpTransport
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.transport import HttpRequest, TransportError

from tests.server.providers.loopback import Peer, loopback

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


async def scenario(certificate: Path, key: Path) -> None:
    """Two answers on one connection, a cancelled call, and a client that does not know the certificate."""
    waiting, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.respond(b"hello")
        await peer.request()
        waiting.set()
        await peer.gone()
        gone.set()

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    trusting = AiohttpTransport(tls=ssl.create_default_context(cafile=str(certificate)))
    strange = AiohttpTransport()
    async with asyncio.timeout(30), loopback(script, tls=server) as upstream:
        request = HttpRequest(f"{upstream.url}/x", {}, b"{}")

        async def body(transport: AiohttpTransport) -> bytes:
            async with transport.open(request, 5.0) as exchange:
                found = await exchange.read()
                assert await exchange.read() == b""
                return found

        assert [await body(trusting), await body(trusting)] == [b"hello", b"hello"]
        task = asyncio.create_task(body(trusting))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
        assert len(upstream.peers) == 1
        with pytest.raises(TransportError) as caught:
            await body(strange)
        assert caught.value.kind is FaultKind.CONNECTION
        await trusting.close()
        await strange.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls(certificate: tuple[Path, Path], loop: str) -> None:
    run = asyncio.run if loop == "asyncio" else uvloop.run
    run(scenario(*certificate))
