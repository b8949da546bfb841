"""Counts the decisions of one process by what the drift alarm watches; whoever compares them asks for the sums."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from turnout_fastpath import Status

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


# Policy, and its categories in the order of Dimension.
_Key = tuple[str, str, str, str, str, str]
# By number: hashing an enumeration's member is a Python call.
_STATUSES = [UNKNOWN, *(status.name.lower() for status in sorted(Status))]


class Port(StrEnum):
    """Which listener decided. Shares that are counted differ between them, so they are never added up."""

    MAIN = "main"
    DECISION = "decision"


class MixTally:
    """The mix of one process's decisions. Any thread may count.

    Decisions are counted by all of their categories together, which is one step for each; they are told apart by
    dimension when somebody asks.
    """

    def __init__(self, port: Port, share: float = 1.0) -> None:
        """Counts a share, 0 to 1, of the decisions of `port`; drawn by their ids, as the outcome store draws."""
        self._port = port
        self._share = share
        self._lock = threading.Lock()
        # Since the last reading; and all before it, by policy and then in the order of Dimension.
        self._counts: dict[_Key, int] = {}
        self._sums: dict[str, tuple[dict[str, int], ...]] = {}

    def count(self, decisions: Iterable[Decision]) -> None:
        """Counts decisions that Python made."""
        if self._share < 1:
            decisions = [one for one in decisions if is_drawn(one.decision_id, self._share)]
        with self._lock:
            counts = self._counts
            for one in decisions:
                key = _key(
                    one.policy,
                    one.tier,
                    one.status,
                    one.task,
                    one.tokens_total,
                    one.cheapest_p_sufficient,
                )
                counts[key] = counts.get(key, 0) + 1

    def count_drawn(
        self, policy: str, tier: str, status: int, task: str | None, tokens: int, p_sufficient: float | None
    ) -> None:
        """Counts a decision that was drawn already.

        Args:
            policy: which policy decided.
            tier: which tier was decided.
            status: a Status.
            task: what the request was taken for; None or empty: not known.
            tokens: of the request, in word pieces.
            p_sufficient: of the cheapest tier; None: it was not judged.
        """
        key = _key(policy, tier, status, task, tokens, p_sufficient)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def read(self) -> list[tuple[Labels, float]]:
        """Decisions by policy, port, dimension and category. Every dimension counts each decision once."""
        with self._lock:
            for (policy, *categories), count in self._counts.items():
                sums = self._sums.get(policy)
                if sums is None:
                    sums = self._sums[policy] = tuple({} for _ in Dimension)
                for by_category, category in zip(sums, categories, strict=True):
                    by_category[category] = by_category.get(category, 0) + count
            self._counts.clear()
            return [
                ((policy, str(self._port), str(dimension), category), count)
                for policy, sums in self._sums.items()
                for dimension, by_category in zip(Dimension, sums, strict=True)
                for category, count in by_category.items()
            ]


def _key(
    policy: str, tier: str, status: int, task: str | None, tokens: int, p_sufficient: float | None
) -> _Key:
    return (
        policy,
        task or UNKNOWN,
        tier,
        _STATUSES[status],
        tokens_category(tokens),
        p_sufficient_category(p_sufficient),
    )
