"""The budgets and limits of one worker, as the policy in force states them; what is counted and told of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

from turnout_fastpath import Snapshot
from turnout_fastpath.counter_table import CounterTable

from turnout_server.completion.access import Access
from turnout_server.completion.allowance import Allowance, expected_output
from turnout_server.completion.failures import BudgetExhaustedError
from turnout_server.completion.stated_limits import BudgetBook, WorkerPlace, limits_of
from turnout_server.observability.metrics import (
    BUDGET_LEFT,
    BUDGET_LIMIT,
    BUDGET_REFUSALS,
    LIMIT_REFUSALS,
    WITHOUT_ROOM,
    Labels,
    Metrics,
)
from turnout_server.resilience.budgets import BudgetKind, Elsewhere, Exhausted, Scope, Settled
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.limits import Limits, Refusal
from turnout_server.resilience.rates import Rates
from turnout_server.resilience.spend_budget import Spending

if TYPE_CHECKING:
    from turnout_server.completion.run import Run


ALONE = WorkerPlace()


class LiveLimits:
    """What bounds completions. Belongs to one event loop.

    Attributes:
        spending: of tenants and policies.
        book: whose budget is what, by the policy in force.
        readings_due: how often the records of what was spent are still to be read. Once, and among several workers
            again some seconds later: one that does not take the new policy has written its costs by then.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        *,
        place: WorkerPlace = ALONE,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Holds to what the snapshot's policy states.

        Args:
            snapshot: the first one; `follow` takes others.
            clock: of periods and rates.
            random: source of jitter.
            metrics: what counts.
            place: which worker this is; the first one tells what is left.
            elsewhere: what other machines spend; None: there are none.
        """
        document = snapshot.policies.document
        self.book = BudgetBook.of(document)
        self.spending = Spending(snapshot.state, self.book, clock, elsewhere, self.book.spend_limits())
        self._rates = Rates(CounterTable(snapshot.state), clock)
        self._limits = Limits(limits_of(document, place), self._rates, random)
        self._snapshot = snapshot
        self._place = place
        self.readings_due = self._readings()
        self._clock = clock
        self._random = random
        self._metrics = metrics
        metrics.watch_each(WITHOUT_ROOM, self._without_room)
        if place.index == 0:
            metrics.watch_each(BUDGET_LEFT, self._left)
            metrics.watch_each(BUDGET_LIMIT, self._stated)

    def follow(self, snapshot: Snapshot) -> None:
        """Holds to another snapshot's policy; what is spent, reserved and under way stays counted."""
        if snapshot is self._snapshot:
            return
        self._snapshot = snapshot
        document = snapshot.policies.document
        self._limits.use(limits_of(document, self._place))
        book = BudgetBook.of(document)
        if book != self.book:
            self.book = book
            self.spending.use(book, book.spend_limits())
            # A limit that was not there before has not been counted.
            self.readings_due = self._readings()

    def admit(self, run: Run) -> None:
        """Gives a request its way to deployments, with what its first call may cost reserved.

        Its `access` is to be closed when it has ended.

        Raises:
            BudgetExhaustedError: that is not left of a budget.
        """
        allowance = Allowance(self.spending, run)
        try:
            allowance.open()
        except BudgetExhaustedError as error:
            self._count(error.exhausted)
            raise
        run.access = Access(
            run.fleet,
            run.log,
            self._clock,
            self._random,
            tokens=lambda deployment: run.input_tokens + expected_output(run, deployment),
            limits=self._limits,
            allowance=allowance,
            refused=self._count,
        )

    def restore(
        self, spent: Mapping[Scope, Sequence[Settled]], book: BudgetBook, *, of_all_machines: bool = False
    ) -> None:
        """Counts what the records say was spent, by scope; they were read while `book` was in force."""
        for scope, records in spent.items():
            self.spending.restore(scope, records, of_all_machines=of_all_machines)
        if book is self.book and self.readings_due:
            self.readings_due -= 1

    def _readings(self) -> int:
        if not self.book.limits_spend:
            return 0
        # At once, and at the two next turns of who keeps the records, of which the first may come at once, too.
        return 1 if self._place.workers == 1 else 3

    def _count(self, why: Refusal | Exhausted) -> None:
        if isinstance(why, Refusal):
            self._metrics.count(LIMIT_REFUSALS, why.scope, why.kind).add()
        else:
            name = self.book.name_of(why.scope)
            self._metrics.count(BUDGET_REFUSALS, why.scope.kind, name, why.kind).add()

    def _spend_budgets(self) -> Iterator[tuple[Scope, BudgetKind, int, int]]:
        """Of each named budget of dollars: its limit and what is left of it, in nano-dollars."""
        for scope, budget in self.book.named.items():
            for kind, limit, left in self.spending.left(scope, budget):
                yield scope, kind, limit, left

    def _left(self) -> Iterator[tuple[Labels, float]]:
        for scope, kind, _, left in self._spend_budgets():
            yield (scope.kind, scope.name, kind), left

    def _stated(self) -> Iterator[tuple[Labels, float]]:
        for scope, kind, limit, _ in self._spend_budgets():
            yield (scope.kind, scope.name, kind), limit

    def _without_room(self) -> Iterator[tuple[Labels, float]]:
        yield ("budget",), self.spending.no_room
        yield ("rate",), self.spending.unlimited + self._rates.unlimited
