"""The watch of a server whose processes' sums are made up: anchors, processes that come and go, and what is shown."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from turnout_server.observability.metrics import INFO, MIX, UPSTREAM_ANSWERS, Labels, Metrics, Sums
from turnout_server.quality.drift.detector import DriftRules
from turnout_server.quality.drift.dimensions import Dimension
from turnout_server.quality.drift.watch import DriftWatch

from tests.server.conftest import read_log
from tests.server.resilience.fake_clock import FakeClock

RULES = DriftRules(reference=400, recent=100, threshold=0.2)


class Process:
    """One worker, as its supervisor sees it."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.counts: Counter[Labels] = Counter()

    def decide(self, tier: str, n: int, *, policy: str = "default", port: str = "main") -> None:
        for dimension in Dimension:
            category = tier if dimension is Dimension.TIER else "same"
            self.counts[policy, port, dimension, category] += n

    def sums(self) -> Sums:
        rows: list[tuple[str, Labels, list[float]]] = [
            (MIX.name, labels, [float(count)]) for labels, count in self.counts.items()
        ]
        return Sums([*rows, (INFO.name, ("1.0", self.revision, "bundle", "features"), [1.0])])


class Server:
    """Processes, and the watch over them."""

    def __init__(self, *revisions: str) -> None:
        self.processes = [Process(revision) for revision in revisions]
        self.retired = Sums([])
        self.answers: Counter[Labels] = Counter()
        self.metrics = Metrics()
        self.clock = FakeClock()
        self.watch = DriftWatch(self.read, self.metrics, RULES, self.clock)

    def read(self) -> Iterable[Sums]:
        answers = [(UPSTREAM_ANSWERS.name, labels, [float(n)]) for labels, n in self.answers.items()]
        return [self.metrics.sums(), self.retired, Sums(answers), *(one.sums() for one in self.processes)]

    def decide(self, shares: dict[str, int], times: int, **where: Any) -> None:
        """Takes so many turns, with these decisions of every process before each."""
        for _ in range(times):
            for process in self.processes:
                for tier, n in shares.items():
                    process.decide(tier, n, **where)
            self.watch.turn()

    def shown(self, family: str) -> dict[Labels, float]:
        return {labels: values[0] for name, labels, values in self.metrics.sums().values if name == family}


USUAL = {"small": 7, "frontier": 3}
SHIFTED = {"small": 2, "frontier": 8}
ALARM = ("default", "main", "tier")


def events(log: io.TextIOWrapper) -> list[str]:
    return [event["event"] for event in read_log(log)]


def test_all_processes_make_one_stream(log: io.TextIOWrapper) -> None:
    """Each of four has a fourth of what a window needs."""
    server = Server("p", "p", "p", "p")
    server.decide(USUAL, 13)
    assert server.shown("turnout_drift_window_decisions") == {
        ("default", "main", "reference"): 400,
        ("default", "main", "recent"): 120,
    }
    server.decide(SHIFTED, 5)
    assert server.shown("turnout_drift_alarm")[ALARM] == 1
    assert server.shown("turnout_drift_alarms") == {ALARM: 1}
    [began] = read_log(log)
    assert (began["event"], began["level"], began["dimension"]) == ("drift_began", "warning", "tier")
    assert began["moved"][0]["category"] in SHIFTED
    assert began["stability_index"] >= RULES.threshold
    server.decide(USUAL, 5)
    assert server.shown("turnout_drift_alarm")[ALARM] == 0
    assert server.shown("turnout_drift_alarms") == {ALARM: 1}
    assert events(log) == ["drift_began", "drift_ended"]


def test_the_index_is_shown_for_every_dimension(log: io.TextIOWrapper) -> None:
    server = Server("p")
    server.decide(USUAL, 60)
    assert server.shown("turnout_drift_index").keys() == {("default", "main", one) for one in Dimension}
    server.decide(SHIFTED, 10)
    shown = server.shown("turnout_drift_index")
    assert shown[ALARM] > 0.2
    assert {labels for labels, index in shown.items() if index} == {ALARM}


def test_ports_and_policies_are_streams_of_their_own(log: io.TextIOWrapper) -> None:
    server = Server("p")
    server.decide(USUAL, 40, port="main")
    server.decide(SHIFTED, 60, port="decision")
    server.decide(SHIFTED, 60, policy="other")
    assert events(log) == []
    server.decide(SHIFTED, 10, port="main")
    assert [event["port"] for event in read_log(log)] == ["main"]


def test_another_revision_anchors_anew(log: io.TextIOWrapper) -> None:
    server = Server("p", "p")
    server.decide(USUAL, 40)
    # One worker after the other; what is decided in the turn of a change is nobody's.
    for process in server.processes:
        process.revision = "q"
        server.decide(SHIFTED, 1)
        assert server.shown("turnout_drift_window_decisions") == {}
    server.decide(SHIFTED, 60)
    assert events(log) == ["drift_anchored", "drift_anchored"]
    assert read_log(log)[1]["revisions"] == [{"policy_revision": "q", "bundle_revision": "bundle"}]
    assert server.shown("turnout_drift_anchors") == {("revision",): 2}
    server.decide(USUAL, 10)
    assert events(log)[2:] == ["drift_began"]


def test_an_anchor_ends_what_alarmed(log: io.TextIOWrapper) -> None:
    server = Server("p")
    server.decide(USUAL, 40)
    server.decide(SHIFTED, 20)
    assert server.shown("turnout_drift_alarm")[ALARM] == 1
    server.watch.anchor()
    server.decide(SHIFTED, 60)
    assert server.shown("turnout_drift_alarm")[ALARM] == 0
    assert events(log) == ["drift_began", "drift_anchored"]
    assert server.shown("turnout_drift_anchors") == {("signal",): 1}


def test_a_worker_that_ends_and_one_that_starts_change_nothing(log: io.TextIOWrapper) -> None:
    server = Server("p")
    server.decide(USUAL, 45)
    ended = server.processes.pop()
    # Read once too often, as in the moment of its end, and then kept.
    server.retired = ended.sums().without_gauges()
    server.processes.append(ended)
    server.watch.turn()
    server.processes.clear()
    server.watch.turn()
    server.processes.append(Process("p"))
    server.decide(USUAL, 30)
    assert events(log) == []
    assert server.shown("turnout_drift_alarm")[ALARM] == 0
    server.decide(SHIFTED, 10)
    assert events(log) == ["drift_began"]


def test_a_model_that_is_changed_upstream_is_told_at_once(log: io.TextIOWrapper) -> None:
    server = Server("p")
    server.answers["d", "gpt", "gpt-2026-01"] += 5
    server.watch.turn()
    server.answers["d", "gpt", "gpt-2026-02"] += 1
    server.watch.turn()
    server.watch.turn()
    [told] = read_log(log)
    assert told["event"] == "upstream_model_changed"
    assert (told["deployment"], told["before"], told["after"]) == ("d", "gpt-2026-01", "gpt-2026-02")
    assert server.shown("turnout_upstream_model_changes") == {("d",): 1}


async def test_a_turn_that_fails_does_not_end_the_watch(log: io.TextIOWrapper) -> None:
    turns = 0
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> Iterable[Sums]:
        nonlocal turns
        turns += 1
        if turns == 2:
            loop.call_soon_threadsafe(done.set)
        raise OSError("no")

    watch = DriftWatch(read, Metrics(), RULES)
    task = asyncio.create_task(watch.run(0.0))
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "drift_watch_failed" in events(log)
