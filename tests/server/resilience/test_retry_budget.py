"""The retry budget against a list of everything that happened."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from turnout_fastpath import StateBlock
from turnout_fastpath.breaker_table import BreakerTable
from turnout_server.resilience.retry_budget import RetryBudget
from turnout_server.resilience.shared_retry_budget import SharedRetryBudget, make_retry_budget

from tests.server.resilience.fake_clock import FakeClock


class BudgetMachine(RuleBasedStateMachine):
    """Requests and retries at any time; seconds are whole, as the budget counts them."""

    @initialize(start=st.integers(0, 10**6))
    def start(self, start: int) -> None:
        self.clock = FakeClock(float(start))
        self.budget = RetryBudget(self.clock)
        self.requests: list[int] = []
        self.ended: list[int] = []
        self.under_way = 0

    def recent(self, events: list[int]) -> int:
        return sum(self.clock.now_s - at < 10 for at in events)

    def room(self) -> bool:
        spent = self.under_way + self.recent(self.ended)
        return 5 * spent < 15 + self.recent(self.requests)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(n=st.integers(1, 20))
    def request(self, n: int) -> None:
        for _ in range(n):
            self.budget.note_request()
            self.requests.append(int(self.clock.now_s))

    @rule()
    def begin(self) -> None:
        expected = self.room()
        assert self.budget.begin() == expected
        self.under_way += expected

    @precondition(lambda self: getattr(self, "under_way", 0) > 0)
    @rule()
    def end(self) -> None:
        self.budget.end()
        self.under_way -= 1
        self.ended.append(int(self.clock.now_s))

    @invariant()
    def says_what_the_list_says(self) -> None:
        if hasattr(self, "budget"):
            assert self.budget.allows() == self.room()
            assert self.budget.under_way == self.under_way


TestBudget = BudgetMachine.TestCase


class SharedBudgetMachine(RuleBasedStateMachine):
    """Two workers of one machine; time goes by half seconds, as the table counts them."""

    @initialize(start=st.integers(100, 10**6))
    def start(self, start: int) -> None:
        state = StateBlock()
        self.clock = FakeClock(start / 2)
        self.workers = [SharedRetryBudget(state, "account", self.clock) for _ in range(2)]
        self.requests: list[float] = []
        self.begun: list[float] = []
        self.under_way: list[list[float]] = [[], []]

    def recent(self, events: list[float]) -> int:
        return sum(self.clock.now_s - at < 10 for at in events)

    def room(self, worker: int) -> bool:
        older = [at for at in self.under_way[worker] if self.clock.now_s - at >= 10]
        return 5 * (len(older) + self.recent(self.begun)) < 15 + self.recent(self.requests)

    @rule(halves=st.integers(1, 25))
    def wait(self, halves: int) -> None:
        self.clock.advance(halves / 2)

    @rule(worker=st.integers(0, 1), n=st.integers(1, 20))
    def request(self, worker: int, n: int) -> None:
        for _ in range(n):
            self.workers[worker].note_request()
            self.requests.append(self.clock.now_s)

    @rule(worker=st.integers(0, 1))
    def begin(self, worker: int) -> None:
        expected = self.room(worker)
        assert self.workers[worker].begin() == expected
        if expected:
            self.begun.append(self.clock.now_s)
            self.under_way[worker].append(self.clock.now_s)

    @precondition(lambda self: any(getattr(self, "under_way", [])))
    @rule(worker=st.integers(0, 1))
    def end(self, worker: int) -> None:
        if self.under_way[worker]:
            self.workers[worker].end()
            self.under_way[worker].pop(0)

    @invariant()
    def says_what_the_list_says(self) -> None:
        for worker, budget in enumerate(getattr(self, "workers", [])):
            assert budget.allows() == self.room(worker)
            assert budget.under_way == len(self.under_way[worker])


TestSharedBudget = SharedBudgetMachine.TestCase


def test_workers_share_three_in_a_quiet_account() -> None:
    state, clock = StateBlock(), FakeClock()
    workers = [make_retry_budget(state, "account", clock) for _ in range(4)]
    assert [worker.begin() for worker in workers] == [True, True, True, False]
    assert [make_retry_budget(state, "other", clock, share=0, concurrent=n).begin() for n in (0, 1)] == [
        False,
        True,
    ]


def test_without_room_each_worker_has_its_own() -> None:
    state, clock = StateBlock(), FakeClock()
    table = BreakerTable(state)
    for i in range(1024):
        table.slot(f"b{i}")
    one, other = (make_retry_budget(state, "account", clock) for _ in range(2))
    assert [type(one), type(other)] == [RetryBudget, RetryBudget]
    assert [one.begin() for _ in range(4)] == [other.begin() for _ in range(4)] == [True, True, True, False]


def test_three_at_once_in_a_quiet_account() -> None:
    budget = RetryBudget(FakeClock())
    assert [budget.begin() for _ in range(4)] == [True, True, True, False]


def test_a_failing_account_sees_at_most_a_fifth_more() -> None:
    """Every request fails at once and asks for every retry that it may have."""
    clock = FakeClock()
    budget = RetryBudget(clock)
    retries = 0
    for _ in range(6000):
        budget.note_request()
        while budget.begin():
            budget.end()
            retries += 1
        clock.advance(0.01)
    # Six windows, in each of which three come on top, and the last begun fraction of one.
    assert 0.2 * 6000 <= retries <= 0.2 * 6000 + 6 * (3 + 1)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="no retry is under way"):
        RetryBudget(FakeClock()).end()
    with pytest.raises(ValueError, match=r"share is 1\.1"):
        RetryBudget(FakeClock(), share=1.1)
    with pytest.raises(ValueError, match="no retry is under way"):
        SharedRetryBudget(StateBlock(), "account", FakeClock()).end()
    with pytest.raises(ValueError, match=r"share is 1\.1"):
        SharedRetryBudget(StateBlock(), "account", FakeClock(), share=1.1)
