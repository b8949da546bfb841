"""Which model versions deployments answer by; a version that comes without being asked for is told."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from turnout_server.resilience.clock import Clock

# A version that has been away for so long is told again when it is back; one that comes and goes, as where a provider
# serves two for a while, is told once.
AWAY_S = 3600.0


class ModelChange(NamedTuple):
    """A deployment answers by another version, though it is asked for the same model."""

    deployment: str
    model: str
    before: str
    after: str


@dataclass
class _Seen:
    current: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    last_s: dict[str, float] = field(default_factory=dict)


class ModelVersions:
    """Follows the counts of answers by deployment, model and version."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], _Seen] = {}

    def take(self, counts: Iterable[tuple[tuple[str, ...], float]]) -> list[ModelChange]:
        """What has changed since the last call.

        The versions that a deployment and model are first seen with are no change: a policy that asks for another model
        asks for another version.

        Args:
            counts: all answers so far, by (deployment, model, version).
        """
        now_s = self._clock.monotonic_s()
        known = self._seen.copy()
        changes = []
        for (deployment, model, version), count in sorted(counts):
            asked = deployment, model
            seen = self._seen.setdefault(asked, _Seen())
            if count <= seen.counts.get(version, 0.0):
                continue
            seen.counts[version] = count
            if asked not in known:
                seen.current = seen.current or version
            elif version != seen.current and now_s - seen.last_s.get(version, -math.inf) >= AWAY_S:
                changes.append(ModelChange(deployment, model, seen.current, version))
                seen.current = version
            seen.last_s[version] = now_s
        return changes
