"""Counters as lists of reservations, and a rate as a bucket that fills. Times are the caller's."""

from __future__ import annotations

from dataclasses import dataclass, field

LEASE_MS = 300_000
LEASES = 4


@dataclass
class Reservation:
    """What was asked for, when, and what it became."""

    amount: int
    period: int
    at_ms: int
    actual: int | None = None

    def weight(self, now_ms: int) -> int:
        """What it counts: what was used; until then what was reserved, while its lease stands."""
        if self.actual is not None:
            return self.actual
        return self.amount if now_ms // LEASE_MS - self.at_ms // LEASE_MS < LEASES else 0


@dataclass
class Counter:
    """Every reservation ever made, and what records said of each period.

    `since_ns` is None for one that was not made yet, 0 for one that is not dated; `turned` the last period that counts.
    """

    reservations: list[Reservation] = field(default_factory=list)
    restored: dict[int, int] = field(default_factory=dict)
    since_ns: int | None = None
    turned: int = -1

    def date(self, since_ns: int) -> int:
        """Makes it, if need be; the first date holds."""
        self.since_ns = self.since_ns or since_ns
        return self.since_ns

    def used(self, period: int, now_ms: int) -> int:
        """What is used or reserved of a period, or was before."""
        kept = sum(r.weight(now_ms) for r in self.reservations if r.period == period)
        return kept + self.restored.get(period, 0)

    def reserve(self, amount: int, limit: int, period: int, now_ms: int) -> Reservation | None:
        """A reservation, if it fits."""
        if self.used(period, now_ms) + amount > limit:
            return None
        self.reservations.append(Reservation(amount, period, now_ms))
        self.turned = max(self.turned, period)
        return self.reservations[-1]

    def settle(self, reservation: Reservation, actual: int, settled_ns: int) -> None:
        """Counts, unless records will tell."""
        reservation.actual = actual if settled_ns >= (self.since_ns or 0) else 0

    def count(self, amount: int, settled_ns: int, period: int, now_ms: int) -> bool:
        """As one that is reserved and settled at once, if it is dated and its period is not over."""
        if not self.since_ns or settled_ns < self.since_ns or period < self.turned:
            return False
        self.reservations.append(Reservation(amount, period, now_ms, actual=amount))
        self.turned = period
        return True

    def restore(self, before: int, whole: int, period: int) -> None:
        """What was settled before, or else what is missing of the whole."""
        counted = sum(r.actual or 0 for r in self.reservations if r.period == period)
        self.restored[period] = max(self.restored.get(period, 0), before, whole - counted)


@dataclass
class Bucket:
    """A token bucket in nanoseconds of time."""

    burst_ns: int
    level_ns: int = -1
    at_ns: int = 0

    def fill(self, now_ns: int) -> None:
        """Lets the time since the last call flow in."""
        full = self.level_ns < 0
        self.level_ns = self.burst_ns if full else min(self.burst_ns, self.level_ns + now_ns - self.at_ns)
        self.at_ns = now_ns

    def take(self, cost_ns: int, now_ns: int) -> int:
        """0 if taken, else how long until there is enough."""
        self.fill(now_ns)
        if cost_ns > self.level_ns:
            return cost_ns - self.level_ns
        self.level_ns -= cost_ns
        return 0

    def give_back(self, cost_ns: int, now_ns: int) -> None:
        """Puts back, as far as there is room."""
        self.fill(now_ns)
        self.level_ns = min(self.burst_ns, self.level_ns + cost_ns)
