"""Requests and tokens a minute: token buckets in the state block, exact over all workers of the machine.

The rule: a bucket holds one minute's worth and fills evenly, so a rested caller may spend a minute's limit at once, and
over any span of time no more than that and what flows in. A process that dies leaks nothing: what it took flows back in
within a minute. When the table of the state block has no room for another bucket, the call is let through and counted:
a rate protects others from a burst, not money.
"""

from __future__ import annotations

from turnout_fastpath.counter_table import FULL, CounterTable

from turnout_server.resilience.clock import Clock

MINUTE_NS = 60_000_000_000
MOST_A_MINUTE = 10_000_000_000


class Rates:
    """Buckets by name.

    Attributes:
        unlimited: calls that were let through for want of room.
    """

    def __init__(self, table: CounterTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self.unlimited = 0

    def take(self, name: str, amount: int, per_minute: int) -> float | None:
        """Takes `amount` units; 0: taken; else nothing was, and it may be tried again in so many seconds.

        None if so much never fits in a minute.

        Raises:
            ValueError: the limit is out of range.
        """
        if not 1 <= per_minute <= MOST_A_MINUTE:
            raise ValueError(f"{name}: {per_minute} a minute, 1 to {MOST_A_MINUTE} needed")
        if amount > per_minute:
            return None
        wait_ns = self._table.take(
            name, _cost_ns(amount, per_minute), MINUTE_NS, now_ns=self._now_ns(), now_ms=self._now_ms()
        )
        if wait_ns == FULL:
            self.unlimited += 1
            return 0.0
        return wait_ns / 1e9

    def correct(self, name: str, taken: int, used: int, per_minute: int) -> None:
        """Puts what was used in the place of what was taken; a bucket that lacks the difference is empty then."""
        if used < taken:
            self._table.give_back(name, _cost_ns(taken - used, per_minute))
        elif used > taken:
            cost_ns = _cost_ns(min(used - taken, per_minute), per_minute)
            self._table.charge(name, cost_ns, MINUTE_NS, now_ns=self._now_ns())

    def _now_ns(self) -> int:
        return int(self._clock.monotonic_s() * 1e9)

    def _now_ms(self) -> int:
        return int(self._clock.unix_s() * 1000)


def _cost_ns(amount: int, per_minute: int) -> int:
    """Nanoseconds in which so much flows in, rounded down, so that a whole minute's worth fits in a minute."""
    return amount * MINUTE_NS // per_minute
