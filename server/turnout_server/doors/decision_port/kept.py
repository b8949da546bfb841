"""What the numbers of kept decisions mean, by the snapshot that they were decided with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnout_fastpath import Snapshot
from turnout_fastpath.bundle import inputs_revision

from turnout_server.doors.decision_port.ring import Drained
from turnout_server.routing import revisions_of


@dataclass(frozen=True)
class SnapshotNames:
    """Names of a snapshot, without the memory that it holds.

    Attributes:
        policies, tiers, deployments, tasks: by number.
        revisions: of policy, bundle and features.
        inputs_revision: of kept feature vectors.
    """

    policies: Sequence[str]
    tiers: Sequence[str]
    deployments: Sequence[str]
    tasks: Sequence[str]
    revisions: tuple[str, str, str]
    inputs_revision: str

    @classmethod
    def of(cls, snapshot: Snapshot) -> SnapshotNames:
        """A snapshot's."""
        policies = snapshot.policies
        return cls(
            list(policies.policy_names),
            list(policies.tier_names),
            list(policies.deployment_names),
            list(snapshot.bundle.manifest["tasks"]),
            revisions_of(snapshot),
            inputs_revision(snapshot.bundle),
        )


@dataclass(frozen=True)
class KeptDecision:
    """A decision from a ring, and the names of its numbers."""

    drained: Drained
    names: SnapshotNames
