"""What a tenant and a policy may spend: dollars a day and a month, tokens and requests a minute.

The rule: a request reserves its estimate in every budget that holds for it before the call, and settles what it cost
after. A reservation is only given when all that is used and reserved stays within the limit, so a budget is overspent by
no more than what answers cost beyond their estimates, however many ask at once, in however many workers of the machine.
A worker that dies leaves its reservations; they come back after 15 to 20 minutes (see `CounterTable`). An answer that is
settled later than that still counts in full.

A budget that is stated anew begins at a cut in time, which all workers share (see `CounterTable`). What is settled at it
or later is counted by whoever settles it: also by a worker that does not know of the budget yet, and of a request that
was let in before and holds nothing. What was settled before is summed from the outcome store's records, which carry the
time of settlement, as often as one likes. So nothing is counted twice, and what is not flushed yet is found by the next
reading. A scope that was counted once goes on being counted when its budget is taken away, for the day when it is back.

Money is integer nano-dollars. When the table of the state block has no room for another budget, spending is refused
(closed) and counted; rates are let through (see `rates`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from turnout_fastpath import StateBlock
from turnout_fastpath.counter_table import FULL, REFUSED, UNCOUNTED, CounterTable

from turnout_server.resilience.budgets import (
    OTHER_TENANTS,
    PERIODS,
    Budget,
    BudgetKind,
    BudgetSource,
    Elsewhere,
    Exhausted,
    Nowhere,
    Scope,
    ScopeKind,
    Settled,
    counter_name,
    spend_limits,
    spend_limits_at,
)
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.periods import Period, day_of, month_of, unix_ms
from turnout_server.resilience.rates import MINUTE_NS, Rates

# Of one request, and of all that a scope has reserved and not settled within five minutes: 281,474 US dollars.
MOST_RESERVED_NANO_USD = (1 << 48) - 1
# What a refusal tells decisions holds no longer than this: what others have reserved may come back.
REFUSED_S = 60.0
MINUTE_S = MINUTE_NS // 10**9
# Tenants of whom a worker remembers that it told decisions.
MOST_TOLD = 10_000
# Budgets of one policy file that other workers count before they have read it; each has its counter from then on.
MOST_STATED = 4096
# Times by which records are summed apart: there are as many as reloads of the month that stated a budget.
MOST_DATES = 256


class _Hold(NamedTuple):
    scope: Scope
    kind: BudgetKind
    limit: int
    period: Period
    tag: int
    span: int


@dataclass(slots=True)
class Reservation:
    """What a request holds; settled once, with `Spending.settle`.

    Attributes:
        nano_usd: reserved in each of `holds`.
        tokens: the same, of rates.
        scopes: whose money it is, with a budget or without.
        at_ms: when it was reserved: what is settled is of the day and of the month of that time.
    """

    nano_usd: int
    tokens: int
    scopes: Sequence[Scope]
    at_ms: int
    holds: list[_Hold] = field(default_factory=list)
    rates: list[tuple[Scope, BudgetKind, int, int]] = field(default_factory=list)
    settled: bool = False


class Spending:
    """The budgets; each worker has one over the same state block.

    Attributes:
        no_room: reservations that were refused for want of room.
    """

    def __init__(
        self,
        state: StateBlock,
        budgets: BudgetSource,
        clock: Clock,
        elsewhere: Elsewhere | None = None,
        stated: Iterable[tuple[Scope, BudgetKind]] = (),
    ) -> None:
        """Budgets by scope; a scope that never had one is not counted.

        Args:
            state: where the counters are.
            budgets: by scope.
            clock: of periods and settlements.
            elsewhere: what other machines spend; None: there are none.
            stated: the budgets of dollars that every worker is to count from now on; the first 4,096 of them.
        """
        self._state = state
        self._budgets = budgets
        self._clock = clock
        self._table = CounterTable(state)
        self._rates = Rates(self._table, clock)
        self._elsewhere: Elsewhere = Nowhere() if elsewhere is None else elsewhere
        self._told: set[str] = set()
        self._latest_ns = 0
        # From then on this worker counts what it holds to now; the date of a counter that it is the first to need.
        self._since_ns = 0
        self.no_room = 0
        self._begin(stated)

    @property
    def budgets(self) -> BudgetSource:
        """What is held to now."""
        return self._budgets

    @property
    def unlimited(self) -> int:
        """Requests whose rate was not counted for want of room."""
        return self._rates.unlimited

    def use(self, budgets: BudgetSource, stated: Iterable[tuple[Scope, BudgetKind]] = ()) -> None:
        """Holds to other limits from now on; what is spent and reserved stays.

        Decisions no longer hear of a tenant's spent budget where there is money left of the new one.

        Args:
            budgets: by scope.
            stated: as for a new one; what is counted already stays as it is.
        """
        self._budgets = budgets
        self._begin(stated)
        told, self._told = self._told, set()
        for name in told:
            scope = Scope(ScopeKind.TENANT, name)
            budget = budgets.get(scope) or Budget()
            self._state.set_budget_spent(name, 0)
            now_ms = unix_ms(self._clock)
            ends_ms = {kind: period.ends_ms for kind, _, period in spend_limits_at(budget, now_ms)}
            spent = [kind for kind, _, left in self.left(scope, budget) if not left]
            if spent:
                self._tell_decisions(scope, (max(ends_ms[kind] for kind in spent) - now_ms) / 1000)

    @property
    def expired_nano_usd(self) -> int:
        """What this worker has given back of reservations that nobody settled in time."""
        return self._table.given_back

    def reserve(
        self, scopes: Sequence[Scope], nano_usd: int, tokens: int, *, requests: int = 1
    ) -> Reservation | Exhausted:
        """Reserves in every budget of the scopes, or in none; where there is none, it holds nothing.

        Args:
            scopes: the request's tenant and policy.
            nano_usd: what it may cost.
            tokens: input and output tokens that it may take.
            requests: 1; 0 for more of a request that has a reservation.
        """
        if not 0 <= nano_usd <= MOST_RESERVED_NANO_USD or tokens < 0:
            raise ValueError(
                f"nano_usd is {nano_usd} and tokens {tokens}, 0 to {MOST_RESERVED_NANO_USD} and at least 0 needed"
            )
        reservation = Reservation(nano_usd, tokens, scopes, unix_ms(self._clock))
        for scope in scopes:
            budget = self._budgets.get(scope)
            if budget is None:
                continue
            refused = self._take_rates(scope, budget, reservation, requests) or self._hold(
                scope, budget, reservation
            )
            if refused is not None:
                self._give_back(reservation)
                return refused
        return reservation

    def now_ns(self) -> int:
        """The time to settle at: Unix nanoseconds, never earlier than before."""
        self._latest_ns = max(self._latest_ns, int(self._clock.unix_s() * 1e9))
        return self._latest_ns

    def settle(
        self, reservation: Reservation, nano_usd: int, tokens: int, settled_ns: int | None = None
    ) -> None:
        """Counts what the request took in the place of what it reserved; 0 and 0 for one that called nothing.

        Args:
            reservation: not settled yet.
            nano_usd: what it took.
            tokens: the same.
            settled_ns: by `now_ns`, and just now: the time that the records will have; None: it is read here.

        Raises:
            ValueError: it has been settled before.
        """
        if reservation.settled:
            raise ValueError("the reservation has been settled before")
        if nano_usd < 0 or tokens < 0:
            raise ValueError(f"nano_usd is {nano_usd} and tokens {tokens}, at least 0 needed")
        reservation.settled = True
        settled_ns = self.now_ns() if settled_ns is None else settled_ns
        for hold in reservation.holds:
            name = counter_name(hold.scope, hold.kind)
            used = self._table.settle(name, reservation.nano_usd, nano_usd, hold.tag, hold.span, settled_ns)
            self._elsewhere.note(name, hold.period, nano_usd)
            if used + self._elsewhere.spent(name, hold.period) >= hold.limit:
                self._tell_decisions(hold.scope, (hold.period.ends_ms - unix_ms(self._clock)) / 1000)
        if nano_usd and self._table.dated:
            self._count_beside(reservation, nano_usd, settled_ns)
        for scope, kind, _, per_minute in reservation.rates:
            if kind is BudgetKind.TOKENS_MINUTE:
                self._rates.correct(counter_name(scope, kind), reservation.tokens, tokens, per_minute)

    def dates(self, after_ms: int) -> list[int]:
        """By which times to sum records apart, ascending, in Unix nanoseconds.

        First 1, since what no budget counted has the time 0; then those from which on counters count, but for those
        before a Unix time. Of very many the latest: what is older has been restored, and a sum of less changes nothing.
        """
        dates = {since_ns for since_ns in self._table.dates() if since_ns > after_ms * 10**6}
        return [1, *sorted(dates | {self._since_ns})[-MOST_DATES:]]

    def restore(self, scope: Scope, records: Sequence[Settled], *, of_all_machines: bool = False) -> None:
        """Counts as spent what records have from before the budget's beginning.

        A state block in memory begins empty, while the day and the month go on; and a budget that a new policy file
        states was not counted before. Each worker may call it, at any time and often: the greatest finding holds.

        Args:
            scope: whose budget.
            records: in the order of their times, which are those of `dates` and one later than all.
            of_all_machines: the records are of other machines too; what is known of them is not counted again.
        """
        budget = self._budgets.get(scope)
        if budget is None:
            return
        now_ms = unix_ms(self._clock)
        for kind, limit, period in spend_limits_at(budget, now_ms):
            counter = counter_name(scope, kind)
            amounts = [
                (part.before_ns, part.day_nano_usd if kind is BudgetKind.SPEND_DAY else part.month_nano_usd)
                for part in records
            ]
            since_ns = 0
            if self._table.open(counter, ends_ms=period.ends_ms, now_ms=now_ms):
                since_ns = self._table.date(counter, self._since_ns)
            before = sum(amount for before_ns, amount in amounts if before_ns <= since_ns)
            whole = sum(amount for _, amount in amounts)
            if of_all_machines:
                # What the others spend goes on meanwhile: only what was before the cut is ours and theirs for certain.
                before = whole = max(0, before - self._elsewhere.spent(counter, period))
            found = since_ns and self._table.restore(
                counter,
                before,
                whole,
                begins_ms=period.begins_ms,
                ends_ms=period.ends_ms,
                now_ms=now_ms,
            )
            if not found:
                self.no_room += 1
            if whole >= limit:
                self._tell_decisions(scope, (period.ends_ms - now_ms) / 1000)

    def used_nano_usd(self, scope: Scope) -> tuple[int, int]:
        """What is spent or reserved on this machine, of the day and of the month; 0 where there is no limit."""
        now_ms = unix_ms(self._clock)
        day = self._used(counter_name(scope, BudgetKind.SPEND_DAY), day_of(now_ms), now_ms)
        return day, self._used(counter_name(scope, BudgetKind.SPEND_MONTH), month_of(now_ms), now_ms)

    def left(self, scope: Scope, budget: Budget) -> list[tuple[BudgetKind, int, int]]:
        """Each limit of dollars that a scope's budget has, and what is left of it, in nano-dollars."""
        now_ms = unix_ms(self._clock)
        found = []
        for kind, limit, period in spend_limits_at(budget, now_ms):
            name = counter_name(scope, kind)
            used = self._used(name, period, now_ms) + self._elsewhere.spent(name, period)
            found.append((kind, limit, max(0, limit - used)))
        return found

    def _begin(self, stated: Iterable[tuple[Scope, BudgetKind]]) -> None:
        """Has every worker count these from now on."""
        now_ms = unix_ms(self._clock)
        periods = {kind: period_of(now_ms) for kind, period_of in PERIODS.items()}
        # That of all others lasts until the month ends, whoever comes till then.
        opened = [
            name
            for scope, kind in islice(stated, MOST_STATED)
            if self._table.open(
                name := counter_name(scope, kind),
                ends_ms=periods[BudgetKind.SPEND_MONTH if scope == OTHER_TENANTS else kind].ends_ms,
                now_ms=now_ms,
            )
        ]
        # After all are there: see `CounterTable`.
        self._since_ns = self.now_ns() + 1
        # What this worker settles from now on is later than all of them.
        self._latest_ns = max([self._since_ns, *(self._table.date(name, self._since_ns) for name in opened)])

    def _count_beside(self, reservation: Reservation, nano_usd: int, settled_ns: int) -> None:
        """Counts a settlement in the budgets in which it holds nothing: they were stated meanwhile, or elsewhere."""
        held = {(hold.scope, hold.kind) for hold in reservation.holds}
        periods = [(kind, period_of(reservation.at_ms)) for kind, period_of in PERIODS.items()]
        now_ms = unix_ms(self._clock)
        for scope in reservation.scopes:
            limits = self._limits_of(scope)
            for kind, period in periods:
                if (scope, kind) in held:
                    continue
                name, limit = counter_name(scope, kind), limits.get(kind)
                used = self._table.count(
                    name,
                    nano_usd,
                    settled_ns,
                    begins_ms=period.begins_ms,
                    ends_ms=period.ends_ms,
                    now_ms=now_ms,
                    kin=counter_name(OTHER_TENANTS, kind) if scope.kind is ScopeKind.TENANT else None,
                    since_ns=0 if limit is None else self._since_ns,
                )
                if used == FULL:
                    self.no_room += 1
                if limit is None or used in (FULL, UNCOUNTED):
                    continue
                self._elsewhere.note(name, period, nano_usd)
                if used + self._elsewhere.spent(name, period) >= limit:
                    self._tell_decisions(scope, (period.ends_ms - now_ms) / 1000)

    def _limits_of(self, scope: Scope) -> dict[BudgetKind, int]:
        budget = self._budgets.get(scope)
        return {} if budget is None else dict(spend_limits(budget))

    def _used(self, name: str, period: Period, now_ms: int) -> int:
        return self._table.used(name, begins_ms=period.begins_ms, now_ms=now_ms)

    def _take_rates(
        self, scope: Scope, budget: Budget, reservation: Reservation, requests: int
    ) -> Exhausted | None:
        for kind, amount, per_minute in (
            (BudgetKind.REQUESTS_MINUTE, requests, budget.requests_minute),
            (BudgetKind.TOKENS_MINUTE, reservation.tokens, budget.tokens_minute),
        ):
            if per_minute is None or not amount:
                continue
            wait_s = self._rates.take(counter_name(scope, kind), amount, per_minute)
            if wait_s != 0:
                missing = 0 if wait_s is None else math.ceil(wait_s * per_minute / MINUTE_S)
                # What alone is more than a minute's has not been looked at.
                left = per_minute if wait_s is None else max(0, amount - missing)
                return Exhausted(scope, kind, per_minute, left, MINUTE_S, wait_s)
            reservation.rates.append((scope, kind, amount, per_minute))
        return None

    def _hold(self, scope: Scope, budget: Budget, reservation: Reservation) -> Exhausted | None:
        now_ms = unix_ms(self._clock)
        for kind, limit, period in spend_limits_at(budget, now_ms):
            name = counter_name(scope, kind)
            left_s = (period.ends_ms - now_ms) / 1000
            window_s = (period.ends_ms - period.begins_ms) // 1000
            ours = max(0, limit - self._elsewhere.spent(name, period))
            found, tag, span = (REFUSED, 0, 0)
            if reservation.nano_usd <= limit:
                found, tag, span = self._table.reserve(
                    name,
                    reservation.nano_usd,
                    ours,
                    begins_ms=period.begins_ms,
                    ends_ms=period.ends_ms,
                    now_ms=now_ms,
                    since_ns=self._since_ns,
                )
            if found == FULL:
                self.no_room += 1
                return Exhausted(scope, kind, limit, 0, window_s, REFUSED_S, no_room=True)
            if found == REFUSED:
                left = max(0, ours - self._used(name, period, now_ms))
                fits = reservation.nano_usd <= limit
                # One request that no budget of the kind would hold says nothing of the others.
                if fits or not left:
                    self._tell_decisions(scope, min(REFUSED_S, left_s))
                return Exhausted(scope, kind, limit, left, window_s, left_s if fits else None)
            reservation.holds.append(_Hold(scope, kind, limit, period, tag, span))
        return None

    def _give_back(self, reservation: Reservation) -> None:
        reservation.settled = True
        for hold in reservation.holds:
            self._table.settle(
                counter_name(hold.scope, hold.kind), reservation.nano_usd, 0, hold.tag, hold.span
            )
        for scope, kind, amount, per_minute in reservation.rates:
            self._rates.correct(counter_name(scope, kind), amount, 0, per_minute)

    def _tell_decisions(self, scope: Scope, seconds: float) -> None:
        """`Route` heeds a tenant's spent budget."""
        if scope.kind is ScopeKind.TENANT:
            if len(self._told) < MOST_TOLD:
                self._told.add(scope.name)
            self._state.set_budget_spent(scope.name, seconds)
