"""Waits until something is so that other processes and threads bring about."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

PATIENCE_S = 20.0
LOOK_S = 0.02


async def until(is_so: Callable[[], bool | Awaitable[bool]]) -> None:
    """Returns when it is so; fails if it never is."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = is_so()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(LOOK_S)
