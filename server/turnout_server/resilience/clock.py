"""The clock that everything here is given, so that a test can hold it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def monotonic_s(self) -> float:
        """Seconds of the machine's monotonic clock, the one that its processes share."""

    def unix_s(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic_s(self) -> float:
        """CLOCK_MONOTONIC, which starts with the machine and is the same in all its processes."""
        return time.monotonic()

    def unix_s(self) -> float:
        """CLOCK_REALTIME."""
        return time.time()


def monotonic_ms(clock: Clock) -> int:
    """Whole milliseconds of the monotonic clock, the unit of the state block."""
    return int(clock.monotonic_s() * 1000)
