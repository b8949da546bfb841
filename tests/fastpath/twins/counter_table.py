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
    """Every reservation ever made."""

    reservations: list[Reservation] = field(default_factory=list)

    def used(self, period: int, now_ms: int) -> int:
        """What is used or reserved of a period."""
        return sum(r.weight(now_ms) for r in self.reservations if r.period == period)

    def reserve(self, amount: int, limit: int, period: int, now_ms: int) -> Reservation | None:
        """A reservation, if it fits."""
        if self.used(period, now_ms) + amount > limit:
            return None
        self.reservations.append(Reservation(amount, period, now_ms))
        return self.reservations[-1]

    def raise_to(self, amount: int, period: int, now_ms: int) -> None:
        """What is missing of what is settled, as one more that is."""
        missing = amount - sum(r.actual or 0 for r in self.reservations if r.period == period)
        if missing > 0:
            self.reservations.append(Reservation(missing, period, now_ms, actual=missing))


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
