"""The retry budget against a list of everything that happened."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from turnout_server.resilience.retry_budget import RetryBudget

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
