"""What was spent before, taken from the outcome store: at the start, and when a policy file states new budgets."""

from __future__ import annotations

import asyncio

from turnout_server.budget_sharing import BudgetSharing
from turnout_server.completion.live_limits import LiveLimits
from turnout_server.completion.stated_limits import BudgetBook
from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.quality.store.place import Place, make_engine
from turnout_server.quality.store.spent import Spent, read_spent
from turnout_server.quality.store.store import OutcomeStore
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.periods import day_of, month_of, unix_ms

# The start waits so long for the store; it serves all the same, and tries again.
PATIENCE_S = 5.0
RETRY_S = 5.0


class BudgetRecords:
    """Restores a worker's budgets."""

    def __init__(
        self,
        limits: LiveLimits,
        store: OutcomeStore | None,
        place: Place | None,
        clock: Clock,
        sharing: BudgetSharing | None = None,
    ) -> None:
        """Reads `store`, which lies at `place`; None: nothing is stored."""
        self._limits = limits
        self._store = store
        self._place = place
        self._clock = clock
        self._sharing = sharing

    def restore_now(self) -> bool:
        """Restores what is not restored yet, before requests are let in; True if that was done."""
        if not self._limits.readings_due:
            return True
        book, now_ms = self._limits.book, unix_ms(self._clock)
        return self._count(self._read(now_ms), book, now_ms)

    async def restore(self) -> bool:
        """As `restore_now`, with the store read in a thread."""
        if not self._limits.readings_due:
            return True
        book, now_ms = self._limits.book, unix_ms(self._clock)
        return self._count(await asyncio.to_thread(self._read, now_ms), book, now_ms)

    async def keep(self) -> None:
        """Tries again what failed, and reads again what others may have written meanwhile, until cancelled."""
        while True:
            await asyncio.sleep(RETRY_S)
            await self.restore()

    def _read(self, now_ms: int) -> Spent | None:
        """What was spent of the day and of the month; None if the store cannot be read now."""
        if self._store is None or self._place is None:
            get_logger().warning("budgets_not_restored", cause="nothing is stored: `store` is off")
            return {}
        try:
            # The costs that a process left which was killed are taken in first, and this one's own.
            if not self._store.flush(PATIENCE_S):
                get_logger().error("budgets_not_restored", cause="the store is not ready", retry_s=RETRY_S)
                return None
            month_ms = month_of(now_ms).begins_ms
            cuts_ns = self._limits.spending.dates(month_ms)
            engine = make_engine(self._place, read_only=True)
            try:
                with engine.begin() as connection:
                    return read_spent(
                        connection, day_ms=day_of(now_ms).begins_ms, month_ms=month_ms, cuts_ns=cuts_ns
                    )
            finally:
                engine.dispose()
        except Exception as error:
            # Whatever a driver raises: serving does not wait for the store.
            get_logger().error(
                "budgets_not_restored",
                cause="the store cannot be read",
                retry_s=RETRY_S,
                **describe_cause(error),
            )
            return None

    def _count(self, spent: Spent | None, book: BudgetBook, now_ms: int) -> bool:
        # Of a day that is over meanwhile, nothing is today's.
        if spent is None or day_of(now_ms) != day_of(unix_ms(self._clock)):
            return False
        # A file is this machine's own; a server's records may be of others, of whom the exchange knows.
        sharing = None if self._place is None or self._place.is_sqlite else self._sharing
        if sharing is not None:
            sharing.learn(spent)
        self._limits.restore(spent, book, of_all_machines=sharing is not None)
        if self._store is None:
            self._limits.readings_due = 0
        get_logger().info("budgets_restored", scopes=len(spent))
        return True
