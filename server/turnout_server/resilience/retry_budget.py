"""How many retries an account may have: a fifth of its requests, and three besides.

The rule: a retry may start while the retries under way and those that ended within the last ten seconds are fewer
than three plus 20% of the requests of the last ten seconds. So a quiet account can always retry three requests at
once, and a failing one sees no more than 1.2 times its traffic. A budget is one worker's; since each worker counts its
own requests, the 20% holds over all of them.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from turnout_server.resilience.clock import Clock

SHARE = 0.2
CONCURRENT = 3
WINDOW_S = 10
# A window of so many parts: what is older leaves in steps of a tenth of it.
PARTS = 10


class _Window:
    """Counts events of the last WINDOW_S seconds, by parts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: deque[list[int]] = deque()
        self._total = 0

    def add(self) -> None:
        part = self._part()
        if not self._parts or self._parts[-1][0] != part:
            self._parts.append([part, 0])
        self._parts[-1][1] += 1
        self._total += 1

    def count(self) -> int:
        oldest = self._part() - PARTS
        while self._parts and self._parts[0][0] <= oldest:
            self._total -= self._parts.popleft()[1]
        return self._total

    def _part(self) -> int:
        return int(self._clock.monotonic_s() * PARTS / WINDOW_S)


class RetryBudget:
    """The retries of one account."""

    def __init__(self, clock: Clock, *, share: float = SHARE, concurrent: int = CONCURRENT) -> None:
        """A budget of `share` of the requests, 0 to 1, and `concurrent` besides."""
        if not 0 <= share <= 1 or concurrent < 0:
            raise ValueError(f"share is {share} and concurrent {concurrent}, 0 to 1 and at least 0 needed")
        self._share = share
        self._concurrent = concurrent
        self._requests = _Window(clock)
        self._ended = _Window(clock)
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Retries that have begun and not ended."""
        return self._under_way

    def note_request(self) -> None:
        """A request has been sent to the account for the first time."""
        self._requests.add()

    def allows(self) -> bool:
        """True if a retry may begin."""
        spent = self._under_way + self._ended.count()
        return spent < self._concurrent + self._share * self._requests.count()

    def begin(self) -> bool:
        """Begins a retry, if one may begin; each that did is to be ended."""
        if not self.allows():
            return False
        self._under_way += 1
        return True

    def end(self, *, spent: bool = True) -> None:
        """A retry has ended; not `spent`: it was of use, and its place is given back at once."""
        if self._under_way < 1:
            raise ValueError("no retry is under way")
        self._under_way -= 1
        if spent:
            self._ended.add()


class Endable(Protocol):
    """A budget whose places are given back."""

    def end(self, *, spent: bool = True) -> None:
        """See `RetryBudget.end`."""


class Place:
    """A place in a budget, held from `begin` until it is given back, once."""

    def __init__(self, budget: Endable) -> None:
        """Holds what `budget.begin` has given."""
        self._budget: Endable | None = budget

    def end(self, *, spent: bool = True) -> None:
        """Gives it back; the second time nothing happens. See `RetryBudget.end`."""
        if self._budget is not None:
            self._budget.end(spent=spent)
            self._budget = None
