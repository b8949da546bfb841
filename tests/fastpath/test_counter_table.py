"""Counters and rates against plain lists and buckets; many processes; a full table; a worker that dies."""

from __future__ import annotations

import itertools
import signal
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from turnout_fastpath import StateBlock, StateError
from turnout_fastpath.counter_table import FULL, MAX_USED, REFUSED, UNCOUNTED, CounterTable

from tests.fastpath.processes import run_together
from tests.fastpath.twins.counter_table import Bucket, Counter, Reservation
from tests.fastpath.twins.state import state_key

DAY_MS = 86_400_000
SETS, WAYS = 2048, 16
NAMES = ["a", "b"]
NAME = st.sampled_from(NAMES)
AMOUNT = st.integers(0, 20) | st.sampled_from([2**40])
# Dates and settlements.
NS = st.integers(1, 6)
KIN = "kin"
BURST_NS = 1000


def colliding(n: int) -> list[str]:
    """As many names whose counters fall into one set."""
    by_set: dict[int, list[str]] = defaultdict(list)
    for number in itertools.count():
        found = by_set[state_key(f"n{number}".encode()) % SETS]
        found.append(f"n{number}")
        if len(found) == n:
            return found
    raise AssertionError


class CounterMachine(RuleBasedStateMachine):
    """Two tables over one block, as two workers have."""

    @initialize(day=st.integers(1, 100_000), ms=st.integers(0, DAY_MS - 1))
    def start(self, day: int, ms: int) -> None:
        block = StateBlock()
        self.tables = itertools.cycle([CounterTable(block), CounterTable(block)])
        self.twins = {name: Counter() for name in [*NAMES, KIN]}
        self.buckets = {name: Bucket(BURST_NS) for name in NAMES}
        self.open_ones: list[tuple[str, Reservation, int, int]] = []
        self.now_ms = day * DAY_MS + ms
        self.now_ns = 10**6

    @property
    def day(self) -> int:
        return self.now_ms // DAY_MS

    @rule(ms=st.sampled_from([1, 299_999, 300_000, 1_200_000, 1_199_999, DAY_MS // 2, DAY_MS]))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @rule(name=NAME | st.just(KIN))
    def open(self, name: str) -> None:
        assert next(self.tables).open(name, ends_ms=(self.day + 1) * DAY_MS, now_ms=self.now_ms)
        self.twins[name].since_ns = self.twins[name].since_ns or 0

    @rule(name=NAME | st.just(KIN), since_ns=NS)
    def date(self, name: str, since_ns: int) -> None:
        twin = self.twins[name]
        expected = 0 if twin.since_ns is None else twin.date(since_ns)
        assert next(self.tables).date(name, since_ns) == expected

    @rule(name=NAME, amount=AMOUNT, settled_ns=NS, days_ago=st.integers(0, 1), since_ns=st.just(0) | NS)
    def count(self, name: str, amount: int, settled_ns: int, days_ago: int, since_ns: int) -> None:
        twin, kin, period = self.twins[name], self.twins[KIN], self.day - days_ago
        if days_ago and self.day % 1024 < 2:
            # The word of such a day, if nothing is used of it, is that of none.
            return
        found = next(self.tables).count(
            name,
            amount,
            settled_ns,
            begins_ms=period * DAY_MS,
            ends_ms=(period + 1) * DAY_MS,
            now_ms=self.now_ms,
            kin=KIN,
            since_ns=since_ns,
        )
        if twin.since_ns is None:
            since_ns = kin.since_ns or since_ns
        if since_ns:
            twin.date(since_ns)
        if twin.count(amount, settled_ns, period, self.now_ms):
            assert found >= amount
        else:
            assert found == UNCOUNTED

    @rule(name=NAME, amount=AMOUNT, limit=st.integers(0, 40) | st.just(2**41), since_ns=NS)
    def reserve(self, name: str, amount: int, limit: int, since_ns: int) -> None:
        used, tag, span = next(self.tables).reserve(
            name,
            amount,
            limit,
            begins_ms=self.day * DAY_MS,
            ends_ms=(self.day + 1) * DAY_MS,
            now_ms=self.now_ms,
            since_ns=since_ns,
        )
        self.twins[name].date(since_ns)
        expected = self.twins[name].reserve(amount, limit, self.day, self.now_ms)
        if expected is None:
            assert used == REFUSED
        else:
            assert used == self.twins[name].used(self.day, self.now_ms)
            self.open_ones.append((name, expected, tag, span))

    @rule(name=NAME, before=AMOUNT, whole=AMOUNT, since_ns=NS)
    def restore(self, name: str, before: int, whole: int, since_ns: int) -> None:
        begins_ms = self.day * DAY_MS
        assert next(self.tables).restore(
            name,
            before,
            whole,
            begins_ms=begins_ms,
            ends_ms=begins_ms + DAY_MS,
            now_ms=self.now_ms,
            since_ns=since_ns,
        )
        self.twins[name].date(since_ns)
        self.twins[name].restore(before, whole, self.day)

    @rule(data=st.data(), actual=AMOUNT, settled_ns=NS)
    def settle(self, data: st.DataObject, actual: int, settled_ns: int) -> None:
        if not self.open_ones:
            return
        at = data.draw(st.integers(0, len(self.open_ones) - 1))
        name, reservation, tag, span = self.open_ones.pop(at)
        next(self.tables).settle(name, reservation.amount, actual, tag, span, settled_ns)
        self.twins[name].settle(reservation, actual, settled_ns)

    @rule(name=NAME, cost_ns=st.integers(0, BURST_NS), ns=st.integers(0, BURST_NS))
    def take(self, name: str, cost_ns: int, ns: int) -> None:
        self.now_ns += ns
        found = next(self.tables).take(
            f"rate {name}", cost_ns, BURST_NS, now_ns=self.now_ns, now_ms=self.now_ms
        )
        assert found == self.buckets[name].take(cost_ns, self.now_ns)

    @rule(name=NAME, cost_ns=st.integers(0, 2 * BURST_NS))
    def charge(self, name: str, cost_ns: int) -> None:
        self.take(name, 0, 0)
        next(self.tables).charge(f"rate {name}", cost_ns, BURST_NS, now_ns=self.now_ns)
        self.buckets[name].level_ns = max(0, self.buckets[name].level_ns - cost_ns)

    @rule(name=NAME, cost_ns=st.integers(0, BURST_NS))
    def give_back(self, name: str, cost_ns: int) -> None:
        next(self.tables).give_back(f"rate {name}", cost_ns)
        self.buckets[name].give_back(cost_ns, self.now_ns)

    @invariant()
    def what_is_used_is_the_twins(self) -> None:
        for name, twin in getattr(self, "twins", {}).items():
            used = next(self.tables).used(name, begins_ms=self.day * DAY_MS, now_ms=self.now_ms)
            assert used == twin.used(self.day, self.now_ms)
            assert next(self.tables).since_ns(name) == (twin.since_ns or 0)
        if hasattr(self, "twins"):
            dates = {twin.since_ns for twin in self.twins.values() if twin.since_ns}
            assert next(self.tables).dates() == dates
            assert next(self.tables).dated == sum(bool(twin.since_ns) for twin in self.twins.values())


TestCounters = CounterMachine.TestCase


def reserve(table: CounterTable, name: str, amount: int, limit: int, now_ms: int = 1) -> tuple[int, int, int]:
    begins_ms = now_ms // DAY_MS * DAY_MS
    return table.reserve(name, amount, limit, begins_ms=begins_ms, ends_ms=begins_ms + DAY_MS, now_ms=now_ms)


def test_threads_reserve_what_there_is_and_no_more() -> None:
    table = CounterTable(StateBlock())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: reserve(table, "t", 1, 10)[0], range(200)))
    assert sorted(used for used in found if used != REFUSED) == list(range(1, 11))


WORKER = """
import os
import signal
import sys
from turnout_fastpath import StateBlock
from turnout_fastpath.counter_table import CounterTable
table = CounterTable(StateBlock(sys.argv[1]))
sys.stdin.readline()
day = dict(begins_ms=0, ends_ms=86_400_000, now_ms=int(sys.argv[2]))
got = [found for _ in range(3000) if (found := table.reserve("t", 7, 7 * 2000, **day))[0] > 0]
if sys.argv[3] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
for _, tag, span in got:
    table.settle("t", 7, 3, tag, span)
print(len(got))
"""


def test_processes_share_a_counter_to_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "state"
    table = CounterTable(StateBlock(path))
    total = sum(int(printed) for printed in run_together(WORKER, *[[str(path), "1", "settles"]] * 3))
    # What one settles makes room for another, so more than the 2,000 of one moment may fit.
    assert total >= 2000
    assert table.used("t", begins_ms=0, now_ms=1) == 3 * total


def test_what_a_dead_worker_reserved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state"
    table = CounterTable(StateBlock(path))
    run_together(WORKER, [str(path), "1000", "dies"], codes=[-signal.SIGKILL])
    assert table.used("t", begins_ms=0, now_ms=1000) == 14_000
    assert reserve(table, "t", 1, 14_000, 1_199_999)[0] == REFUSED
    assert reserve(table, "t", 1, 14_000, 1_200_000)[0] == 1
    assert table.given_back == 14_000


def test_a_clock_that_is_read_late_does_not_turn_the_period_back() -> None:
    table = CounterTable(StateBlock())
    reserve(table, "t", 4, 10, DAY_MS + 1)
    used, tag, span = reserve(table, "t", 5, 10, DAY_MS - 1)
    assert used == 9
    assert table.settle("t", 5, 2, tag, span) == 6
    assert table.used("t", begins_ms=DAY_MS, now_ms=DAY_MS + 2) == 6
    assert reserve(table, "t", 5, 10, DAY_MS - 1)[0] == REFUSED


def test_a_full_set_says_so_and_takes_over_what_is_out_of_use_for_an_hour() -> None:
    table = CounterTable(StateBlock())
    *names, more, last = colliding(WAYS + 2)
    for i, name in enumerate(names):
        assert reserve(table, name, i + 1, 100)[0] == i + 1
    assert reserve(table, more, 1, 100)[0] == FULL
    assert table.take(more, 1, 1, now_ns=5, now_ms=5) == FULL
    assert not table.restore(more, 1, 1, begins_ms=0, ends_ms=DAY_MS, now_ms=1)
    assert not table.open(more, ends_ms=DAY_MS, now_ms=1)
    assert table.count(more, 1, 1, begins_ms=0, ends_ms=DAY_MS, now_ms=1, since_ns=1) == FULL
    assert [table.used(name, begins_ms=0, now_ms=1) for name in [*names, more]] == [*range(1, WAYS + 1), 0]
    late_ms = DAY_MS + 3_600_000 + 1
    assert reserve(table, names[0], 90, 100, late_ms)[0] == 90
    assert reserve(table, more, 3, 100, late_ms)[0] == 3
    assert table.take(last, 1, 1, now_ns=5, now_ms=late_ms) == 0
    found = [table.used(name, begins_ms=DAY_MS, now_ms=late_ms) for name in [*names, more]]
    assert found == [90, *[0] * (WAYS - 1), 3]
    # Of a counter that was taken over nothing is settled.
    assert table.settle(names[1], 2, 2, 0, 0) == 0


def test_restoring_beside_processes_that_count_takes_nothing_of_theirs_for_older(tmp_path: Path) -> None:
    path = tmp_path / "state"
    table = CounterTable(StateBlock(path))
    day: dict[str, int] = {"begins_ms": 0, "ends_ms": DAY_MS, "now_ms": 1}
    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(run_together, WORKER, *[[str(path), "1", "settles"]] * 2)
        while not counting.done():
            # All that is used now is settled at most.
            settled = max(0, table.used("t", begins_ms=0, now_ms=1) - 14_000)
            assert table.restore("t", 0, settled, **day)
        total = sum(int(printed) for printed in counting.result())
    assert table.used("t", begins_ms=0, now_ms=1) == 3 * total
    assert table.restore("t", 5, 3 * total, **day)
    assert table.restore("t", 2, 3 * total + 1, **day)
    assert table.used("t", begins_ms=0, now_ms=1) == 3 * total + 5


def test_processes_that_bring_the_same_names_at_once_make_each_counter_once(tmp_path: Path) -> None:
    script = """
import sys
from turnout_fastpath import StateBlock
from turnout_fastpath.counter_table import CounterTable
table = CounterTable(StateBlock(sys.argv[1]))
sys.stdin.readline()
for day in range(0, 20, 2):
    begins_ms = day * 86_400_000
    for i in range(5000):
        period = dict(begins_ms=begins_ms, ends_ms=begins_ms + 86_400_000, now_ms=begins_ms + 1)
        found = table.reserve(f"{day} {i}", 1, 10, **period)[0]
        # The one that lags may find no room among what the other will use.
        assert found > 0 or day < 18
"""
    path = tmp_path / "state"
    run_together(script, *[[str(path)]] * 2)
    table = CounterTable(StateBlock(path))
    begins_ms = 18 * DAY_MS
    found = [table.used(f"18 {i}", begins_ms=begins_ms, now_ms=begins_ms + 1) for i in range(5000)]
    assert found == [2] * 5000


def test_a_rate_of_another_boot_is_as_if_never_used() -> None:
    table = CounterTable(StateBlock())
    assert table.take("r", 1000, 1000, now_ns=10**15, now_ms=1) == 0
    assert table.take("r", 1000, 1000, now_ns=10**15, now_ms=1) == 1000
    assert table.take("r", 1000, 1000, now_ns=10**6, now_ms=1) == 0


@pytest.mark.parametrize(
    ("amount", "limit", "begins_ms", "now_ms", "said"),
    [
        (1, MAX_USED + 1, 0, 1, "limit is 18014398509481984"),
        (2**48, 1, 0, 1, "amount 281474976710656"),
        (1, 1, 1, 2, "2 is in no period of whole days from 1"),
        (1, 1, 0, DAY_MS, f"{DAY_MS} is in no period"),
    ],
)
def test_what_is_out_of_range_is_refused(
    amount: int, limit: int, begins_ms: int, now_ms: int, said: str
) -> None:
    with pytest.raises(StateError, match=said):
        CounterTable(StateBlock()).reserve(
            "t", amount, limit, begins_ms=begins_ms, ends_ms=begins_ms + DAY_MS, now_ms=now_ms
        )
    with pytest.raises(StateError, match="cost is 2 ns and burst 1 ns"):
        CounterTable(StateBlock()).take("r", 2, 1, now_ns=1, now_ms=1)
