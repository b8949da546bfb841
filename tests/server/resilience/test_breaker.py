"""One breaker, held by two workers, against a plain state machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from turnout_fastpath import StateBlock
from turnout_fastpath.breaker_table import BreakerTable
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breaker import Breaker, Health, Ticket, Word
from turnout_server.resilience.breaker_rules import (
    ACCOUNT_RULES,
    BLAME,
    DEPLOYMENT_RULES,
    Blame,
    BreakerRules,
    Cause,
    Evidence,
)

from tests.server.resilience.fake_clock import FakeClock
from tests.server.resilience.sources import Highest

RULES = BreakerRules(least_calls=6, run=4)


@dataclass
class Model:
    """A breaker in seconds and lists."""

    now: float
    cause: str = ""
    until: float = 0.0
    closed_at: float = -1e9
    trips: int = 0
    paused_until: float = 0.0
    probing_until: float = 0.0
    change: int = 0
    calls: list[tuple[float, bool]] = field(default_factory=list)
    run: list[float] = field(default_factory=list)

    def health(self) -> str:
        if max(self.paused_until, self.until if self.cause else 0) > self.now:
            return "open"
        return "half_open" if self.cause else "closed"

    def trip(self, cause: str) -> None:
        first, most = {"failures": (1, 15), "quota": (300, 1200), "configuration": (600, 600)}[cause]
        if self.cause and self.until > self.now:
            until = self.now + min(most, first * 2 ** (self.trips - 1))
            if until <= self.until:
                return
        else:
            if not self.cause and self.now - self.closed_at >= 60:
                self.trips = 0
            self.trips += 1
            until = self.now + min(most, first * 2 ** (self.trips - 1))
        self.cause, self.until = cause, until
        self.change += 1

    def close(self) -> None:
        self.cause, self.closed_at = "", self.now
        self.change += 1
        self.calls, self.run = [], []

    def count(self, failed: bool, slow: bool) -> None:
        self.calls.append((self.now, failed or slow))
        if failed:
            if self.run and self.now - self.run[-1] > 10:
                self.run = []
            self.run.append(self.now)
        elif not slow:
            self.run = []
        tick = self.now // 0.5
        sick = len(self.run) >= 4
        for width in (2, 20):
            bad = [wrong for at, wrong in self.calls if at // 0.5 > tick - width]
            sick |= len(bad) >= 6 and sum(bad) >= len(bad) / 2
        if (failed or slow) and sick:
            self.trip("failures")


@dataclass
class Call:
    """A call under way."""

    ticket: Ticket
    change: int
    lease: float
    last_resort: bool


class BreakerMachine(RuleBasedStateMachine):
    """Times are multiples of 1/4 s, so that milliseconds are whole."""

    @initialize(quarters=st.integers(1000, 10**6))
    def start(self, quarters: int) -> None:
        block = StateBlock()
        self.clock = FakeClock(quarters / 4)
        self.workers = [
            Breaker(BreakerTable(block), "deployment a", RULES, self.clock, Highest()) for _ in range(2)
        ]
        self.model = Model(self.clock.now_s)
        self.calls: list[Call] = []

    @rule(quarters=st.sampled_from([0, 1, 2, 4, 8, 20, 61, 300, 5000]))
    def wait(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)
        self.model.now = self.clock.now_s

    @rule(worker=st.integers(0, 1), last_resort=st.booleans())
    def call(self, worker: int, last_resort: bool) -> None:
        health = self.model.health()
        if health == "open" and last_resort:
            self.calls.append(Call(self.workers[worker].ticket(), self.model.change, 0.0, True))
            return
        ticket = self.workers[worker].admit()
        free = self.model.probing_until <= self.model.now
        assert (ticket is not None) == (health == "closed" or (health == "half_open" and free))
        if ticket is None:
            return
        assert bool(ticket.lease_ms) == (health == "half_open")
        if ticket.lease_ms:
            self.model.probing_until = self.model.now + 15
        lease = self.model.probing_until if ticket.lease_ms else 0.0
        self.calls.append(Call(ticket, self.model.change, lease, False))

    @precondition(lambda self: bool(getattr(self, "calls", None)))
    @rule(data=st.data(), worker=st.integers(0, 1), end=st.sampled_from(["fail", "good", "slow", "nothing"]))
    def finish(self, data: st.DataObject, worker: int, end: str) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        breaker, model = self.workers[worker], self.model
        if end == "nothing":
            breaker.release(call.ticket)
        elif end == "fail":
            breaker.fail(call.ticket)
        else:
            breaker.succeed(call.ticket, slow=end == "slow", last_resort=call.last_resort)
        if end != "nothing" and call.change == model.change:
            if not model.cause:
                model.count(end == "fail", end == "slow")
            elif end == "good" and (call.lease or call.last_resort):
                model.close()
            elif end != "good" and call.lease:
                model.trip(model.cause)
        if call.lease and call.lease == model.probing_until:
            model.probing_until = 0.0

    @rule(worker=st.integers(0, 1), ends=st.lists(st.sampled_from(["fail", "good", "slow"]), max_size=8))
    def burst(self, worker: int, ends: list[str]) -> None:
        for end in ends:
            if self.model.health() != "closed":
                return
            ticket = self.workers[worker].ticket()
            if end == "fail":
                self.workers[worker].fail(ticket)
            else:
                self.workers[worker].succeed(ticket, slow=end == "slow")
            self.model.count(end == "fail", end == "slow")

    @rule(worker=st.integers(0, 1), cause=st.sampled_from([Cause.QUOTA, Cause.CONFIGURATION]))
    def told(self, worker: int, cause: Cause) -> None:
        self.workers[worker].open(cause)
        self.model.trip(cause.name.lower())

    @rule(worker=st.integers(0, 1), quarters=st.integers(0, 100))
    def pause(self, worker: int, quarters: int) -> None:
        self.workers[worker].pause(quarters / 4)
        self.model.paused_until = max(self.model.paused_until, self.model.now + quarters / 4)

    @rule(worker=st.integers(0, 1))
    def reset(self, worker: int) -> None:
        self.workers[worker].reset()
        self.model.paused_until = 0.0
        if self.model.cause:
            self.model.close()
        self.model.calls, self.model.run = [], []

    @invariant()
    def both_workers_see_the_models_health(self) -> None:
        for breaker in getattr(self, "workers", []):
            assert breaker.health() == self.model.health()
            assert breaker.word.trips == self.model.trips


TestBreaker = BreakerMachine.TestCase


@given(
    since=st.integers(0, 2**40 - 1),
    generation=st.integers(0, 2**14 - 1),
    trips=st.integers(0, 63),
    cause=st.sampled_from(Cause),
)
def test_a_word_unpacks_to_what_was_packed(since: int, generation: int, trips: int, cause: Cause) -> None:
    word = Word(since, generation, trips, cause)
    assert word.pack() < 2**64
    assert Word.unpack(word.pack()) == word


def test_every_fault_is_somebodys_or_nobodys() -> None:
    nobodys = {
        FaultKind.CONTEXT_EXCEEDED,
        FaultKind.CONTENT_POLICY,
        FaultKind.BAD_REQUEST,
        FaultKind.CANCELLED,
        FaultKind.DEADLINE,
        FaultKind.STALE_CONNECTION,
    }
    told = {
        FaultKind.QUOTA_EXHAUSTED: Blame.ACCOUNT,
        FaultKind.CONFIGURATION: Blame.DEPLOYMENT,
        FaultKind.RATE_LIMITED: Blame.WAIT,
    }
    for fault in FaultKind:
        expected = Blame.NOBODY if fault in nobodys else told.get(fault, Blame.EVIDENCE)
        assert BLAME[fault] is expected


@pytest.mark.parametrize(
    ("evidence", "sick"),
    [
        (Evidence(4, 4, 4, 4, 4), False),
        (Evidence(5, 5, 5, 5, 5), True),
        (Evidence(1, 19, 19, 19, 19), False),
        (Evidence(1, 20, 10, 200, 10), True),
        (Evidence(1, 20, 9, 200, 9), False),
        (Evidence(1, 0, 0, 20, 10), True),
        (Evidence(0, 0, 0, 0, 0), False),
    ],
)
def test_evidence_that_opens(evidence: Evidence, sick: bool) -> None:
    assert DEPLOYMENT_RULES.is_sick(evidence) == sick
    doubled = Evidence(*(2 * number for number in evidence))
    assert ACCOUNT_RULES.is_sick(doubled) == sick
    assert not ACCOUNT_RULES.is_sick(evidence) or not sick


def test_open_times_double_up_to_their_limit_with_jitter_below() -> None:
    times = [DEPLOYMENT_RULES.open_s(Cause.FAILURES, trips, Highest()) for trips in range(1, 64)]
    assert times[:6] == [1, 2, 4, 8, 15, 15]
    assert times[-1] == 15
    assert [DEPLOYMENT_RULES.open_s(Cause.QUOTA, trips, Highest()) for trips in (1, 2, 9)] == [300, 600, 1200]


@pytest.mark.parametrize(
    ("seconds", "until_s"), [(2.0, 2.0), (math.inf, 3600.0), (0.0, 0.0), (-1.0, 0.0), (math.nan, 0.0)]
)
def test_a_pause_lasts_as_told_and_an_hour_at_most(seconds: float, until_s: float) -> None:
    clock = FakeClock()
    breaker = Breaker(BreakerTable(StateBlock()), "a", DEPLOYMENT_RULES, clock, Highest())
    breaker.pause(seconds)
    assert breaker.closed_until_ms() == (int((1000 + until_s) * 1000) if until_s else 0)


def test_a_probe_that_never_ends_gives_way_when_its_lease_is_over() -> None:
    clock = FakeClock()
    breaker = Breaker(BreakerTable(StateBlock()), "a", DEPLOYMENT_RULES, clock, Highest())
    for _ in range(5):
        breaker.fail(breaker.ticket())
    assert breaker.health() is Health.OPEN
    clock.advance(1)
    assert breaker.admit() is not None
    clock.advance(14.9)
    assert breaker.admit() is None
    clock.advance(0.1)
    assert breaker.admit() is not None
