"""A second bundle that scores what callers ask, unseen by them: how often, and how far, it would decide otherwise."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

from turnout_fastpath import Decision, Engine, Request, RouteError, StateBlock
from turnout_fastpath.decision import ReasonKind

from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.observability.metrics import (
    CHALLENGER_DISTANCE,
    CHALLENGER_INFO,
    CHALLENGES,
    CHALLENGES_LOST,
    Metrics,
)
from turnout_server.reloading import ConfigurationError, Source
from turnout_server.routing import revisions_of

# Requests that wait to be scored; more are dropped, and counted.
CAPACITY = 1024
# Text that waits with them, UTF-8.
CAPACITY_BYTES = 16 << 20
# Between two looks at what waits: callers are answered first, and a look costs the event loop some microseconds.
PAUSE_S = 0.02
# Requests scored by a thread between two turns of the event loop.
CHUNK = 64

_DRAWN = (ReasonKind.EXPLORE, ReasonKind.CONTROL)


class Comparison(NamedTuple):
    """What two bundles said of one request."""

    tier: str
    challenger_tier: str
    # Mean of |p_sufficient - p_sufficient| over the tiers that both have judged; None if there is none.
    distance: float | None


class Challenger:
    """Scores requests behind the callers' backs. All but `offer` is for the event loop's thread."""

    def __init__(
        self,
        source: Source,
        state: StateBlock,
        metrics: Metrics,
        *,
        capacity: int = CAPACITY,
        capacity_bytes: int = CAPACITY_BYTES,
    ) -> None:
        """Scores with the policy and the bundle of `source`, once that can be read; reads the live `state`.

        At most `capacity` requests wait, of at most `capacity_bytes` of text.
        """
        self._source = source
        self._state = state
        self._metrics = metrics
        # Held to put in, to take out and to count what finds no room.
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Request, Decision]] = deque()
        self._waiting_bytes = 0
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._marks: object = None
        self._engine: Engine | None = None
        self._full = metrics.count(CHALLENGES_LOST, "full")
        self._failed = metrics.count(CHALLENGES_LOST, "failed")
        metrics.watch(CHALLENGER_INFO, self._revision)

    def offer(self, request: Request, decision: Decision) -> None:
        """Puts a decided request into the queue, or counts it as dropped. On any thread; never waits."""
        if self._engine is None:
            return
        size = request.text_bytes
        with self._lock:
            if len(self._waiting) < self._capacity and self._waiting_bytes + size <= self._capacity_bytes:
                self._waiting.append((request, decision))
                self._waiting_bytes += size
            else:
                self._full.add()

    async def run(self, poll_s: float) -> None:
        """Follows the files every `poll_s` seconds and scores what waits, until cancelled."""
        watching = asyncio.create_task(self._watch(poll_s))
        try:
            while True:
                await asyncio.sleep(PAUSE_S)
                await self.score()
        finally:
            watching.cancel()

    async def look(self) -> None:
        """Reads policy and bundle if they changed; what cannot be used is logged, and changes nothing.

        A challenger whose files are gone has ended.
        """
        marks = await asyncio.to_thread(self._source.marks)
        if marks == self._marks:
            return
        self._marks = marks
        log = get_logger()
        if marks[1] is None:
            if self._engine is not None:
                log.info("challenger_ended")
            self._engine = None
            self._take(len(self._waiting))
            return
        try:
            snapshot = await asyncio.to_thread(self._source.compile, self._state)
        except ConfigurationError as error:
            log.error("challenger_rejected", defects=str(error).splitlines())
        except Exception as error:
            # A file that breaks the reader itself must not end the watch.
            log.error("challenger_rejected", defects=["the files cannot be read"], **describe_cause(error))
        else:
            self._engine = await asyncio.to_thread(Engine, snapshot)
            log.info("challenger_accepted", bundle_revision=revisions_of(snapshot)[1])

    async def score(self) -> None:
        """Scores all that waits now, in a thread, and counts the comparisons."""
        for _ in range(-(-len(self._waiting) // CHUNK)):
            engine = self._engine
            offered = self._take(CHUNK)
            if engine is None or not offered:
                return
            compared = await asyncio.to_thread(_score, engine, offered)
            self._failed.value += sum(one is None for one in compared)
            self._count(one for one in compared if one is not None)

    def _take(self, n: int) -> list[tuple[Request, Decision]]:
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(n, len(self._waiting)))]
            self._waiting_bytes -= sum(request.text_bytes for request, _ in taken)
        return taken

    def _count(self, comparisons: Iterable[Comparison]) -> None:
        pairs: Counter[tuple[str, str]] = Counter()
        for one in comparisons:
            pairs[one.tier, one.challenger_tier] += 1
            if one.distance is not None:
                self._metrics.timing(CHALLENGER_DISTANCE, one.tier, one.challenger_tier).observe(one.distance)
        for pair, n in pairs.items():
            self._metrics.count(CHALLENGES, *pair).value += n

    async def _watch(self, poll_s: float) -> None:
        while True:
            await self.look()
            await asyncio.sleep(poll_s)

    def _revision(self) -> tuple[tuple[str, ...], float]:
        engine = self._engine
        return (("",), 0.0) if engine is None else ((revisions_of(engine.snapshot)[1],), 1.0)


def _score(engine: Engine, offered: list[tuple[Request, Decision]]) -> list[Comparison | None]:
    """Compares decisions; None where the challenger has none."""
    # A tier that was drawn says nothing of the bundle.
    judged = [
        (request, champion)
        for request, champion in offered
        if not any(reason.kind in _DRAWN for reason in champion.reasons)
    ]
    results = engine.route_many([request for request, _ in judged])
    return [
        None if isinstance(result, RouteError) else compare(champion, result)
        for (_, champion), result in zip(judged, results, strict=True)
    ]


def compare(champion: Decision, challenger: Decision) -> Comparison:
    """What differs between two decisions of one request."""
    judged = {one.tier: one.p_sufficient for one in champion.candidates}
    distances = [
        abs(one.p_sufficient - known)
        for one in challenger.candidates
        if one.p_sufficient is not None and (known := judged.get(one.tier)) is not None
    ]
    distance = sum(distances) / len(distances) if distances else None
    return Comparison(champion.tier, challenger.tier, distance)
