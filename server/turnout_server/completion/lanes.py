"""Work that no caller waits for: a bounded number at once, a bounded queue behind it, and an end with a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from turnout_server.completion.answer_rules import LaneLimits
from turnout_server.completion.attempt import Purpose
from turnout_server.observability.logs import describe_cause, get_logger

Work = Callable[[], Awaitable[None]]


class Loss(StrEnum):
    """Why work was not done."""

    QUEUE_FULL = "queue_full"
    SHUTDOWN = "shutdown"
    FAILED = "failed"
    """It raised; the log has the cause."""


@dataclass
class _Lane:
    limits: LaneLimits
    busy: int = 0
    waiting: deque[Work] = field(default_factory=deque)


class Lanes:
    """One lane a policy and purpose. Belongs to one event loop."""

    def __init__(self, on_lost: Callable[[Purpose, Loss], None]) -> None:
        """Tells `on_lost` of work that is not done."""
        self._on_lost = on_lost
        self._lanes: dict[tuple[str, Purpose], _Lane] = {}
        self._tasks: dict[asyncio.Task[None], Purpose] = {}
        self._open = True

    @property
    def under_way(self) -> int:
        """Work that is running or waiting."""
        return len(self._tasks) + sum(len(lane.waiting) for lane in self._lanes.values())

    def offer(self, policy: str, purpose: Purpose, limits: LaneLimits, work: Work) -> bool:
        """Takes work over, or says no at once; never waits.

        Args:
            policy: whose lane it is.
            purpose: the same.
            limits: that are in force now.
            work: to be run once, later.
        """
        lane = self._lane(policy, purpose, limits)
        if not self._open:
            self._on_lost(purpose, Loss.SHUTDOWN)
            return False
        if lane.busy >= limits.concurrency and len(lane.waiting) >= limits.queue:
            self._on_lost(purpose, Loss.QUEUE_FULL)
            return False
        lane.waiting.append(work)
        self._start(lane, purpose)
        return True

    def enter(self, policy: str, purpose: Purpose, limits: LaneLimits) -> Callable[[], None] | None:
        """A place for work that somebody waits for: what gives it back, or None where all are taken."""
        lane = self._lane(policy, purpose, limits)
        if lane.busy >= limits.concurrency:
            return None
        lane.busy += 1
        return lambda: self._leave(lane, purpose)

    async def drain(self, timeout_s: float) -> None:
        """Takes no more work, waits so many seconds for what is there, and cancels the rest."""
        self._open = False
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + timeout_s
        while self._tasks and (left_s := ends_s - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        for (_, purpose), lane in self._lanes.items():
            for _work in lane.waiting:
                self._on_lost(purpose, Loss.SHUTDOWN)
            lane.waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane(self, policy: str, purpose: Purpose, limits: LaneLimits) -> _Lane:
        lane = self._lanes.setdefault((policy, purpose), _Lane(limits))
        lane.limits = limits
        return lane

    def _start(self, lane: _Lane, purpose: Purpose) -> None:
        while lane.waiting and lane.busy < lane.limits.concurrency:
            lane.busy += 1
            task = asyncio.get_running_loop().create_task(self._run(lane, purpose, lane.waiting.popleft()))
            self._tasks[task] = purpose
            task.add_done_callback(self._forget)

    async def _run(self, lane: _Lane, purpose: Purpose, work: Work) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            self._on_lost(purpose, Loss.SHUTDOWN)
            raise
        except Exception as error:
            get_logger().error("aside_failed", purpose=purpose, **describe_cause(error))
            self._on_lost(purpose, Loss.FAILED)
        finally:
            self._leave(lane, purpose)

    def _leave(self, lane: _Lane, purpose: Purpose) -> None:
        lane.busy -= 1
        if self._open or lane.waiting:
            self._start(lane, purpose)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
