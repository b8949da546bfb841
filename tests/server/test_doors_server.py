"""The main port: addresses, TLS, and what is said when it cannot be had."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
from pathlib import Path

import grpc
import pytest
from turnout.v1 import routing_pb2_grpc
from turnout.v1.routing_pb2 import RouteRequest
from turnout_server.lifecycle import StartError
from turnout_server.serving import Service
from turnout_server.settings import Settings

from tests.server.conftest import started


async def check_refused(settings: Settings, message: str) -> None:
    service = Service(settings)
    with pytest.raises(StartError) as caught:
        await service.port.start()
    assert str(caught.value) == message
    await service.port.stop()


async def test_a_port_that_is_taken(settings: Settings, log: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"cannot listen on 127.0.0.1:{port}: Address already in use"
        await check_refused(dataclasses.replace(settings, port=port), message)


async def test_an_address_of_another_machine(settings: Settings, log: object) -> None:
    # TEST-NET-1 of RFC 5737, which no machine has.
    message = "cannot listen on 192.0.2.1:0: Cannot assign requested address"
    await check_refused(dataclasses.replace(settings, host="192.0.2.1"), message)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    )
    subject = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *subject], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


async def test_tls(settings: Settings, log: object, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    async with started(dataclasses.replace(settings, tls_cert=cert, tls_key=key)) as running:
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{running.port}", credentials) as channel:
            response = await routing_pb2_grpc.RoutingServiceStub(channel).Route(RouteRequest(prompt="hello"))
            assert response.tier


async def test_a_certificate_that_cannot_be_used(settings: Settings, log: object, tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    broken = dataclasses.replace(settings, tls_cert=path, tls_key=path)
    await check_refused(broken, f"{path}: No such file or directory")
    path.write_text("no certificate")
    message = "cannot listen on 127.0.0.1:0: the certificate or key cannot be used"
    await check_refused(broken, message)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
async def test_ipv6(settings: Settings, log: object) -> None:
    service = Service(dataclasses.replace(settings, host="::1"))
    port = await service.port.start()
    await service.port.open()
    async with grpc.aio.insecure_channel(f"[::1]:{port}") as channel:
        response = await routing_pb2_grpc.RoutingServiceStub(channel).Route(RouteRequest(prompt="hello"))
        assert response.tier
    await service.port.stop()
