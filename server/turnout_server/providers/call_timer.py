"""The timers of one call: each the lesser of its own limit and what is left to the deadline."""

from __future__ import annotations

import asyncio
import math

from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Clock, Limits


class CallTimer:
    """Counts from its construction; asyncio's clock does the waiting, the injected one says what is left."""

    __slots__ = ("_clock", "_content_seen", "_expired", "_first_s", "_held_at", "_limits", "_since")

    def __init__(self, limits: Limits, clock: Clock, *, stream: bool) -> None:
        self._limits = limits
        whole = None if stream else limits.response_s
        self._first_s = limits.first_token_s if whole is None else whole
        self._clock = clock
        self._since = clock()
        self._held_at = self._since
        self._content_seen = False
        self._expired = FaultKind.DEADLINE

    def content(self) -> None:
        """Content came: from here on the limit between tokens counts, from now."""
        self._content_seen = True
        self._since = self._clock()

    def hold(self) -> None:
        """The consumer has the stream: its time is not the provider's."""
        self._held_at = self._clock()

    def resume(self) -> None:
        """The consumer wants more."""
        self._since += self._clock() - self._held_at

    def clip(self, limit_s: float) -> float:
        """The lesser of a limit and what is left to the deadline; not above 0 once that has passed."""
        deadline = self._limits.deadline
        return limit_s if deadline is None else min(limit_s, deadline - self._clock())

    def waiting(self, limit_s: float | None = None) -> asyncio.Timeout:
        """For one wait: until the first content from the start, then from the content before.

        Args:
            limit_s: a lower limit between pieces of content, in seconds.
        """
        if not self._content_seen:
            return self._timeout(self._first_s, FaultKind.FIRST_TOKEN_TIMEOUT)
        inter_token_s = self._limits.inter_token_s
        return self._timeout(min(inter_token_s, limit_s or inter_token_s), FaultKind.STALLED)

    def expired(self) -> FaultKind:
        """What the timer that was started last stands for."""
        return self._expired

    def _timeout(self, limit_s: float, kind: FaultKind) -> asyncio.Timeout:
        left_s = limit_s - (self._clock() - self._since)
        until_deadline_s = self.clip(math.inf)
        self._expired = FaultKind.DEADLINE if until_deadline_s <= left_s else kind
        wait_s = min(left_s, until_deadline_s)
        return asyncio.timeout(None if math.isinf(wait_s) else max(wait_s, 0.0))
