"""What a supervisor tells of its workers, which are made up here. Real ones are in test_workers.py."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from turnout_server.observability.metrics import COVERAGE, DRIFT_WINDOW, IN_FLIGHT, Sums, add_up
from turnout_server.settings import Settings
from turnout_server.workers import MAIN, Place, Supervisor, Worker

PLACE = Place("0", MAIN, Settings())
PATIENCE_S = 30.0


class FakeWorker:
    """One that has counted seven decisions, and ends when it is told to."""

    def __init__(self) -> None:
        self.sums = Sums([(COVERAGE.name, ("decided",), [7.0]), (IN_FLIGHT.name, (), [3.0])])
        self.is_ready = self.was_ready = True
        self.is_unavailable = False
        self.failure = ""
        self.began = asyncio.Event()
        self.end = asyncio.Event()

    async def command(self, _: str) -> None:
        """Is told to drain."""

    async def wait(self) -> int:
        self.began.set()
        await self.end.wait()
        return 0


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    made = FakeWorker()

    async def start(*_: Any) -> Any:
        return made

    monkeypatch.setattr(Worker, "start", start)
    return made


def told(supervisor: Supervisor) -> dict[str, float]:
    """Decisions, and requests in flight where they are told at all."""
    sums = {(name, labels): values for name, labels, values in add_up(supervisor._sums()).values}
    wanted = {"decided": (COVERAGE.name, ("decided",)), "in_flight": (IN_FLIGHT.name, ())}
    return {name: sums[key][0] for name, key in wanted.items() if key in sums}


async def test_what_a_worker_has_counted_outlives_it(worker: FakeWorker) -> None:
    supervisor = Supervisor(Settings())
    keeping = asyncio.create_task(supervisor._keep(PLACE))
    await worker.began.wait()
    assert told(supervisor) == {"decided": 7, "in_flight": 3}
    assert supervisor._is_ready()
    worker.end.set()
    supervisor.stop()
    await keeping
    assert told(supervisor) == {"decided": 7}
    assert not supervisor._is_ready()


async def test_a_worker_that_ends_while_metrics_are_read_is_counted_once(worker: FakeWorker) -> None:
    """The reading thread stands in the middle of its reading until the worker has retired."""
    supervisor = Supervisor(Settings())
    reading, retired = threading.Event(), threading.Event()

    def pause() -> list[Any]:
        reading.set()
        assert retired.wait(PATIENCE_S)
        return []

    supervisor._metrics.watch_each(DRIFT_WINDOW, pause)
    keeping = asyncio.create_task(supervisor._keep(PLACE))
    await worker.began.wait()
    scraping = asyncio.create_task(asyncio.to_thread(told, supervisor))
    assert await asyncio.to_thread(reading.wait, PATIENCE_S)
    worker.end.set()
    supervisor.stop()
    await keeping
    retired.set()
    assert (await scraping)["decided"] == 7
