"""The service with the door for Envoy, before two fake providers and behind a real Envoy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from turnout_server.decision_serving import DecisionService
from turnout_server.serving import Service
from turnout_server.settings import Settings

from tests.server.ext_proc.envoys import Envoy, running
from tests.server.ext_proc.providers import FakeProvider, providing


@dataclass(frozen=True)
class Gateway:
    """All that takes part; `service` is whichever port's."""

    envoy: Envoy
    service: Service | DecisionService
    turnout_port: int
    cheap: FakeProvider
    strong: FakeProvider


Opener: TypeAlias = Callable[..., AbstractAsyncContextManager[Gateway]]


def policy() -> dict[str, Any]:
    """Two tiers, whose deployments are docs/envoy.yaml's clusters."""

    def deployment(name: str, model: str) -> dict[str, Any]:
        windows = {"context_window": 1_000_000, "max_output_tokens": 4096, "modalities": ["text", "image"]}
        return {"name": name, "provider": "openai", "model": model, "price": model, **windows}

    def price(usd: float) -> dict[str, Any]:
        return {"version": "2026-11-01", "input_usd_per_mtok": usd, "output_usd_per_mtok": 4 * usd}

    rules = [
        {"name": "contracts", "when": {"keywords": ["contract"]}, "then": {"tier": "frontier"}},
        {"name": "acme", "when": {"tenant": ["acme"]}, "then": {"tier": "frontier"}},
    ]
    return {
        "version": 1,
        "default_policy": "default",
        "prices": {"cheap-1": price(0.5), "strong-1": price(5.0)},
        "tiers": [
            {"name": "small", "head": "small", "chain": [deployment("cheap", "cheap-1")]},
            {"name": "frontier", "chain": [deployment("strong", "strong-1")]},
        ],
        "policies": {
            "default": {"safe_tier": "small", "bars": {"default": 0.0}, "rules": rules},
            "careful": {"safe_tier": "frontier", "min_tier": "frontier", "bars": {"default": 0.9}},
        },
    }


@asynccontextmanager
async def serving(
    folder: Path, *, decision_port: bool, **knobs: Any
) -> AsyncIterator[tuple[Service | DecisionService, int]]:
    """The service with its door open, on either port, and that port."""
    path = folder / "policy.json"
    path.write_text(json.dumps(policy()), encoding="utf-8")
    told: dict[str, Any] = {"store": "off", "ext_proc": True, "drain_grace_s": 0.0} | knobs
    settings = Settings(
        host="127.0.0.1",
        port=0,
        metrics_port=None,
        policy=path,
        decision_port=0,
        log_sample=0.0,
        **told,
    )
    service = DecisionService(settings) if decision_port else Service(settings)
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def on_ready(port: int) -> None:
        ready.set_result(port)

    task = asyncio.ensure_future(service.run(stop, on_ready))
    try:
        # One that cannot start ends, and says why.
        await asyncio.wait([task, asyncio.ensure_future(_until(ready))], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield service, ready.result()
    finally:
        stop.set()
        await task


async def _until(ready: asyncio.Future[int]) -> None:
    await ready


@pytest.fixture(params=[False, True], ids=["main", "decision"])
def gateway(tmp_path: Path, request: pytest.FixtureRequest) -> Opener:
    """Opens a gateway; keywords: `filter_changes` of Envoy's filter, and knobs of the service."""

    @asynccontextmanager
    async def open_gateway(
        filter_changes: Mapping[str, Any] | None = None, **knobs: Any
    ) -> AsyncIterator[Gateway]:
        async with (
            providing("cheap") as cheap,
            providing("strong") as strong,
            serving(tmp_path, decision_port=request.param, **knobs) as (service, port),
        ):
            ports = {"turnout": port, "cheap": cheap.port, "strong": strong.port}
            async with running(tmp_path, ports, filter_changes) as envoy:
                yield Gateway(envoy, service, port, cheap, strong)

    return open_gateway
