"""The Route use-case: what decides now, under which time limits, and what is counted of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from turnout_fastpath import Decision, Engine, Request, Snapshot
from turnout_fastpath.snapshot import FEATURES_REVISION

from turnout_server.observability.metrics import INFO, Metrics
from turnout_server.version import package_version

if TYPE_CHECKING:
    from turnout_server.challenger import Challenger


class Router:
    """Decides requests with the snapshot that is installed, and counts the decisions.

    `decide_uncounted` may run on any thread, the rest on the event loop's.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._least_time_s = _least_times(engine.snapshot)
        version = package_version()
        metrics.watch(INFO, lambda: ((version, *revisions_of(self.snapshot)), 1))
        self.decide_uncounted = engine.decide
        self.count = metrics.count_decision
        self.challenger: Challenger | None = None

    @property
    def snapshot(self) -> Snapshot:
        """What decisions are made with now."""
        return self._engine.snapshot

    def is_short_of_time(self, policy: str, remaining_s: float) -> bool:
        """True if only rules can decide within what is left until the deadline.

        Args:
            policy: the policy's name, empty for the default one. Of an unknown one nothing is said here.
            remaining_s: seconds until the deadline.
        """
        return remaining_s < self._least_time_s.get(policy, 0.0)

    def decide(self, request: Request) -> Decision:
        """Decides one request and counts the decision.

        Raises:
            RouteError: the request breaks a limit, names what the policy lacks, or leaves no deployment.
        """
        decision = self.decide_uncounted(request)
        self.count(decision)
        if self.challenger is not None:
            self.challenger.offer(request, decision)
        return decision

    def warm_up(self) -> Decision:
        """Makes one decision, uncounted, so that no caller waits for first-time work."""
        return self.decide_uncounted(Request("What is the capital of France?"))

    async def install(self, snapshot: Snapshot) -> None:
        """Swaps what decides. Decisions under way finish with the snapshot that they began with."""
        await asyncio.to_thread(self._engine.install, snapshot)
        self._least_time_s = _least_times(snapshot)


def revisions_of(snapshot: Snapshot) -> tuple[str, str, str]:
    """Revisions of policy, bundle and features, each 16 hexadecimal digits."""
    return snapshot.policies.revision.hex(), snapshot.bundle.revision.hex(), FEATURES_REVISION.hex()


def _least_times(snapshot: Snapshot) -> dict[str, float]:
    """Seconds that a decision must have left, by policy; the empty name is the default one's."""
    document = snapshot.policies.document
    limits = {name: policy["limits"]["least_time_ms"] / 1000 for name, policy in document["policies"].items()}
    limits[""] = limits[document["default_policy"]]
    return limits
