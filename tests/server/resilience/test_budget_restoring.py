"""Budgets that come, go and come again, among workers that hear of it one after the other: a plain list of costs beside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from turnout_fastpath import StateBlock
from turnout_server.completion.stated_limits import BudgetBook
from turnout_server.resilience.budgets import (
    Budget,
    BudgetKind,
    Exhausted,
    Scope,
    ScopeKind,
    Settled,
    spend_limits,
)
from turnout_server.resilience.periods import day_of, month_of, unix_ms
from turnout_server.resilience.spend_budget import Reservation, Spending

from tests.server.resilience.fake_clock import FakeClock

ACME, GLOBEX = Scope(ScopeKind.TENANT, "acme"), Scope(ScopeKind.TENANT, "globex")
DEFAULT = Scope(ScopeKind.POLICY, "default")
MUCH = 10**12
DAY, BOTH = Budget(day_nano_usd=MUCH), Budget(day_nano_usd=MUCH, month_nano_usd=MUCH)
BOOKS = [
    BudgetBook(),
    BudgetBook({ACME: DAY}),
    BudgetBook({ACME: BOTH, DEFAULT: Budget(month_nano_usd=MUCH)}),
    BudgetBook({}, DAY),
    BudgetBook({ACME: Budget()}, BOTH),
    BudgetBook({DEFAULT: BOTH}, Budget(month_nano_usd=MUCH)),
]
PERIODS = {BudgetKind.SPEND_DAY: day_of, BudgetKind.SPEND_MONTH: month_of}
# What a clock is further on from one look at it to the next.
TICK_S = 1e-6


@dataclass
class Cost:
    """A row of the store, or of a worker's journal until it is flushed."""

    worker: int
    scopes: tuple[Scope, ...]
    at_ms: int
    settled_ns: int
    nano: int
    flushed: bool = False


class RestoringMachine(RuleBasedStateMachine):
    """Two workers over one state block; a policy file that each reads when it comes to it; a store.

    `exact` are the budgets that are counted to the unit from now on, without another reading.
    """

    @initialize(state=st.sampled_from(BOOKS))
    def start(self, state: BudgetBook) -> None:
        self.clock = FakeClock(unix_s=datetime(2026, 11, 27, 10, tzinfo=UTC).timestamp())
        self.file = state
        self.costs: list[Cost] = []
        self.open: list[tuple[int, Reservation]] = []
        self.exact: set[tuple[Scope, BudgetKind]] = set()
        self.block = StateBlock()
        self.books = [state, state]
        self.workers = [self.begin(0), self.begin(1)]

    def begin(self, worker: int) -> Spending:
        """A process starts, and takes in what the one before has left."""
        self.books[worker] = self.file
        begun = Spending(self.block, self.file, self.clock, stated=self.file.spend_limits())
        self.clock.advance(TICK_S)
        self.read(begun, worker)
        return begun

    def read(self, spending: Spending, worker: int) -> None:
        for cost in self.costs:
            cost.flushed = cost.flushed or cost.worker == worker
        now_ms = unix_ms(self.clock)
        begins_ms = month_of(now_ms).begins_ms
        ends_ns = [*spending.dates(begins_ms), 2**63 - 1]
        found = [cost for cost in self.costs if cost.flushed and cost.at_ms >= begins_ms]
        for scope in {scope for cost in found for scope in cost.scopes}:
            parts, after_ns = [], -1
            for end_ns in ends_ns:
                part = [one for one in found if scope in one.scopes and after_ns <= one.settled_ns < end_ns]
                today = [one.nano for one in part if one.at_ms >= day_of(now_ms).begins_ms]
                parts.append(Settled(end_ns, sum(today), sum(one.nano for one in part)))
                after_ns = end_ns
            spending.restore(scope, parts)

    def truth(self, scope: Scope, kind: BudgetKind) -> int:
        """What has been spent in the period that is now, and what is held."""
        period = PERIODS[kind](unix_ms(self.clock))
        spent = sum(
            cost.nano for cost in self.costs if scope in cost.scopes and cost.at_ms >= period.begins_ms
        )
        held = [
            one.nano_usd
            for _, one in self.open
            for hold in one.holds
            if (hold.scope, hold.kind, hold.period) == (scope, kind, period)
        ]
        return spent + sum(held)

    @rule(seconds=st.sampled_from([TICK_S, 0.001, 1.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: not getattr(self, "open", [0]))
    @rule(days=st.integers(1, 4))
    def wait_days(self, days: int) -> None:
        self.clock.advance(days * 86_400)

    @rule(book=st.sampled_from(BOOKS))
    def state(self, book: BudgetBook) -> None:
        self.file = book

    @rule(worker=st.integers(0, 1))
    def follow(self, worker: int) -> None:
        self.books[worker] = self.file
        self.workers[worker].use(self.file, self.file.spend_limits())
        self.clock.advance(TICK_S)

    @rule(worker=st.integers(0, 1), tenant=st.sampled_from([ACME, GLOBEX]), amount=st.integers(0, 50))
    def reserve(self, worker: int, tenant: Scope, amount: int) -> None:
        found = self.workers[worker].reserve([DEFAULT, tenant], amount, 0)
        assert not isinstance(found, Exhausted)
        self.open.append((worker, found))

    @precondition(lambda self: bool(getattr(self, "open", None)))
    @rule(data=st.data(), amount=st.integers(0, 90))
    def settle(self, data: st.DataObject, amount: int) -> None:
        worker, reservation = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        spending = self.workers[worker]
        settled_ns = spending.now_ns()
        spending.settle(reservation, amount, 0, settled_ns)
        self.costs.append(Cost(worker, tuple(reservation.scopes), reservation.at_ms, settled_ns, amount))

    @rule(worker=st.integers(0, 1), amount=st.integers(1, 9))
    def learn_from_a_gateway(self, worker: int, amount: int) -> None:
        """What no budget counts when it ends is known from the records alone."""
        self.exact.clear()
        self.costs.append(Cost(worker, (DEFAULT, ACME), unix_ms(self.clock), 0, amount))

    @rule(worker=st.integers(0, 1))
    def restore(self, worker: int) -> None:
        self.read(self.workers[worker], worker)

    @precondition(lambda self: not getattr(self, "open", [0]))
    @rule(worker=st.integers(0, 1))
    def replace(self, worker: int) -> None:
        """One is killed, and another takes its place and its journal."""
        self.workers[worker] = self.begin(worker)

    @precondition(lambda self: not getattr(self, "open", [0]))
    @rule(keeps_state=st.booleans())
    def restart(self, keeps_state: bool) -> None:
        if not keeps_state:
            self.exact.clear()
            self.block = StateBlock()
        self.workers = [self.begin(0), self.begin(1)]

    @precondition(lambda self: not getattr(self, "open", [0]))
    @rule(amount=st.integers(1, 90))
    def run_with_another_state(self, amount: int) -> None:
        """The service ran for a while without the file that holds its state."""
        self.exact.clear()
        settled_ns = int(self.clock.unix_s() * 1e9)
        self.costs.append(Cost(0, (DEFAULT, GLOBEX), unix_ms(self.clock), settled_ns, amount))
        self.clock.advance(TICK_S)
        self.workers = [self.begin(0), self.begin(1)]

    @rule()
    def all_have_followed_and_read(self) -> None:
        for worker in (0, 1):
            if self.books[worker] is not self.file:
                self.follow(worker)
        for worker in (0, 1):
            self.read(self.workers[worker], worker)
        for scope in (ACME, GLOBEX, DEFAULT):
            self.exact |= {(scope, kind) for kind, _ in spend_limits(self.file.get(scope) or Budget())}

    @invariant()
    def what_is_used_is_the_truth_or_less(self) -> None:
        for spending in getattr(self, "workers", []):
            for scope in (ACME, GLOBEX, DEFAULT):
                for kind, used in zip(PERIODS, spending.used_nano_usd(scope), strict=True):
                    truth = self.truth(scope, kind)
                    assert used == truth if (scope, kind) in self.exact else used <= truth, (scope, kind)


TestRestoring = RestoringMachine.TestCase


def test_a_worker_that_has_not_followed_yet_counts_for_the_one_that_has() -> None:
    """Without another reading: what it settles after the cut is counted as it ends, whoever let it in."""
    clock, block = FakeClock(), StateBlock()
    first, second = Spending(block, {}, clock), Spending(block, {}, clock)
    under_way = second.reserve([DEFAULT, GLOBEX], 40, 0)
    clock.advance(TICK_S)
    book = BudgetBook({DEFAULT: DAY}, DAY)
    first.use(book, book.spend_limits())
    clock.advance(TICK_S)
    let_in_later = second.reserve([DEFAULT, ACME], 40, 0)
    assert isinstance(under_way, Reservation)
    assert isinstance(let_in_later, Reservation)
    second.settle(under_way, 30, 0)
    second.settle(let_in_later, 20, 0)
    assert [first.used_nano_usd(scope)[0] for scope in (DEFAULT, GLOBEX, ACME)] == [50, 30, 20]


def test_decisions_hear_of_a_budget_that_calls_without_a_hold_have_spent() -> None:
    clock, told = FakeClock(), []
    spending = Spending(StateBlock(), {}, clock)
    held = spending.reserve([ACME], 0, 0)
    assert isinstance(held, Reservation)
    book = BudgetBook({ACME: Budget(day_nano_usd=10)})
    spending.use(book, book.spend_limits())
    spending._tell_decisions = lambda scope, seconds: told.append((scope, seconds > 0))  # type: ignore[method-assign]
    spending.settle(held, 10, 0)
    assert told == [(ACME, True)]


def test_so_many_budgets_take_their_counters_at_once_and_the_others_when_they_are_spent() -> None:
    scopes = [Scope(ScopeKind.TENANT, str(i)) for i in range(5000)]
    book = BudgetBook(dict.fromkeys(scopes, DAY))
    spending = Spending(StateBlock(), book, FakeClock(), stated=book.spend_limits())
    assert spending._table.dated == 4096
    held = spending.reserve(scopes[-1:], 5, 0)
    assert isinstance(held, Reservation)
    spending.settle(held, 5, 0)
    assert spending.used_nano_usd(scopes[-1])[0] == 5
    assert spending._table.dated == 4097
    # A call under way that holds nothing makes its counter, too.
    under_way = spending.reserve([GLOBEX], 0, 0)
    assert isinstance(under_way, Reservation)
    book = BudgetBook(dict.fromkeys([*scopes, GLOBEX], DAY))
    spending.use(book, book.spend_limits())
    spending.settle(under_way, 5, 0)
    assert spending.used_nano_usd(GLOBEX)[0] == 5
