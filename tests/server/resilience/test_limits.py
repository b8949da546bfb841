"""Limits against plain counts and buckets, over two workers."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from turnout_fastpath import StateBlock
from turnout_fastpath.counter_table import CounterTable
from turnout_server.resilience.limits import (
    RETRY_AFTER_S,
    Entry,
    Limit,
    LimitKind,
    Limits,
    Refusal,
    share_of,
)
from turnout_server.resilience.rates import Rates

from tests.server.resilience.fake_clock import FakeClock

LIMITS = {"all": Limit(in_flight=4), "account": Limit(3, 12, 60), "deployment": Limit(2, None, 30)}
SCOPES = [("all",), ("all", "account"), ("all", "account", "deployment"), ("all", "account", "unlimited")]


class LimitMachine(RuleBasedStateMachine):
    """Two workers with limits of their own on what is under way, and shared rates."""

    @initialize()
    def start(self) -> None:
        block = StateBlock()
        self.clock = FakeClock()
        self.workers = [
            Limits(LIMITS, Rates(CounterTable(block), self.clock), Random(worker)) for worker in range(2)
        ]
        self.under_way: list[tuple[int, Entry]] = []
        full = {("account", "requests"): 12, ("account", "tokens"): 60, ("deployment", "tokens"): 30}
        self.limits = full
        self.levels = {name: Fraction(limit) for name, limit in full.items()}

    @rule(quarters=st.integers(1, 40))
    def wait(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)
        for name, limit in self.limits.items():
            self.levels[name] = min(Fraction(limit), self.levels[name] + Fraction(limit * quarters, 240))

    @rule(worker=st.integers(0, 1), scopes=st.sampled_from(SCOPES), tokens=st.integers(0, 32))
    def enter(self, worker: int, scopes: tuple[str, ...], tokens: int) -> None:
        expected: tuple[str, str] | None = None
        for scope in scopes:
            held = sum(scope in entry.scopes for owner, entry in self.under_way if owner == worker)
            limit = LIMITS.get(scope)
            if expected is None and limit is not None and limit.in_flight == held:
                expected = (scope, "in_flight")
        wants = {
            (scope, what): amount
            for scope in scopes
            for what, amount in (("requests", 1), ("tokens", tokens))
            if (scope, what) in self.levels
        }
        for (scope, what), amount in wants.items():
            if expected is None and amount > self.levels[scope, what]:
                expected = (scope, f"{what}_minute")
        # A look changes nothing.
        assert self.workers[worker].has_room(scopes, tokens) == (expected is None)
        found = self.workers[worker].enter(scopes, tokens)
        if expected is None:
            assert isinstance(found, Entry)
            self.under_way.append((worker, found))
            for name, amount in wants.items():
                self.levels[name] -= amount
            return
        assert isinstance(found, Refusal)
        assert (found.scope, str(found.kind)) == expected
        if found.kind is LimitKind.IN_FLIGHT:
            assert found.retry_after_s is not None
            assert RETRY_AFTER_S[0] <= found.retry_after_s <= RETRY_AFTER_S[1]
            return
        name = (expected[0], expected[1].removesuffix("_minute"))
        if wants[name] > self.limits[name]:
            assert found.retry_after_s is None
        else:
            wait_s = (wants[name] - self.levels[name]) * 60 / self.limits[name]
            assert found.retry_after_s == pytest.approx(float(wait_s), abs=1e-6)

    @precondition(lambda self: bool(getattr(self, "under_way", None)))
    @rule(data=st.data(), tokens=st.none() | st.integers(0, 40))
    def leave(self, data: st.DataObject, tokens: int | None) -> None:
        worker, entry = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.workers[worker].leave(entry, tokens)
        for scope in entry.scopes:
            if tokens is not None and (name := (scope, "tokens")) in self.levels:
                level = self.levels[name] + entry.tokens - tokens
                self.levels[name] = min(Fraction(self.limits[name]), max(Fraction(0), level))

    @precondition(lambda self: bool(getattr(self, "under_way", None)))
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        worker, entry = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.workers[worker].undo(entry)
        for scope in entry.scopes:
            for what, amount in (("requests", 1), ("tokens", entry.tokens)):
                if (name := (scope, what)) in self.levels:
                    self.levels[name] = min(Fraction(self.limits[name]), self.levels[name] + amount)

    @invariant()
    def counts_are_those_of_the_list(self) -> None:
        for worker, limits in enumerate(getattr(self, "workers", [])):
            for scope in LIMITS:
                held = sum(scope in entry.scopes for owner, entry in self.under_way if owner == worker)
                assert limits.in_flight[scope] == held


TestLimits = LimitMachine.TestCase


@given(limit=st.integers(1, 1000), workers=st.integers(1, 64))
def test_shares_add_up(limit: int, workers: int) -> None:
    shares = [share_of(limit, workers, index) for index in range(workers)]
    assert sum(shares) == max(limit, workers)
    assert max(shares) - min(shares) <= 1


@given(per_minute=st.integers(1, 10**7))
def test_a_rested_minute_fits_whole_and_then_nothing(per_minute: int) -> None:
    rates = Rates(CounterTable(StateBlock()), FakeClock())
    assert rates.take("r", per_minute, per_minute) == 0
    wait_s = rates.take("r", 1, per_minute)
    assert wait_s is not None
    assert wait_s > 0
    assert rates.take("r", per_minute + 1, per_minute) is None


def test_a_full_table_lets_rates_through_and_counts() -> None:
    rates = Rates(CounterTable(StateBlock()), FakeClock())
    for i in range(40_000):
        rates.take(f"r{i}", 1, 1)
    assert rates.unlimited > 40_000 - 32_768
    assert [rates.take("r0", 1, 1), rates.unlimited > 0] == [60.0, True]


@pytest.mark.parametrize("fields", [{"in_flight": 0}, {"requests_minute": -1}, {"tokens_minute": 0}])
def test_a_limit_of_nothing_is_refused(fields: dict[str, int]) -> None:
    ((name, value),) = fields.items()
    with pytest.raises(ValueError, match=f"{name} is {value}, at least 1 needed"):
        Limit(**fields)
    with pytest.raises(ValueError, match="r: 0 a minute"):
        Rates(CounterTable(StateBlock()), FakeClock()).take("r", 1, 0)
