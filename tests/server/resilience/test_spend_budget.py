"""Budgets against plain sums; the race of many on little, by threads and by processes; workers that die."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from turnout_fastpath import Engine, StateBlock
from turnout_fastpath.counter_table import FULL, CounterTable
from turnout_server.resilience.budgets import Budget, BudgetKind, Exhausted, Scope, ScopeKind, Settled
from turnout_server.resilience.periods import Period, day_of, month_of
from turnout_server.resilience.spend_budget import Reservation, Spending

from tests.fastpath.documents import document
from tests.fastpath.processes import run_together
from tests.fastpath.synthetic import write_synthetic
from tests.server.resilience.fake_clock import FakeClock

ACME, DEFAULT = Scope(ScopeKind.TENANT, "acme"), Scope(ScopeKind.POLICY, "default")
DAY_S = 86_400


@given(at=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_periods_are_the_calendars(at: datetime) -> None:
    unix_ms = int(at.timestamp()) * 1000 + at.microsecond // 1000
    for period, expected in ((day_of(unix_ms), "%Y-%m-%d"), (month_of(unix_ms), "%Y-%m")):
        assert period.begins_ms <= unix_ms < period.ends_ms
        ends = [period.begins_ms, period.ends_ms - 1, period.begins_ms - 1, period.ends_ms]
        names = [datetime.fromtimestamp(ms / 1000, UTC).strftime(expected) for ms in ends if ms >= 0]
        now = at.strftime(expected)
        assert [name == now for name in names] == (
            [True, True, False, False] if len(names) == 4 else [True, True, False]
        )


BUDGETS = {ACME: Budget(day_nano_usd=100, month_nano_usd=250), DEFAULT: Budget(month_nano_usd=300)}


class SpendMachine(RuleBasedStateMachine):
    """Two workers; requests of one tenant and of others under one policy. Reservations last 15 minutes at least."""

    @initialize()
    def start(self) -> None:
        block = StateBlock()
        self.clock = FakeClock(unix_s=datetime(2026, 11, 28, 10, tzinfo=UTC).timestamp())
        self.workers = [Spending(block, BUDGETS, self.clock) for _ in range(2)]
        self.open: list[tuple[Reservation, int]] = []
        # One entry a request: when, whether the tenant's, and what it counts.
        self.spent: list[tuple[datetime, bool, int]] = []

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.wall_s, UTC)

    def used(self, acme: bool, form: str) -> int:
        now = self.now.strftime(form)
        return sum(
            amount for at, of_acme, amount in self.spent if at.strftime(form) == now and (of_acme or not acme)
        )

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: not getattr(self, "open", [0]))
    @rule(days=st.integers(1, 3))
    def wait_days(self, days: int) -> None:
        self.clock.advance(days * DAY_S)

    @rule(worker=st.integers(0, 1), acme=st.booleans(), amount=st.integers(0, 120))
    def reserve(self, worker: int, acme: bool, amount: int) -> None:
        expected: tuple[Scope, BudgetKind] | None = None
        if acme and self.used(True, "%Y-%m-%d") + amount > 100:
            expected = (ACME, BudgetKind.SPEND_DAY)
        elif acme and self.used(True, "%Y-%m") + amount > 250:
            expected = (ACME, BudgetKind.SPEND_MONTH)
        elif self.used(False, "%Y-%m") + amount > 300:
            expected = (DEFAULT, BudgetKind.SPEND_MONTH)
        scopes = [ACME, DEFAULT] if acme else [Scope(ScopeKind.TENANT, "globex"), DEFAULT]
        found = self.workers[worker].reserve(scopes, amount, 0)
        if expected is None:
            assert isinstance(found, Reservation)
            self.open.append((found, len(self.spent)))
            self.spent.append((self.now, acme, amount))
        else:
            assert isinstance(found, Exhausted)
            assert (found.scope, found.kind) == expected
            assert (found.retry_after_s is None) == (amount > found.limit)

    @precondition(lambda self: bool(getattr(self, "open", None)))
    @rule(data=st.data(), worker=st.integers(0, 1), amount=st.integers(0, 150))
    def settle(self, data: st.DataObject, worker: int, amount: int) -> None:
        reservation, at = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.workers[worker].settle(reservation, amount, 0)
        self.spent[at] = (*self.spent[at][:2], amount)
        with pytest.raises(ValueError, match="settled before"):
            self.workers[worker].settle(reservation, amount, 0)

    @invariant()
    def what_is_used_is_the_sum(self) -> None:
        for spending in getattr(self, "workers", []):
            assert spending.used_nano_usd(ACME) == (self.used(True, "%Y-%m-%d"), self.used(True, "%Y-%m"))
            assert spending.used_nano_usd(DEFAULT)[1] == self.used(False, "%Y-%m")


TestSpending = SpendMachine.TestCase


def test_two_hundred_threads_on_a_budget_for_ten() -> None:
    state, clock = StateBlock(), FakeClock()
    spending = Spending(state, {ACME: Budget(day_nano_usd=10 * 7)}, clock)

    def ask(_: int) -> bool:
        found = spending.reserve([ACME], 7, 0)
        if isinstance(found, Exhausted):
            return False
        spending.settle(found, 7, 0)
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(ask, range(200))) == 10
    assert spending.used_nano_usd(ACME)[0] == 70


WORKER = """
import os
import signal
import sys
from turnout_fastpath import StateBlock
from turnout_server.resilience.budgets import Budget, Exhausted, Scope, ScopeKind
from turnout_server.resilience.spend_budget import Spending
sys.path.append(sys.argv[3])
from tests.server.resilience.fake_clock import FakeClock
acme = Scope(ScopeKind.TENANT, "acme")
spending = Spending(StateBlock(sys.argv[1]), {acme: Budget(day_nano_usd=70, month_nano_usd=10**9)}, FakeClock())
sys.stdin.readline()
got = [found for _ in range(100) if not isinstance(found := spending.reserve([acme], 7, 0), Exhausted)]
if sys.argv[2] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
for reservation in got:
    spending.settle(reservation, 7, 0)
print(len(got))
"""
ROOT = str(Path(__file__).resolve().parents[3])


def test_two_hundred_requests_of_two_processes_on_a_budget_for_ten(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    printed = run_together(WORKER, [path, "settles", ROOT], [path, "settles", ROOT])
    assert sum(map(int, printed)) == 10
    spending = Spending(StateBlock(path), {}, FakeClock())
    assert spending.used_nano_usd(ACME) == (70, 70)


def test_what_a_worker_held_when_it_died_comes_back(tmp_path: Path) -> None:
    path, clock = str(tmp_path / "state"), FakeClock()
    run_together(WORKER, [path, "dies", ROOT], codes=[-signal.SIGKILL])
    spending = Spending(StateBlock(path), {ACME: Budget(day_nano_usd=70)}, clock)
    assert isinstance(spending.reserve([ACME], 1, 0), Exhausted)
    clock.advance(14.9 * 60)
    assert isinstance(spending.reserve([ACME], 1, 0), Exhausted)
    clock.advance(5.1 * 60)
    assert isinstance(spending.reserve([ACME], 70, 0), Reservation)
    assert spending.expired_nano_usd == 70


def test_an_answer_settled_after_its_reservation_came_back_counts_in_full() -> None:
    clock = FakeClock()
    spending = Spending(StateBlock(), {ACME: Budget(day_nano_usd=70)}, clock)
    late = spending.reserve([ACME], 60, 0)
    clock.advance(20 * 60)
    other = spending.reserve([ACME], 50, 0)
    assert isinstance(late, Reservation)
    assert isinstance(other, Reservation)
    spending.settle(late, 60, 0)
    assert spending.used_nano_usd(ACME)[0] == 110


def test_an_answer_settled_on_the_next_day_is_the_days_before() -> None:
    clock = FakeClock(unix_s=DAY_S * 20_000 - 1.0)
    spending = Spending(StateBlock(), {ACME: Budget(day_nano_usd=70)}, clock)
    first = spending.reserve([ACME], 60, 0)
    clock.advance(2)
    second = spending.reserve([ACME], 60, 0)
    assert isinstance(first, Reservation)
    assert isinstance(second, Reservation)
    spending.settle(first, 70, 0)
    assert spending.used_nano_usd(ACME)[0] == 60


def earlier(day: int, month: int, since: int = 0) -> list[Settled]:
    """Records of the day and of the month from before any budget, and so much from later."""
    return [Settled(1, day, month), Settled(2**63 - 1, since, since)]


def test_what_an_earlier_run_spent_is_restored_once_by_all_workers(tmp_path: Path) -> None:
    state, clock = StateBlock(tmp_path / "state"), FakeClock()
    budgets = {ACME: Budget(day_nano_usd=50, month_nano_usd=100), DEFAULT: Budget(month_nano_usd=100)}
    workers = [Spending(state, budgets, clock) for _ in range(3)]
    for worker in workers:
        worker.restore(ACME, earlier(30, 90))
        worker.restore(DEFAULT, earlier(95, 95))
        worker.restore(Scope(ScopeKind.TENANT, "globex"), earlier(1, 1))
    assert [workers[0].used_nano_usd(scope) for scope in (ACME, DEFAULT)] == [(30, 90), (0, 95)]
    assert isinstance(workers[1].reserve([ACME], 11, 0), Exhausted)
    assert isinstance(workers[1].reserve([ACME], 10, 0), Reservation)
    engine = Engine.load(write_synthetic(tmp_path / "bundle"), document(), state=tmp_path / "state")
    state.set_budget_spent("acme", 0)
    workers[2].restore(ACME, earlier(50, 50))
    assert engine.route("hello", tenant="acme").live_state.budget_spent


def test_what_is_restored_stands_beside_what_is_reserved() -> None:
    """The records hold what was settled; a request under way is in none of them."""
    state, clock = StateBlock(), FakeClock()
    spending = Spending(state, {ACME: Budget(day_nano_usd=100)}, clock)
    held = spending.reserve([ACME], 30, 0)
    assert isinstance(held, Reservation)
    for _ in range(2):
        spending.restore(ACME, earlier(50, 50))
        assert spending.used_nano_usd(ACME)[0] == 80
    assert isinstance(spending.reserve([ACME], 21, 0), Exhausted)
    spending.settle(held, 10, 0)
    assert spending.used_nano_usd(ACME)[0] == 60
    # The records know of it by now.
    spending.restore(ACME, earlier(50, 50, since=10))
    assert spending.used_nano_usd(ACME)[0] == 60


class Known:
    """Other machines have spent 40 of everything."""

    def spent(self, name: str, period: Period) -> int:
        return 40

    def note(self, name: str, period: Period, amount: int) -> None:
        raise AssertionError("what is restored is no news")


def test_records_of_all_machines_are_not_counted_twice() -> None:
    spending = Spending(StateBlock(), {ACME: Budget(day_nano_usd=100)}, FakeClock(), Known())
    spending.restore(ACME, earlier(70, 70), of_all_machines=True)
    assert spending.used_nano_usd(ACME)[0] == 30
    assert spending.left(ACME, Budget(day_nano_usd=100)) == [(BudgetKind.SPEND_DAY, 100, 30)]
    refused = spending.reserve([ACME], 31, 0)
    assert isinstance(refused, Exhausted)
    assert (refused.left, refused.window_s) == (30, DAY_S)


def test_other_limits_leave_what_is_spent_and_reserved(tmp_path: Path) -> None:
    engine = Engine.load(write_synthetic(tmp_path / "bundle"), document(), state=tmp_path / "state")
    clock = FakeClock()
    spending = Spending(StateBlock(tmp_path / "state"), {ACME: Budget(day_nano_usd=10)}, clock)

    def spent() -> bool:
        return engine.route("hello", tenant="acme").live_state.budget_spent

    held = spending.reserve([ACME], 10, 0)
    assert isinstance(held, Reservation)
    spending.use({ACME: Budget(day_nano_usd=15, month_nano_usd=20)})
    assert isinstance(spending.reserve([ACME], 6, 0), Exhausted)
    spending.settle(held, 10, 0)
    spending.use({ACME: Budget(day_nano_usd=10)})
    assert isinstance(spending.reserve([ACME], 1, 0), Exhausted)
    assert spent()
    for budgets, expected in (
        ({ACME: Budget(day_nano_usd=11)}, False),
        ({ACME: Budget(day_nano_usd=10)}, False),
    ):
        spending.use(budgets)
        assert spent() == expected
    assert isinstance(spending.reserve([ACME], 1, 0), Exhausted)
    assert spent()
    spending.use({ACME: Budget(day_nano_usd=9)})
    assert spent()
    spending.use({})
    assert not spent()


def test_tokens_and_requests_a_minute_are_given_back_with_the_rest() -> None:
    clock = FakeClock()
    spending = Spending(
        StateBlock(),
        {ACME: Budget(tokens_minute=100, requests_minute=3), DEFAULT: Budget(day_nano_usd=5)},
        clock,
    )
    for _ in range(10):
        refused = spending.reserve([ACME, DEFAULT], 6, 50)
        assert isinstance(refused, Exhausted)
        assert (refused.scope, refused.kind, refused.retry_after_s) == (DEFAULT, BudgetKind.SPEND_DAY, None)
    first = spending.reserve([ACME, DEFAULT], 1, 90)
    assert isinstance(first, Reservation)
    short = spending.reserve([ACME, DEFAULT], 1, 20)
    assert isinstance(short, Exhausted)
    assert short.kind is BudgetKind.TOKENS_MINUTE
    assert short.retry_after_s == pytest.approx(6)
    spending.settle(first, 1, 30)
    assert isinstance(spending.reserve([ACME, DEFAULT], 1, 70), Reservation)
    assert isinstance(spending.reserve([ACME, DEFAULT], 1, 0), Reservation)
    fourth = spending.reserve([ACME, DEFAULT], 1, 0)
    assert isinstance(fourth, Exhausted)
    assert fourth.kind is BudgetKind.REQUESTS_MINUTE
    assert fourth.retry_after_s == pytest.approx(20)


def test_a_table_without_room_refuses_spending_and_counts() -> None:
    state = StateBlock()
    table = CounterTable(state)
    now_ms = int(FakeClock().unix_s() * 1000)
    day = day_of(now_ms)

    def fill(name: str) -> int:
        return table.reserve(name, 1, 1, begins_ms=day.begins_ms, ends_ms=day.ends_ms, now_ms=now_ms)[0]

    full = next(name for i in range(10**6) if fill(f"spend_day tenant {(name := f't{i}')}") == FULL)
    scope = Scope(ScopeKind.TENANT, full)
    spending = Spending(state, {scope: Budget(day_nano_usd=5)}, FakeClock())
    refused = spending.reserve([scope], 1, 0)
    assert isinstance(refused, Exhausted)
    assert (refused.no_room, refused.retry_after_s, spending.no_room) == (True, 60.0, 1)


def test_decisions_hear_of_a_spent_budget(tmp_path: Path) -> None:
    engine = Engine.load(write_synthetic(tmp_path / "bundle"), document(), state=tmp_path / "state")
    spending = Spending(
        StateBlock(tmp_path / "state"),
        {ACME: Budget(day_nano_usd=10), DEFAULT: Budget(day_nano_usd=1)},
        FakeClock(),
    )

    def spent() -> bool:
        return engine.route("hello", tenant="acme").live_state.budget_spent

    half = spending.reserve([ACME], 5, 0)
    assert isinstance(half, Reservation)
    spending.settle(half, 5, 0)
    assert not spent()
    rest = spending.reserve([ACME], 5, 0)
    assert isinstance(rest, Reservation)
    assert not spent()
    spending.settle(rest, 5, 0)
    assert spent()


def test_decisions_hear_of_a_refusal(tmp_path: Path) -> None:
    engine = Engine.load(write_synthetic(tmp_path / "bundle"), document(), state=tmp_path / "state")
    spending = Spending(StateBlock(tmp_path / "state"), {ACME: Budget(month_nano_usd=10)}, FakeClock())
    assert isinstance(spending.reserve([ACME], 6, 0), Reservation)
    assert isinstance(spending.reserve([ACME], 6, 0), Exhausted)
    assert engine.route("hello", tenant="acme").live_state.budget_spent


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="day_nano_usd is 18014398509481984, 0 to"):
        Budget(day_nano_usd=1 << 54)
    for wrong in (-1, 1 << 48):
        with pytest.raises(ValueError, match=f"nano_usd is {wrong} and tokens 0, 0 to"):
            Spending(StateBlock(), {}, FakeClock()).reserve([], wrong, 0)
