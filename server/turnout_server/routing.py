"""The Route use-case: what decides now, under which time limits, and what is counted and logged of it."""

from __future__ import annotations

import asyncio

from turnout_fastpath import Decision, Engine, Request, Snapshot
from turnout_fastpath.snapshot import FEATURES_REVISION

from turnout_server.observability.metrics import Metrics
from turnout_server.version import package_version


class Router:
    """Decides requests with the snapshot that is installed, and counts the decisions.

    Any thread may call it, but only one at a time may install.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._least_time_s: dict[str, float] = {}
        self._learn(engine.snapshot)

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
            RouteError: the request breaks a limit, names what the policy does not have, or leaves no deployment.
        """
        decision = self._engine.decide(request)
        self._metrics.count_decision(decision)
        return decision

    def warm_up(self) -> Decision:
        """Makes one decision, uncounted, so that no caller waits for first-time work."""
        return self._engine.decide(Request("What is the capital of France?"))

    async def install(self, snapshot: Snapshot) -> None:
        """Swaps what decides. Decisions under way finish with the snapshot that they began with."""
        await asyncio.to_thread(self._engine.install, snapshot)
        self._learn(snapshot)

    def _learn(self, snapshot: Snapshot) -> None:
        document = snapshot.policies.document
        limits = {
            name: policy["limits"]["least_time_ms"] / 1000 for name, policy in document["policies"].items()
        }
        limits[""] = limits[document["default_policy"]]
        self._least_time_s = limits
        policy, bundle, features = revisions_of(snapshot)
        self._metrics.set_info(package_version(), policy, bundle, features)


def revisions_of(snapshot: Snapshot) -> tuple[str, str, str]:
    """Revisions of policy, bundle and features, each 16 hexadecimal digits."""
    return snapshot.policies.revision.hex(), snapshot.bundle.revision.hex(), FEATURES_REVISION.hex()
