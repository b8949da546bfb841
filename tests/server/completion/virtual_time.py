"""An event loop whose time passes at once: where nothing is ready, the clock goes on to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.server.resilience.fake_clock import FakeClock

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is ready and no timer is set: it would wait for ever")
        if timeout > 0:
            self._clock.advance(timeout)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: FakeClock) -> None:
        self._held = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._held.now_s


def run_held(clock: FakeClock, coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs to the end in the time of `clock`."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(coroutine)
