"""The sampled log of decisions: names, lengths and hashes, never text."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

from turnout_fastpath import Decision

from turnout_server.observability.logs import get_logger


class DecisionLog:
    """Draws which decisions are logged, and logs them."""

    def __init__(self, share: float, source: random.Random | None = None) -> None:
        """Logs `share` of the decisions, 0 to 1."""
        self.share = share
        self._random = random.Random() if source is None else source

    def draws(self) -> bool:
        """True if the next decision is to be logged."""
        return self.share > 0 and self._random.random() < self.share

    def write(self, decision: Decision, texts: Iterable[str]) -> None:
        """Logs a decision.

        Args:
            decision: the decision.
            texts: the request's texts, of which only the length and a hash are kept.
        """
        size = 0
        text_hash = hashlib.blake2b(digest_size=8)
        for text in texts:
            encoded = text.encode("utf-8", "replace")
            size += len(encoded)
            text_hash.update(encoded)
        get_logger().info(
            "decision_made",
            decision_id=decision.decision_id,
            status=decision.status.name.lower(),
            policy=decision.policy,
            tier=decision.tier,
            deployment=decision.deployment,
            task=decision.task,
            reasons=[f"{reason.kind.name.lower()}:{reason.id}" for reason in decision.reasons],
            text_bytes=size,
            text_hash=text_hash.hexdigest(),
            tokens_total=decision.tokens_total,
            digest=decision.digest,
            decision_us=decision.decision_ns / 1000,
        )
