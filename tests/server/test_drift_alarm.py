"""The drift alarm of real servers: a shifted mix alarms, few of the same do not, a deliberate change anchors anew."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turnout.v1.completion_pb2 import CompleteRequest
from turnout.v1.routing_pb2 import RouteRequest
from turnout_fastpath.bundle import load_bundle
from turnout_server.bundle_store import BundleStore
from turnout_server.completion.recording import MOST_VERSIONS
from turnout_server.lifecycle import watch_signals
from turnout_server.providers.chat import ChatResponse, Finished, StreamEvent
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.simulated import SimulatedModel, SimulatedProvider
from turnout_server.reloading import ReloadResult
from turnout_server.settings import Settings

from tests.server.conftest import Running, read_log, started
from tests.server.small_bundle import make_small_bundle
from tests.server.test_workers import connected, fetch, launch, route, until_metrics_say

__all__ = ["launch"]

REFERENCE, RECENT = 300, 100
ALARMS = "turnout_drift_alarms"
WINDOW = 'turnout_drift_window_decisions{{policy="default",port="{}",window="reference"}}'
SMALL_WINDOWS = ("--store-sample", "1", "--drift-reference", "100", "--drift-recent", "50")


class Traffic:
    """Prompts of two mixes: questions of some words, and now and then a document; or the other way round."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def usual(self, n: int) -> list[str]:
        return [self._prompt(0.1) for _ in range(n)]

    def shifted(self, n: int) -> list[str]:
        return [self._prompt(0.6) for _ in range(n)]

    def _prompt(self, documents: float) -> str:
        words = 400 if self._random.random() < documents else self._random.randint(3, 12)
        return " ".join(
            self._random.choice(("what", "is", "the", "capital", "of", "france")) for _ in range(words)
        )


@pytest.fixture
def watched(settings: Settings) -> Settings:
    return replace(settings, drift_reference=REFERENCE, drift_recent=RECENT)


@pytest.fixture
async def serving(watched: Settings, log: object) -> AsyncIterator[Running]:
    async with started(watched) as running:
        yield running


async def ask(running: Running, prompts: Sequence[str]) -> None:
    """Asks by `Route`, with a turn of the watch after every tenth, as time brings them."""
    drift = running.service.drift
    assert drift is not None
    for start in range(0, len(prompts), 10):
        for prompt in prompts[start : start + 10]:
            await running.stub.Route(RouteRequest(prompt=prompt))
        drift.turn()


def shown(running: Running, family: str) -> dict[tuple[str, ...], float]:
    return {labels: values[0] for name, labels, values in running.service.sums().values if name == family}


def drifts(log: io.TextIOWrapper) -> list[str]:
    return [event["event"] for event in read_log(log) if event["event"].startswith("drift_")]


async def test_a_shifted_mix_alarms_and_says_what_moved(serving: Running, log: io.TextIOWrapper) -> None:
    traffic = Traffic(1)
    await ask(serving, traffic.usual(REFERENCE + 200))
    assert drifts(log) == []
    await ask(serving, traffic.shifted(RECENT + 50))
    assert shown(serving, "turnout_drift_alarm")["default", "main", "tokens"] == 1
    assert shown(serving, ALARMS)["default", "main", "tokens"] == 1
    began = next(event for event in read_log(log) if event["event"] == "drift_began")
    assert (began["policy"], began["port"], began["level"]) == ("default", "main", "warning")
    tokens = next(event for event in read_log(log) if event.get("dimension") == "tokens")
    documents = next(one for one in tokens["moved"] if one["category"] == "256-511")
    assert documents["before"] < 0.2
    assert documents["after"] > documents["before"] + 0.1
    assert "france" not in json.dumps(read_log(log))
    # And it ends when the usual mix is back.
    await ask(serving, traffic.usual(RECENT + 150))
    assert shown(serving, "turnout_drift_alarm")["default", "main", "tokens"] == 0
    assert "drift_ended" in drifts(log)


@pytest.mark.parametrize("seed", range(3))
async def test_the_same_mix_with_few_samples_does_not_alarm(
    seed: int, settings: Settings, log: io.TextIOWrapper
) -> None:
    """So few that the index of two samples of one mix is large by chance alone."""
    few = replace(settings, drift_reference=100, drift_recent=50, drift_threshold=0.02)
    async with started(few) as running:
        traffic = Traffic(seed)
        assert running.service.drift is not None
        large = 0
        for prompt in range(0, 300, 10):
            await ask(running, traffic.usual(10))
            large += max(shown(running, "turnout_drift_index").values(), default=0.0) >= 0.02
            assert prompt < 150 or large
        assert drifts(log) == []
        assert sum(shown(running, ALARMS).values()) == 0


async def test_fewer_than_a_window_do_not_alarm_however_other_they_are(
    serving: Running, log: io.TextIOWrapper
) -> None:
    traffic = Traffic(2)
    await ask(serving, traffic.usual(REFERENCE))
    await ask(serving, traffic.shifted(RECENT - 10))
    assert drifts(log) == []
    assert shown(serving, "turnout_drift_index") == {}


async def test_a_policy_that_is_reloaded_anchors_anew(
    serving: Running, log: io.TextIOWrapper, policy: Path, document: dict[str, Any]
) -> None:
    traffic = Traffic(3)
    await ask(serving, traffic.usual(REFERENCE + 100))
    # What is the same, or cannot be used, is no change.
    assert await serving.service.reloader.reload() is ReloadResult.UNCHANGED
    policy.write_text("no policy")
    assert await serving.service.reloader.reload() is ReloadResult.REJECTED
    await ask(serving, traffic.usual(10))
    assert drifts(log) == []
    document["policies"]["default"]["bars"]["default"] = 0.3
    policy.write_text(json.dumps(document))
    assert await serving.service.reloader.reload() is ReloadResult.ACCEPTED
    await ask(serving, traffic.shifted(REFERENCE + 200))
    assert drifts(log) == ["drift_anchored"]
    assert shown(serving, "turnout_drift_anchors") == {("revision",): 1}
    await ask(serving, traffic.usual(RECENT + 50))
    assert set(drifts(log)[1:]) == {"drift_began"}


async def test_a_bundle_that_is_promoted_or_rolled_back_anchors_anew(
    watched: Settings, log: io.TextIOWrapper, tmp_path: Path
) -> None:
    first, second = (load_bundle(make_small_bundle(tmp_path / f"b{seed}", seed=seed)) for seed in range(2))
    store = BundleStore(tmp_path / "store")
    store.promote(first, who="test")
    traffic = Traffic(4)
    async with started(replace(watched, bundle=store.folder / "current")) as running:
        await ask(running, traffic.usual(REFERENCE + 100))
        store.promote(second, who="test")
        assert await running.service.reloader.look() is ReloadResult.ACCEPTED
        await ask(running, traffic.shifted(REFERENCE + 150))
        store.rollback(who="test")
        assert await running.service.reloader.look() is ReloadResult.ACCEPTED
        await ask(running, traffic.usual(REFERENCE + 150))
    assert drifts(log) == ["drift_anchored", "drift_anchored"]


async def test_a_start_begins_anew(watched: Settings, log: io.TextIOWrapper) -> None:
    """Nothing outlives the server: what is decided first after a start is what is usual."""
    traffic = Traffic(5)
    for mix in (traffic.usual, traffic.shifted):
        async with started(watched) as running:
            await ask(running, mix(REFERENCE + 150))
    assert drifts(log) == []


async def test_without_a_reference_nothing_is_watched(settings: Settings, log: object) -> None:
    async with started(replace(settings, drift_reference=None)) as running:
        await running.stub.Route(RouteRequest(prompt="hello"))
        assert running.service.drift is None
        assert shown(running, "turnout_mix_decisions") == {}


async def test_completions_are_in_the_mix(serving: Running) -> None:
    await serving.completions.Complete(CompleteRequest(prompt="hello"))
    await serving.stub.Route(RouteRequest(prompt="hello"))
    assert shown(serving, "turnout_mix_decisions")["default", "main", "status", "decided"] == 2


class Renaming:
    """Answers by a model version that can be changed."""

    def __init__(self) -> None:
        self.version = "2026-01"
        models = {f"sim-{tier}": SimulatedModel() for tier in ("small", "mid", "frontier")}
        self._provider = SimulatedProvider(models)

    async def complete(self, call: ProviderCall) -> ChatResponse:
        raise NotImplementedError

    async def stream(self, call: ProviderCall) -> AsyncGenerator[StreamEvent, None]:
        async for event in self._provider.stream(call):
            yield replace(event, model_version=self.version) if isinstance(event, Finished) else event


async def test_an_upstream_that_changes_its_model_is_told(serving: Running, log: io.TextIOWrapper) -> None:
    """By the version in its answers, though the deployment is asked for the same model."""
    service = serving.service
    assert service.drift is not None
    provider = Renaming()
    service.completer._dispatcher._caller._providers = {"simulated": provider}
    for version in ("2026-01", "2026-01", "2026-02", "2026-01", "2026-02"):
        provider.version = version
        await serving.completions.Complete(CompleteRequest(prompt="hello"))
        service.drift.turn()
    [told] = [event for event in read_log(log) if event["event"] == "upstream_model_changed"]
    assert (told["before"], told["after"], told["level"]) == ("2026-01", "2026-02", "warning")
    assert sum(shown(serving, "turnout_upstream_model_changes").values()) == 1
    assert sum(shown(serving, "turnout_upstream_answers").values()) == 5


async def test_a_version_in_every_answer_does_not_fill_the_memory(serving: Running) -> None:
    provider = Renaming()
    serving.service.completer._dispatcher._caller._providers = {"simulated": provider}
    for number in range(MOST_VERSIONS + 10):
        provider.version = f"v{number}" * 100
        await serving.completions.Complete(CompleteRequest(prompt="hello"))
    counted = shown(serving, "turnout_upstream_answers")
    assert len(counted) == MOST_VERSIONS + 1
    assert max(len(version) for _, _, version in counted) <= 128
    assert counted[*next(iter(counted))[:2], "other"] == 10


def send(port: int, prompts: list[str]) -> None:
    """Over connections of their own, so that each worker gets some."""
    with connected(port, 10) as channels:
        for number, prompt in enumerate(prompts):
            route(channels[number % len(channels)], prompt)


def test_all_processes_of_a_server_are_watched_together(launch: Any) -> None:
    process = launch("--workers", "2", "--decision-port", "0", *SMALL_WINDOWS)
    ports = process.wait_for("supervising_started")
    process.wait_for_each("serving_started", "serving_started", "deciding_started")
    traffic = Traffic(6)
    addresses = {"main": ports["port"], "decision": ports["decision_port"]}

    for address in addresses.values():
        send(address, traffic.usual(100))
    for port in addresses:
        until_metrics_say(ports["metrics_port"], f"{WINDOW.format(port)} 100.0")
    # The windows are the supervisor's: they outlive a worker.
    os.kill(process.workers()[0], signal.SIGKILL)
    process.wait_for("worker_ended")
    for port, address in addresses.items():
        send(address, traffic.shifted(70))
        # Several of one port's dimensions may alarm.
        while (began := process.wait_for("drift_began"))["port"] != port:
            pass
        assert began["reference_decisions"] == 100
    process.process.send_signal(signal.SIGUSR1)
    assert process.wait_for("drift_anchored")["cause"] == "signal"
    assert "turnout_drift_window_decisions{" not in fetch(ports["metrics_port"], "/metrics")
    assert process.end() == 0


def test_a_sidecar_with_a_store_watches_itself(launch: Any, tmp_path: Path) -> None:
    place = ("--decision-only", "--decision-port", "0", "--store", str(tmp_path / "outcomes.db"))
    process = launch(*place, *SMALL_WINDOWS)
    ports = process.wait_for("deciding_started")
    traffic = Traffic(7)
    send(ports["decision_port"], traffic.usual(100))
    until_metrics_say(ports["metrics_port"], f"{WINDOW.format('decision')} 100.0")
    send(ports["decision_port"], traffic.shifted(70))
    assert process.wait_for("drift_began")["port"] == "decision"
    assert process.end() == 0


async def test_a_server_that_watches_nothing_bears_the_signal() -> None:
    async def reload() -> None:
        raise NotImplementedError

    stop = asyncio.Event()
    watch_signals(stop, reload)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0)
        assert not stop.is_set()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            asyncio.get_running_loop().remove_signal_handler(number)
