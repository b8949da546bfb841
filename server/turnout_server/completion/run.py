"""One request on its way to an answer: what its steps share, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from turnout_server.completion.access import Access
from turnout_server.completion.asked import Asked
from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.gates.verdict import Gate
from turnout_server.providers.chat import ChatRequest, ChatResponse, StreamEvent
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.retry_policy import MAX_ATTEMPTS


class Listener(Protocol):
    """Whoever sees an answer as it comes."""

    async def content(self, event: StreamEvent) -> None:
        """More of the answer, or its counts."""

    async def restarted(
        self, tier: str, deployment: str, rejected_by: Gate | None, fault: FaultKind | None
    ) -> None:
        """What was seen is taken back; this deployment answers from the beginning."""


@dataclass(frozen=True)
class Answer:
    """A whole answer and the attempt that gave it."""

    response: ChatResponse
    attempt: Attempt


@dataclass
class Run:
    """What one request shares over its steps.

    Attributes:
        asked: the request.
        fleet: of the snapshot that is in force when it came.
        log: its attempts.
        chat: what is asked upstream; a strategy may give it more room.
    """

    asked: Asked
    fleet: Fleet
    log: AttemptLog
    chat: ChatRequest
    _chains: dict[str, Sequence[str]] = field(default_factory=dict)
    _input_tokens: int | None = None
    _access: Access | None = None

    @property
    def access(self) -> Access:
        """Which deployments it may call now; unless it was told otherwise, by their breakers alone."""
        if self._access is None:
            self._access = Access(self.fleet, self.log, self.fleet.clock, self.fleet.random)
        return self._access

    @access.setter
    def access(self, access: Access) -> None:
        self._access = access

    @property
    def attempts_left(self) -> int:
        """Upstream attempts that may still be made to answer."""
        return MAX_ATTEMPTS - len(self.log.attempts)

    @property
    def input_tokens(self) -> int:
        """The estimate of the input, in provider tokens."""
        if self._input_tokens is None:
            self._input_tokens = self.asked.input_tokens
        return self._input_tokens

    def chain(self, tier: str) -> Sequence[str]:
        """The deployments of a tier that the request fits into."""
        if tier not in self._chains:
            decision = self.asked.decision
            if tier == decision.tier:
                self._chains[tier] = [decision.deployment, *decision.fallback_deployments]
            else:
                self._chains[tier] = self.asked.chain_of(tier)
        return self._chains[tier]

    def chains(self, tier: str, *, lower: bool = True) -> list[Sequence[str]]:
        """The tier's chain, those of the tiers above, and then those below, as far as they are permitted."""
        low, high = self.fleet.range_of(self.asked.decision, self.asked.min_tier, self.asked.max_tier)
        rank = self.fleet.tiers.index(tier)
        ranks = [rank, *range(rank + 1, high + 1)]
        if lower:
            ranks += range(rank - 1, low - 1, -1)
        return [chain for at in ranks if (chain := self.chain(self.fleet.tiers[at]))]
