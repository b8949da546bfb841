"""Requests with an idempotency key: equal ones within ten minutes are one request, in one process."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from turnout_server.resilience.clock import Clock

KEEP_S = 600.0
# The oldest answers are forgotten beyond so many, or so many bytes.
MOST_ENTRIES = 4096
MOST_BYTES = 64 << 20

Key = tuple[str, str]
T = TypeVar("T")


class IdempotencyConflictError(Exception):
    """Another request of the tenant has the same key and another content."""


@dataclass
class _Entry(Generic[T]):
    content: bytes
    ends_s: float
    outcome: asyncio.Future[T]
    size: int = 0


class Idempotency(Generic[T]):
    """Answers by tenant and key. Belongs to one event loop."""

    def __init__(self, clock: Clock, size_of: Callable[[T], int]) -> None:
        """Keeps answers by `clock`, and counts their bytes by `size_of`."""
        self._clock = clock
        self._size_of = size_of
        self._entries: OrderedDict[Key, _Entry[T]] = OrderedDict()
        self._bytes = 0

    async def run(self, key: Key, content: bytes, answer: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """The answer of the first request with this key, and whether it is an earlier one's.

        A request that fails is forgotten: those that wait get its error, later ones begin anew. When the first one's
        caller goes away, the next that waits takes its place.

        Args:
            key: tenant and key.
            content: digest of the request.
            answer: makes the answer, for the first request.

        Raises:
            IdempotencyConflictError: the key is another request's.
        """
        while True:
            self._forget()
            entry = self._entries.get(key)
            if entry is None:
                return await self._first(key, content, answer), False
            if entry.content != content:
                raise IdempotencyConflictError
            try:
                return await asyncio.shield(entry.outcome), True
            except asyncio.CancelledError:
                if not entry.outcome.cancelled():
                    raise

    async def _first(self, key: Key, content: bytes, answer: Callable[[], Awaitable[T]]) -> T:
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        entry = self._entries[key] = _Entry(content, self._clock.monotonic_s() + KEEP_S, outcome)
        try:
            made = await answer()
        except BaseException as error:
            self._entries.pop(key, None)
            if isinstance(error, Exception):
                outcome.set_exception(error)
                # Nobody may be waiting.
                outcome.exception()
            else:
                outcome.cancel()
            raise
        entry.size = self._size_of(made)
        self._bytes += entry.size
        outcome.set_result(made)
        return made

    def _forget(self) -> None:
        now_s = self._clock.monotonic_s()
        for key, entry in list(self._entries.items()):
            full = len(self._entries) > MOST_ENTRIES or self._bytes > MOST_BYTES
            if not entry.outcome.done():
                continue
            if entry.ends_s > now_s and not full:
                break
            del self._entries[key]
            self._bytes -= entry.size
