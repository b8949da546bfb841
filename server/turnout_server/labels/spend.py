"""What collecting may spend: reserved before a call, settled after it, in nano-dollars."""

from __future__ import annotations

import asyncio


class SpendLimitError(Exception):
    """What is left of the limit does not bear the next call."""


class Spend:
    """Money of one run. Belongs to one event loop.

    Attributes:
        spent_nano: settled so far, by earlier runs too.
        incomplete: calls of which some price is not known.
    """

    def __init__(self, limit_nano: int | None, spent_nano: int = 0) -> None:
        """Bears calls up to `limit_nano`; None: without a limit."""
        self.spent_nano = spent_nano
        self.incomplete = 0
        self._limit_nano = limit_nano
        self._held_nano = 0
        self._holders = 0
        self._changed = asyncio.Condition()

    async def reserve(self, nano: int) -> None:
        """Reserves what a call may cost, and waits while others hold what it needs.

        Raises:
            SpendLimitError: it does not fit, and nobody holds anything that could come free.
        """
        async with self._changed:
            while not self._fits(nano):
                if not self._holders:
                    raise SpendLimitError
                await self._changed.wait()
            self._held_nano += nano
            self._holders += 1

    async def settle(self, reserved_nano: int, spent_nano: int, *, complete: bool) -> None:
        """A call has ended."""
        self._held_nano -= reserved_nano
        self._holders -= 1
        self.spent_nano += spent_nano
        self.incomplete += not complete
        async with self._changed:
            self._changed.notify_all()

    def _fits(self, nano: int) -> bool:
        return self._limit_nano is None or self.spent_nano + self._held_nano + nano <= self._limit_nano
