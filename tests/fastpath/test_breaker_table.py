"""The breakers' table against plain lists, and the one probe of a machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from turnout_fastpath import StateBlock, StateError
from turnout_fastpath.breaker_table import BreakerTable

from tests.fastpath.processes import run_together
from tests.fastpath.twins.breaker_table import Breaker

NAMES = ["a", "b", "ünï"]
NAME = st.sampled_from(NAMES)
WORD = st.sampled_from([0, 1, 7, 2**64 - 1])


class TableMachine(RuleBasedStateMachine):
    """Two tables over one block, as two workers have, against one dictionary."""

    @initialize(start_ms=st.integers(0, 2**40))
    def start(self, start_ms: int) -> None:
        block = StateBlock()
        self.tables = [BreakerTable(block), BreakerTable(block)]
        self.twins = {name: Breaker() for name in NAMES}
        self.now_ms = start_ms + 20_000
        self.turn = 0

    def at(self, name: str) -> tuple[BreakerTable, int, Breaker]:
        self.turn += 1
        table = self.tables[self.turn % 2]
        return table, table.slot(name), self.twins[name]

    @rule(ms=st.sampled_from([0, 1, 499, 500, 5_000, 9_999, 10_001, 60_000]))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @rule(name=NAME, failed=st.booleans(), in_run=st.booleans())
    def record(self, name: str, failed: bool, in_run: bool) -> None:
        table, slot, twin = self.at(name)
        found = table.record(slot, self.now_ms, failed=failed, in_run=in_run)
        assert found == twin.record(self.now_ms, failed, in_run)

    @rule(name=NAME)
    def forget(self, name: str) -> None:
        table, slot, twin = self.at(name)
        table.forget(slot)
        twin.forget()

    @rule(name=NAME, expected=WORD, word=WORD)
    def swap(self, name: str, expected: int, word: int) -> None:
        table, slot, twin = self.at(name)
        assert table.swap_word(slot, expected, word) == (twin.word == expected)
        twin.word = word if twin.word == expected else twin.word

    @rule(name=NAME, ms=st.integers(-100, 10_000))
    def pause(self, name: str, ms: int) -> None:
        table, slot, twin = self.at(name)
        table.pause(slot, self.now_ms + ms)
        twin.paused_until_ms = max(twin.paused_until_ms, self.now_ms + ms)

    @rule(name=NAME)
    def unpause(self, name: str) -> None:
        table, slot, twin = self.at(name)
        table.unpause(slot)
        twin.paused_until_ms = 0

    @rule(name=NAME, ms=st.integers(1, 10_000))
    def take_probe(self, name: str, ms: int) -> None:
        table, slot, twin = self.at(name)
        assert table.take_probe(slot, self.now_ms, self.now_ms + ms) == twin.take_probe(
            self.now_ms, self.now_ms + ms
        )

    @rule(name=NAME, wrong=st.booleans())
    def return_probe(self, name: str, wrong: bool) -> None:
        table, slot, twin = self.at(name)
        receipt = twin.probe_until_ms + wrong
        assert table.return_probe(slot, receipt) == twin.return_probe(receipt)

    @invariant()
    def words_and_pauses_are_the_twins(self) -> None:
        for name, twin in getattr(self, "twins", {}).items():
            table, slot, _ = self.at(name)
            assert (table.word(slot), table.paused_until_ms(slot)) == (twin.word, twin.paused_until_ms)


TestTable = TableMachine.TestCase


def test_a_bucket_stops_at_65535_calls() -> None:
    table = BreakerTable(StateBlock())
    slot = table.slot("a")
    for _ in range(65_600):
        evidence = table.record(slot, 1_000, failed=True)
    assert evidence == (65_535, 65_535, 65_535, 65_535, 65_535)


def test_threads_lose_no_call() -> None:
    table = BreakerTable(StateBlock())
    slot = table.slot("a")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: table.record(slot, 1_000, failed=i % 2 == 0), range(2_000)))
    assert table.record(slot, 1_000, failed=False)[1:] == (2_001, 1_000, 2_001, 1_000)


def test_one_process_of_many_gets_the_probe(tmp_path: Path) -> None:
    path = tmp_path / "state"
    StateBlock(path)
    script = """
import sys
from turnout_fastpath import StateBlock
from turnout_fastpath.breaker_table import BreakerTable
table = BreakerTable(StateBlock(sys.argv[1]))
sys.stdin.readline()
print(sum(table.take_probe(table.slot(f"d{i}"), 1, 2) for i in range(1000)))
"""
    assert sum(int(printed) for printed in run_together(script, *[[str(path)]] * 3)) == 1000


def test_processes_lose_no_call(tmp_path: Path) -> None:
    path = tmp_path / "state"
    script = """
import sys
from turnout_fastpath import StateBlock
from turnout_fastpath.breaker_table import BreakerTable
table = BreakerTable(StateBlock(sys.argv[1]))
sys.stdin.readline()
for i in range(5000):
    table.record(table.slot("a"), 1000, failed=i % 5 == 0)
"""
    run_together(script, *[[str(path)]] * 3)
    table = BreakerTable(StateBlock(path))
    assert table.record(table.slot("a"), 1000, failed=False)[1:] == (15_001, 3000, 15_001, 3000)


def test_a_full_table_says_so() -> None:
    table = BreakerTable(StateBlock())
    assert len({table.slot(f"d{i}") for i in range(1024)}) == 1024
    assert table.slot("d7") == table.slot("d7")
    with pytest.raises(StateError, match="the state block holds 1024 breakers; no room for 'one-more'"):
        table.slot("one-more")


@pytest.mark.parametrize("slot", [-1, 1024])
def test_a_slot_out_of_range_is_refused(slot: int) -> None:
    with pytest.raises(StateError, match=f"slot is {slot}, needed: 0 to 1023"):
        BreakerTable(StateBlock()).word(slot)
