"""A store's bundle is promoted and rolled back under a server that answers all the while."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from pathlib import Path

from turnout.v1.routing_pb2 import RouteRequest
from turnout_fastpath.bundle import load_bundle
from turnout_server.bundle_store import BundleStore
from turnout_server.lifecycle import running as in_background
from turnout_server.settings import Settings

from tests.server.conftest import read_log, started
from tests.server.small_bundle import make_small_bundle


async def test_no_request_fails_while_bundles_change(
    settings: Settings, log: io.TextIOWrapper, tmp_path: Path
) -> None:
    bundles = [load_bundle(make_small_bundle(tmp_path / f"b{seed}", seed=seed)) for seed in range(3)]
    store = BundleStore(tmp_path / "store")
    store.promote(bundles[0], who="test")
    serving = dataclasses.replace(settings, bundle=store.folder / "current")
    async with started(serving) as running:
        done = asyncio.Event()
        seen: dict[str, set[float]] = {}
        count = 0

        async def call() -> None:
            nonlocal count
            while not done.is_set():
                response = await running.stub.Route(RouteRequest(prompt="what is the capital"))
                seen.setdefault(response.revisions.bundle, set()).add(response.candidates[0].p_sufficient)
                count += 1

        callers = [asyncio.create_task(call()) for _ in range(8)]

        async def wait_for(revision: str) -> None:
            async with asyncio.timeout(30):
                while revision not in seen:
                    await asyncio.sleep(0)

        # The watch looks at the files while links are renamed, as in `turnout serve`.
        async with in_background(running.service.reloader.watch(0.001)):
            await wait_for(bundles[0].revision.hex())
            for bundle in bundles[1:]:
                await asyncio.to_thread(store.promote, bundle, who="test")
                await wait_for(bundle.revision.hex())
            for expected in (bundles[1], bundles[0]):
                seen.clear()
                await asyncio.to_thread(store.rollback, who="test")
                await wait_for(expected.revision.hex())
        done.set()
        await asyncio.gather(*callers)
    assert count > 0
    # One revision, one answer: no decision mixed two bundles.
    assert all(len(answers) == 1 for answers in seen.values())
    assert [line for line in read_log(log) if line["event"] == "config_rejected"] == []
