"""A decision port on a port of its own, beside nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from turnout.v1 import routing_pb2_grpc
from turnout_fastpath import Engine
from turnout_server.doors.decision_port.port import DecisionPort, Limits
from turnout_server.observability.metrics import Metrics, Sums, add_up
from turnout_server.routing import Router
from turnout_server.settings import Settings


class RunningPort:
    """A port that listens, and a client of it."""

    def __init__(self, port: DecisionPort, number: int, engine: Engine, metrics: Metrics) -> None:
        self.port = port
        self.number = number
        self.engine = engine
        self._metrics = metrics
        # Not shared with other tests: grpc keeps one connection for equal targets and options.
        self.channel: Any = grpc.aio.insecure_channel(
            f"127.0.0.1:{number}",
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        self.stub: Any = routing_pb2_grpc.RoutingServiceStub(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def hang_up(self) -> None:
        """Closes the client's connection, which grpc keeps as long as anything refers to the channel."""
        if self.channel is not None:
            await self.channel.close(None)
        self.channel = self.stub = self.health = None
        gc.collect()

    def count(self, family: str, *labels: str) -> float:
        """A counter's value, or a histogram's number of observations; 0 if there is none."""
        sums: Sums = add_up([self._metrics.sums(), self.port.sums()])
        for name, found, values in sums.values:
            if name == family and found == labels:
                return values[0] if len(values) == 1 else sum(values[:-1])
        return 0.0


@contextlib.asynccontextmanager
async def started_port(
    settings: Settings, *, opened: bool = True, limits: Limits | None = None, bundle: Path | None = None
) -> AsyncIterator[RunningPort]:
    metrics = Metrics()
    engine = Engine.load(bundle or settings.bundle, _document(settings))
    port = DecisionPort(settings, Router(engine, metrics), metrics, limits=limits)
    running = RunningPort(port, await port.start(), engine, metrics)
    try:
        if opened:
            await port.open()
        yield running
    finally:
        await running.hang_up()
        await port.stop()


def _document(settings: Settings) -> Any:
    from turnout_server.reloading import Source

    return Source(settings.policy, settings.bundle).document()


@pytest.fixture
def port_settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, decision_port=0)


@pytest.fixture
async def running_port(port_settings: Settings, log: object) -> AsyncIterator[RunningPort]:
    async with started_port(port_settings) as running:
        yield running
