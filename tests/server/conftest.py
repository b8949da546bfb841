"""A small bundle, a policy file, and servers on ports of their own."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.json_format import ParseDict
from turnout.v1 import completion_pb2_grpc, routing_pb2_grpc
from turnout.v1.routing_pb2 import RouteRequest
from turnout_fastpath import load_policy
from turnout_server.observability.logs import configure_logs
from turnout_server.serving import Service
from turnout_server.settings import LogFormat, LogLevel, Settings

from tests.server.small_bundle import make_small_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes that are started with the default store write it here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def document() -> dict[str, Any]:
    """The shipped policy, with a second one that wants much time."""
    document = load_policy()
    hasty = json.loads(json.dumps(document["policies"]["default"]))
    hasty["limits"]["least_time_ms"] = 60_000.0
    document["policies"]["hasty"] = hasty
    # Room for the longest text that the contract allows.
    for deployment in document["tiers"][-1]["chain"]:
        deployment["context_window"] = 100_000_000
    return document


@pytest.fixture
def policy(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def settings(bundle: Path, policy: Path) -> Settings:
    return Settings(
        host="127.0.0.1",
        port=0,
        metrics_port=None,
        bundle=bundle,
        policy=policy,
        store="off",
        log_sample=0.0,
        drain_grace_s=0.0,
        drain_s=5.0,
    )


@pytest.fixture
def log() -> Iterator[io.TextIOWrapper]:
    """All that is logged during the test; `read_log` reads it."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    configure_logs(LogLevel.DEBUG, LogFormat.JSON, stream)
    yield stream
    structlog.reset_defaults()


def request_of(wire: dict[str, Any]) -> RouteRequest:
    """A request from its JSON form."""
    return ParseDict(wire, RouteRequest())


def read_log(stream: io.TextIOWrapper) -> list[dict[str, Any]]:
    raw: bytes = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return [json.loads(line) for line in raw.splitlines()]


class Running:
    """A service that listens, and a client of it."""

    def __init__(self, service: Service, port: int, channel: grpc.aio.Channel) -> None:
        self.service = service
        self.port = port
        self.channel = channel
        self.stub: Any = routing_pb2_grpc.RoutingServiceStub(channel)
        self.completions: Any = completion_pb2_grpc.CompletionServiceStub(channel)

    def raw(self, method: str) -> Callable[..., Any]:
        """A call that sends and receives bytes."""
        path = f"/turnout.v1.RoutingService/{method}"
        return self.channel.unary_unary(path, None, None)

    def raw_stream(self, method: str) -> Callable[..., Any]:
        """A stream that sends and receives bytes."""
        path = f"/turnout.v1.RoutingService/{method}"
        return self.channel.stream_stream(path, None, None)


@contextlib.asynccontextmanager
async def started(settings: Settings, *, opened: bool = True) -> AsyncIterator[Running]:
    service = Service(settings)
    port = await service.port.start()
    if opened:
        await service.port.open()
    # Not shared with other tests: grpc keeps one connection for equal targets and options.
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
    try:
        yield Running(service, port, channel)
    finally:
        await channel.close(None)
        await service.port.stop()
        await service.close()


@pytest.fixture
async def running(settings: Settings, log: object) -> AsyncIterator[Running]:
    async with started(settings) as running:
        yield running
