"""Counts the decisions of one process by what the drift alarm watches; whoever compares them asks for the sums."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from turnout_server.observability.metrics import Labels
from turnout_server.quality.drift.dimensions import (
    UNKNOWN,
    Dimension,
    p_sufficient_category,
    tokens_category,
)
from turnout_server.quality.store.sampling import is_drawn

if TYPE_CHECKING:
    from turnout_fastpath import Decision


class Port(StrEnum):
    """Which listener decided. Shares that are counted differ between them, so they are never added up."""

    MAIN = "main"
    DECISION = "decision"


class MixTally:
    """The mix of one process's decisions. Any thread may count."""

    def __init__(self, port: Port, share: float = 1.0) -> None:
        """Counts a share, 0 to 1, of the decisions of `port`; drawn by their ids, as the outcome store draws."""
        self._port = port
        self._share = share
        self._lock = threading.Lock()
        self._policies: dict[str, dict[Dimension, dict[str, int]]] = {}

    def count(self, decisions: Iterable[Decision]) -> None:
        """Counts decisions that Python made; some 2 us each, which is most of all reading their candidates."""
        drawn = [one for one in decisions if is_drawn(one.decision_id, self._share)]
        with self._lock:
            for one in drawn:
                candidates = one.candidates
                self._add(
                    one.policy,
                    one.tier,
                    one.status.name.lower(),
                    one.task,
                    one.tokens_total,
                    candidates[0].p_sufficient if candidates else None,
                )

    def count_drawn(
        self, policy: str, tier: str, status: str, task: str | None, tokens: int, p_sufficient: float | None
    ) -> None:
        """Counts a decision that was drawn already.

        Args:
            policy: which policy decided.
            tier: which tier was decided.
            status: decided, abstained or defaulted.
            task: what the request was taken for; None or empty: not known.
            tokens: of the request, in word pieces.
            p_sufficient: of the cheapest tier; None: it was not judged.
        """
        with self._lock:
            self._add(policy, tier, status, task, tokens, p_sufficient)

    def read(self) -> list[tuple[Labels, float]]:
        """Decisions by policy, port, dimension and category. Every dimension counts each decision once."""
        with self._lock:
            return [
                ((policy, self._port, dimension, category), count)
                for policy, dimensions in self._policies.items()
                for dimension, counts in dimensions.items()
                for category, count in counts.items()
            ]

    def _add(
        self, policy: str, tier: str, status: str, task: str | None, tokens: int, p_sufficient: float | None
    ) -> None:
        mix = self._policies.get(policy)
        if mix is None:
            mix = self._policies[policy] = {dimension: {} for dimension in Dimension}
        for dimension, category in (
            (Dimension.TASK, task or UNKNOWN),
            (Dimension.TIER, tier),
            (Dimension.STATUS, status),
            (Dimension.TOKENS, tokens_category(tokens)),
            (Dimension.P_SUFFICIENT, p_sufficient_category(p_sufficient)),
        ):
            counts = mix[dimension]
            counts[category] = counts.get(category, 0) + 1
