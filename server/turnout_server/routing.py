"""The Route use-case: what decides now, under which time limits, and what is counted of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
        self._set_least_times(engine.snapshot)
        version = package_version()
        metrics.watch(INFO, lambda: ((version, *revisions_of(self.snapshot)), 1))
        self.decide_uncounted: Callable[[Request], Decision] = engine.decide
        self.count = metrics.count_decision

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

    def may_be_short_of_time(self, remaining_s: float) -> bool:
        """False if every policy has time enough within `remaining_s` seconds."""
        return remaining_s < self._greatest_least_time_s

    def decide(self, request: Request) -> Decision:
        """Decides one request and counts the decision.

        Raises:
            RouteError: the request breaks a limit, names what the policy lacks, or leaves no deployment.
        """
        decision = self.decide_uncounted(request)
        self.count(decision)
        return decision

    def decide_aside(self, request: Request) -> Decision:
        """A decision that serves another one: neither counted nor seen by the challenger; raises as `decide` does."""
        return self._engine.decide(request)

    def warm_up(self) -> Decision:
        """Makes one decision, uncounted, so that no caller waits for first-time work."""
        return self.decide_uncounted(Request("What is the capital of France?"))

    def offer_to(self, challenger: Challenger) -> None:
        """Offers every request to a challenger once it is decided; without one, nothing stands in the way."""
        decide, offer = self._engine.decide, challenger.offer

        def decide_and_offer(request: Request) -> Decision:
            decision = decide(request)
            offer(request, decision)
            return decision

        self.decide_uncounted = decide_and_offer

    async def install(self, snapshot: Snapshot) -> None:
        """Swaps what decides. Decisions under way finish with the snapshot that they began with."""
        await asyncio.to_thread(self._engine.install, snapshot)
        self._set_least_times(snapshot)

    def _set_least_times(self, snapshot: Snapshot) -> None:
        self._least_time_s = _least_times(snapshot)
        self._greatest_least_time_s = max(self._least_time_s.values())


def revisions_of(snapshot: Snapshot) -> tuple[str, str, str]:
    """Revisions of policy, bundle and features, each 16 hexadecimal digits."""
    return snapshot.policies.revision.hex(), snapshot.bundle.revision.hex(), FEATURES_REVISION.hex()


def _least_times(snapshot: Snapshot) -> dict[str, float]:
    """Seconds that a decision must have left, by policy; the empty name is the default one's."""
    document = snapshot.policies.document
    limits = {name: policy["limits"]["least_time_ms"] / 1000 for name, policy in document["policies"].items()}
    limits[""] = limits[document["default_policy"]]
    return limits
