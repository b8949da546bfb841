"""A clock that a test moves."""

from __future__ import annotations

# 2026-11-28 10:00:00 UTC.
START_UNIX_S = 1_795_860_000.0


class FakeClock:
    """Stands still until it is told to go on."""

    def __init__(self, monotonic_s: float = 1000.0, unix_s: float = START_UNIX_S) -> None:
        self.now_s = monotonic_s
        self.wall_s = unix_s

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.wall_s

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now_s += seconds
        self.wall_s += seconds
