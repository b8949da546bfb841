"""A retry budget that all workers of a machine hold together, in a place of the state block's breaker table.

The rule is that of `retry_budget`, with one difference: a retry counts from its begin, not from its end, since a worker
that dies would never end it. So a retry may begin while those that began within the last ten seconds, and those of this
worker that began earlier and are still under way, are fewer than the budget. Two workers that ask at the same moment may
both be refused, and never both be let in beyond it.
"""

from __future__ import annotations

from collections import deque

from turnout_fastpath import StateBlock, StateError
from turnout_fastpath.breaker_table import BreakerTable

from turnout_server.resilience.clock import Clock, monotonic_ms
from turnout_server.resilience.retry_budget import CONCURRENT, SHARE, RetryBudget

# The table's: what is older than so many half seconds, it counts no more.
TICK_MS, TICKS = 500, 20


class SharedRetryBudget:
    """The retries of one account, of all workers."""

    def __init__(
        self,
        state: StateBlock,
        account: str,
        clock: Clock,
        *,
        share: float = SHARE,
        concurrent: int = CONCURRENT,
    ) -> None:
        """A budget of `share` of the requests, 0 to 1, and `concurrent` besides.

        Raises:
            StateError: the block has no room for another.
        """
        if not 0 <= share <= 1 or concurrent < 0:
            raise ValueError(f"share is {share} and concurrent {concurrent}, 0 to 1 and at least 0 needed")
        self._table = BreakerTable(state)
        self._slot = self._table.slot(f"retries {account}")
        self._clock = clock
        self._share = share
        self._concurrent = concurrent
        # When each retry of this worker that is under way began; the oldest is taken to end first.
        self._begun_ms: deque[int] = deque()

    @property
    def under_way(self) -> int:
        """Retries of this worker that have begun and not ended."""
        return len(self._begun_ms)

    def note_request(self) -> None:
        """A request has been sent to the account for the first time."""
        self._table.record(self._slot, monotonic_ms(self._clock), failed=False, in_run=False)

    def allows(self) -> bool:
        """True if a retry may begin."""
        calls, retries = self._table.evidence(self._slot, monotonic_ms(self._clock))
        return self._older() + retries < self._most(calls - retries)

    def begin(self) -> bool:
        """Begins a retry, if one may begin; each that did is to be ended."""
        if not self.allows():
            return False
        now_ms = monotonic_ms(self._clock)
        *_, calls, retries = self._table.record(self._slot, now_ms, failed=True, in_run=False)
        # Another worker's may have begun since the look.
        if self._older() + retries - 1 >= self._most(calls - retries):
            return False
        self._begun_ms.append(now_ms)
        return True

    def end(self, *, spent: bool = True) -> None:
        """A retry has ended, in whatever way; it counts from its begin, `spent` or not."""
        if not self._begun_ms:
            raise ValueError("no retry is under way")
        self._begun_ms.popleft()

    def _most(self, requests: int) -> float:
        return self._concurrent + self._share * requests

    def _older(self) -> int:
        """Retries under way that the table counts no more."""
        tick = monotonic_ms(self._clock) // TICK_MS
        return sum(tick - begun_ms // TICK_MS >= TICKS for begun_ms in self._begun_ms)


def make_retry_budget(
    state: StateBlock, account: str, clock: Clock, *, share: float = SHARE, concurrent: int = CONCURRENT
) -> SharedRetryBudget | RetryBudget:
    """The budget of all workers, or where the block has no room for it this worker's own."""
    try:
        return SharedRetryBudget(state, account, clock, share=share, concurrent=concurrent)
    except StateError:
        return RetryBudget(clock, share=share, concurrent=concurrent)
