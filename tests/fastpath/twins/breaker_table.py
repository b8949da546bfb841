"""What a breaker knows, as plain lists. Times are the caller's, in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

HALF_SECOND_MS = 500
LONG, SHORT = 20, 2


@dataclass
class Breaker:
    """One breaker: every call that it was told of, its word, its pause and its lease."""

    calls: list[tuple[int, bool]] = field(default_factory=list)
    run: list[int] = field(default_factory=list)
    word: int = 0
    paused_until_ms: int = 0
    probe_until_ms: int = 0

    def record(self, now_ms: int, failed: bool, in_run: bool = True) -> tuple[int, int, int, int, int]:
        """Counts a call and returns the run and the calls and failures of the short and the long window."""
        self.calls.append((now_ms, failed))
        if in_run and not failed:
            self.run.clear()
        elif in_run:
            if self.run and now_ms - self.run[-1] > LONG * HALF_SECOND_MS:
                self.run.clear()
            self.run.append(now_ms)
        rests = not self.run or now_ms - self.run[-1] > LONG * HALF_SECOND_MS
        counts = []
        for width in (SHORT, LONG):
            last = now_ms // HALF_SECOND_MS
            seen = [failed for at, failed in self.calls if last - width < at // HALF_SECOND_MS <= last]
            counts += [len(seen), sum(seen)]
        return 0 if rests else len(self.run), counts[0], counts[1], counts[2], counts[3]

    def take_probe(self, now_ms: int, until_ms: int) -> bool:
        """Takes the lease, unless another holds it."""
        free = self.probe_until_ms <= now_ms
        if free:
            self.probe_until_ms = until_ms
        return free

    def return_probe(self, until_ms: int) -> bool:
        """Gives the lease back, unless it is another's."""
        mine = self.probe_until_ms == until_ms
        if mine:
            self.probe_until_ms = 0
        return mine

    def forget(self) -> None:
        """Drops the evidence."""
        self.calls.clear()
        self.run.clear()
