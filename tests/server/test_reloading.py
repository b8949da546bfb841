"""Policy and bundle are swapped under load, or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from turnout.v1.routing_pb2 import RouteRequest
from turnout_fastpath import StateBlock
from turnout_server.lifecycle import running as in_background
from turnout_server.lifecycle import watch_signals
from turnout_server.reloading import ConfigurationError, ReloadResult, Source
from turnout_server.settings import Settings

from tests.server.conftest import Running, read_log, started
from tests.server.small_bundle import make_small_bundle


def write(path: Path, document: dict[str, Any]) -> None:
    """As an editor does it: whole, under another name, then renamed."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.rename(path)


def reloads(running: Running) -> dict[str, float]:
    return {
        labels[0]: values[0]
        for name, labels, values in running.service.metrics.sums().values
        if name == "turnout_config_reloads"
    }


async def test_nothing_is_read_while_nothing_changes(running: Running) -> None:
    assert await running.service.reloader.look() is None
    assert await running.service.reloader.look() is None


async def test_a_changed_policy_decides(running: Running, policy: Path, document: dict[str, Any]) -> None:
    before = await running.stub.Route(RouteRequest(prompt="hello"))
    document["policies"]["default"]["min_tier"] = document["policies"]["default"]["max_tier"] = "mid"
    write(policy, document)
    assert await running.service.reloader.look() is ReloadResult.ACCEPTED
    after = await running.stub.Route(RouteRequest(prompt="hello"))
    assert after.tier == "mid"
    assert after.revisions.policy != before.revisions.policy
    assert after.revisions.bundle == before.revisions.bundle
    assert reloads(running) == {"accepted": 1, "rejected": 0, "unchanged": 0}
    assert await running.service.reloader.look() is None


async def test_time_limits_follow_the_policy(
    running: Running, policy: Path, document: dict[str, Any]
) -> None:
    request = RouteRequest(prompt="hello")
    assert (await running.stub.Route(request, timeout=30)).status == 1
    document["policies"]["default"]["limits"]["least_time_ms"] = 60_000.0
    write(policy, document)
    await running.service.reloader.look()
    assert (await running.stub.Route(request, timeout=30)).status == 3


async def test_a_changed_bundle_decides(
    settings: Settings, log: object, bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    async with started(dataclasses.replace(settings, bundle=folder)) as running:
        before = await running.stub.Route(RouteRequest(prompt="hello"))
        make_small_bundle(tmp_path / "other", seed=8)
        folder.rename(tmp_path / "old")
        (tmp_path / "other").rename(folder)
        assert await running.service.reloader.look() is ReloadResult.ACCEPTED
        after = await running.stub.Route(RouteRequest(prompt="hello"))
        assert after.revisions.bundle != before.revisions.bundle
        assert after.candidates[0].p_sufficient != before.candidates[0].p_sufficient


async def test_the_same_policy_in_another_layout_changes_nothing(
    running: Running, policy: Path, document: dict[str, Any]
) -> None:
    policy.write_text(json.dumps(document, indent=3))
    assert await running.service.reloader.look() is ReloadResult.UNCHANGED


@pytest.mark.parametrize("broken", ["tiers: [", "version: 1\n", "", None], ids=str)
async def test_what_is_broken_changes_nothing(
    running: Running, log: io.TextIOWrapper, policy: Path, document: dict[str, Any], broken: str | None
) -> None:
    before = await running.stub.Route(RouteRequest(prompt="hello"))
    if broken is None:
        policy.unlink()
    else:
        policy.write_text(broken)
    assert await running.service.reloader.look() is ReloadResult.REJECTED
    # Loud once, not at every look.
    assert await running.service.reloader.look() is None
    assert reloads(running) == {"accepted": 0, "rejected": 1, "unchanged": 0}
    (event,) = [line for line in read_log(log) if line["event"] == "config_rejected"]
    assert event["level"] == "error"
    assert all(str(policy) in defect for defect in event["defects"])
    after = await running.stub.Route(RouteRequest(prompt="hello"))
    assert after.digest == before.digest
    document["policies"]["default"]["bars"]["default"] = 0.1
    write(policy, document)
    assert await running.service.reloader.look() is ReloadResult.ACCEPTED


async def test_a_policy_that_does_not_fit_the_bundle_changes_nothing(
    running: Running, log: io.TextIOWrapper, policy: Path, document: dict[str, Any]
) -> None:
    document["tiers"][0]["head"] = "unheard-of"
    write(policy, document)
    assert await running.service.reloader.look() is ReloadResult.REJECTED
    (event,) = [line for line in read_log(log) if line["event"] == "config_rejected"]
    assert "unheard-of" in event["defects"][0]


async def test_a_defect_of_the_reader_does_not_end_the_watch(
    running: Running, log: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Source, "compile", fail)
    assert await running.service.reloader.reload() is ReloadResult.REJECTED
    (event,) = [line for line in read_log(log) if line["event"] == "config_rejected"]
    assert event["error"] == "ZeroDivisionError"


async def test_reload_under_load_fails_no_request(
    running: Running, policy: Path, document: dict[str, Any]
) -> None:
    done = asyncio.Event()
    tiers: set[tuple[str, str]] = set()
    count = 0

    async def call() -> None:
        nonlocal count
        while not done.is_set():
            response = await running.stub.Route(RouteRequest(prompt="hello"))
            # The revision and the tier are of one snapshot.
            tiers.add((response.tier, response.revisions.policy))
            count += 1

    callers = [asyncio.create_task(call()) for _ in range(8)]
    names = ["small", "mid", "frontier"]
    while count < len(callers):
        await asyncio.sleep(0)
    for i in range(12):
        default = document["policies"]["default"]
        default["min_tier"] = default["max_tier"] = default["safe_tier"] = names[i % 3]
        default["buckets"] = []
        write(policy, document)
        assert await running.service.reloader.look() is ReloadResult.ACCEPTED
        policy.write_text("broken")
        assert await running.service.reloader.look() is ReloadResult.REJECTED
        # Every caller has had an answer since the swap.
        seen = count
        while count < seen + 2 * len(callers):
            await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*callers)
    assert reloads(running) == {"accepted": 12, "rejected": 12, "unchanged": 0}
    assert {tier for tier, _ in tiers} == set(names)
    # The first policy and three others, each with a tier of its own.
    assert len(tiers) == len({revision for _, revision in tiers}) == 4


async def test_the_watch_looks_by_itself(running: Running, policy: Path, document: dict[str, Any]) -> None:
    async with in_background(running.service.reloader.watch(0.001)):
        document["policies"]["default"]["bars"]["default"] = 0.2
        write(policy, document)
        async with asyncio.timeout(10):
            while not reloads(running)["accepted"]:
                await asyncio.sleep(0)


async def test_sighup_reloads(running: Running) -> None:
    stop = asyncio.Event()
    watch_signals(stop, running.service.reloader.reload)
    loop = asyncio.get_running_loop()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            while not reloads(running)["unchanged"]:
                await asyncio.sleep(0)
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.wait(), 10)
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def test_what_is_wrong_with_a_bundle_is_said(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    with pytest.raises(ConfigurationError, match=r"manifest\.json: No such file"):
        Source(bundle=folder).compile(StateBlock())
    shutil.copytree(bundle, folder)
    (folder / "vocab.txt").write_text("changed")
    with pytest.raises(ConfigurationError, match=r"vocab\.txt: 7 bytes, the manifest says"):
        Source(bundle=folder).compile(StateBlock())
    shutil.copytree(bundle, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["tasks"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"manifest\.json: .*tasks"):
        Source(bundle=folder).compile(StateBlock())
