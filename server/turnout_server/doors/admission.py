"""How many requests are let in at once."""

from __future__ import annotations

import asyncio
import contextlib
import random

from turnout_server.doors.errors import NotServingError, OverloadedError

# Retries are asked for within this span, drawn anew each time: refused callers must not come back as one.
RETRY_AFTER_S = (0.05, 0.15)


class Admission:
    """Counts the requests in flight, from the moment the server has their headers to their last byte out.

    Belongs to one event loop.

    Attributes:
        limit: most requests in flight.
        in_flight: requests in flight now.
        is_open: False before the warm-up and once the server drains.
        surplus: how many of the next requests are refused, since more wait than can be answered in time.
    """

    def __init__(self, limit: int, source: random.Random | None = None) -> None:
        self.limit = limit
        self.in_flight = 0
        self.is_open = False
        self.surplus = 0
        self._idle: asyncio.Event | None = None
        self._random = random.Random() if source is None else source

    def admit(self) -> bool:
        """Lets the request of the running task in, until that task is done; False if it must be refused."""
        if self.in_flight >= self.limit or not self.is_open:
            return False
        if self.surplus > 0:
            self.surplus -= 1
            return False
        task = asyncio.current_task()
        if task is None:
            return False
        self.in_flight += 1
        # Not in the handler's own `finally`: a call that ends before its message came never reaches it.
        task.add_done_callback(self._release)
        return True

    def refusal(self) -> OverloadedError | NotServingError:
        """Why a request is not let in now, and when to come back."""
        delay = self._random.uniform(*RETRY_AFTER_S)
        if not self.is_open:
            return NotServingError(delay)
        return OverloadedError(self.limit, delay, is_late=self.in_flight < self.limit)

    async def close(self, patience_s: float) -> None:
        """Lets nothing in any more, and waits for what is in flight, at most `patience_s` seconds."""
        self.is_open = False
        self._idle = asyncio.Event()
        if self.in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), patience_s)

    def _release(self, _: asyncio.Task[object]) -> None:
        self.in_flight -= 1
        if self._idle is not None and not self.in_flight:
            self._idle.set()
