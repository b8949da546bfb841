"""Calls that wait in gRPC's core before the service sees them: how many there are, and how many of them are too many.

The core hands calls over one after the other, each in a turn or two of the event loop. Where they come faster than the
process answers, they wait there, out of admission's sight, until the core ends them after 30 s with CANCELLED and no word of
why. What the core counts for channelz tells of them: calls begun, less those that have ended and those that are in service.
https://github.com/grpc/proposal/blob/master/A14-channelz.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import NamedTuple

import grpc
import orjson
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from turnout_server.doors.admission import Admission

LOOK_S = 0.2
LATE_S = 3 * LOOK_S
# So long a call may wait to be seen.
MOST_WAIT_S = 0.5
# No more than this are no backlog, however slow the last moments were.
LEAST_BACKLOG = 64


class CoreCounts(NamedTuple):
    """Calls of a server since its start, as the core has them."""

    begun: int
    ended: int


def count_calls(server_id: int) -> CoreCounts:
    """What channelz says of a server."""
    data = orjson.loads(cygrpc.channelz_get_server(server_id))["server"].get("data", {})
    begun, *ended = (int(data.get(name, 0)) for name in ("callsStarted", "callsSucceeded", "callsFailed"))
    return CoreCounts(begun, sum(ended))


def newest_server_id() -> int:
    """The id of the server of this process that was made last."""
    newest = 0
    while True:
        found = orjson.loads(cygrpc.channelz_get_servers(newest + 1))
        ids = [int(server["ref"]["serverId"]) for server in found.get("server", ())]
        if not ids:
            return newest
        newest = max(ids)


class Arrivals(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Sees every call before the handlers that answer; itself it answers none.

    Attributes:
        seen: calls since the start.
        aside: calls under way that no admission counts.
    """

    def __init__(self, admitted: Collection[str]) -> None:
        """Takes calls of these methods, by their paths, to be counted by an admission."""
        self.seen = 0
        self.aside = 0
        self._admitted = frozenset(admitted)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        """Counts; runs in the call's own task."""
        self.seen += 1
        if handler_call_details.method not in self._admitted:
            task = asyncio.current_task()
            if task is not None:
                self.aside += 1
                task.add_done_callback(self._end)

    def _end(self, _: asyncio.Task[object]) -> None:
        self.aside -= 1


class Backlog:
    """Tells completions' admission how many of the calls that come next are too many to be answered in time.

    Completions alone give way: one takes several times as long to answer as to refuse. A decision takes no longer. A pace
    says what the process can do only where it had enough to do all the while: a backlog is one at the second look that
    finds it, and a burst after a quiet moment is none at the first.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        decisions: Admission,
        completions: Admission,
        counts: Callable[[], CoreCounts],
        clock: Callable[[], float],
    ) -> None:
        """Nothing waits yet.

        Args:
            arrivals: sees the calls.
            decisions: counts decisions in flight.
            completions: counts completions in flight, and refuses them.
            counts: what the core counts now.
            clock: seconds of a steady clock.
        """
        self._arrivals = arrivals
        self._decisions = decisions
        self._completions = completions
        self._counts = counts
        self._clock = clock
        self._looked_s = clock()
        self._seen = arrivals.seen
        # What the core takes for under way though nothing of it waits.
        self._idle = 0
        self.waiting = 0

    def look(self) -> None:
        """Counts what waits, and what of it is too much at the pace since the last look."""
        now_s, seen = self._clock(), self._arrivals.seen
        elapsed_s = max(now_s - self._looked_s, 1e-3)
        pace = (seen - self._seen) / elapsed_s
        in_service = self._decisions.in_flight + self._completions.in_flight + self._arrivals.aside
        begun, ended = self._counts()
        under_way = begun - ended - in_service
        was_busy = self.waiting > LEAST_BACKLOG
        if seen == self._seen and elapsed_s < LATE_S:
            # A call that waits is seen at once where nothing else is to be done.
            self._idle = under_way
        self.waiting = max(0, under_way - self._idle)
        self._looked_s, self._seen = now_s, seen
        most = max(LEAST_BACKLOG, int(pace * MOST_WAIT_S))
        # A look that comes late says that the process was held, not how fast it is.
        is_backlog = was_busy and elapsed_s < LATE_S
        self._completions.surplus = max(0, self.waiting - most) if is_backlog else 0

    async def watch(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()
