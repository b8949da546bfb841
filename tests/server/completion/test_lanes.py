"""Lanes: never more at once than they may, a bounded queue, everything done or told as lost, and an end with a bound."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest
from turnout_server.completion.answer_rules import LaneLimits
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.lanes import Lanes, Loss


class Work:
    """Work that ends when it is let go."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.done = 0
        self.let_go = asyncio.Event()

    async def __call__(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.let_go.wait()
            self.done += 1
        finally:
            self.running -= 1


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(20))
async def test_what_is_offered_is_done_or_lost(seed: int) -> None:
    random = Random(seed)
    limits = LaneLimits(1.0, random.randint(1, 4), random.randint(0, 5))
    lost: Counter[tuple[Purpose, Loss]] = Counter()
    lanes = Lanes(lambda purpose, loss: lost.update([(purpose, loss)]))
    work = Work()
    offered = limits.concurrency + limits.queue + random.randint(0, 5)
    taken = sum(lanes.offer("p", Purpose.JUDGE, limits, work) for _ in range(offered))
    assert taken == min(offered, limits.concurrency + limits.queue)
    assert lost[Purpose.JUDGE, Loss.QUEUE_FULL] == offered - taken
    await turns()
    assert work.running == min(taken, limits.concurrency)
    assert lanes.under_way == taken
    work.let_go.set()
    await turns(20)
    assert (work.done, lanes.under_way) == (taken, 0)
    assert work.most <= limits.concurrency


async def test_lanes_do_not_wait_for_each_other() -> None:
    lanes = Lanes(lambda *_: None)
    limits = LaneLimits(1.0, 1, 0)
    works = {key: Work() for key in [("a", Purpose.JUDGE), ("a", Purpose.SHADOW), ("b", Purpose.JUDGE)]}
    assert all(lanes.offer(*key, limits, work) for key, work in works.items())
    await turns()
    assert all(work.running == 1 for work in works.values())
    await lanes.drain(0)


async def test_a_place_that_is_entered_counts_and_comes_back() -> None:
    lanes = Lanes(lambda *_: None)
    limits = LaneLimits(1.0, 1, 1)
    leave = lanes.enter("p", Purpose.JUDGE, limits)
    assert leave is not None
    assert lanes.enter("p", Purpose.JUDGE, limits) is None
    work = Work()
    work.let_go.set()
    assert lanes.offer("p", Purpose.JUDGE, limits, work)
    await turns()
    assert work.done == 0
    leave()
    await turns()
    assert work.done == 1


async def test_the_end_waits_for_what_ends_and_cancels_the_rest() -> None:
    lost: Counter[Loss] = Counter()
    lanes = Lanes(lambda _, loss: lost.update([loss]))
    limits = LaneLimits(1.0, 2, 5)
    quick, stuck = Work(), Work()
    quick.let_go.set()
    for work in (quick, stuck, stuck, quick):
        assert lanes.offer("p", Purpose.SHADOW, limits, work)
    await lanes.drain(0.05)
    # Two hang on to both places, so that the last never began.
    assert (quick.done, stuck.done, stuck.running) == (1, 0, 0)
    assert lost == {Loss.SHUTDOWN: 3}
    assert not lanes.offer("p", Purpose.SHADOW, limits, quick)
    assert lanes.under_way == 0


async def test_work_that_raises_is_told_and_gives_its_place_back(log: object) -> None:
    lost: Counter[Loss] = Counter()
    lanes = Lanes(lambda _, loss: lost.update([loss]))
    limits = LaneLimits(1.0, 1, 5)

    async def broken() -> None:
        raise RuntimeError("no")

    work = Work()
    work.let_go.set()
    lanes.offer("p", Purpose.JUDGE, limits, broken)
    lanes.offer("p", Purpose.JUDGE, limits, work)
    await turns(10)
    assert (lost[Loss.FAILED], work.done) == (1, 1)
