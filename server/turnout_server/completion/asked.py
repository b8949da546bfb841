"""What a completion is asked for, in words that no door owns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil

from turnout_fastpath import Decision, Request, Strategy

from turnout_server.completion.estimates import BYTES_PER_TOKEN
from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate
from turnout_server.providers.chat import ChatRequest, TextPart
from turnout_server.resilience.deadline import Deadline

# What a picture or a file may count for where nothing better is known.
MEDIA_TOKENS = 1024


class StreamMode(StrEnum):
    """When the caller of a stream sees an answer that gates may still reject."""

    HOLD = "hold"
    RESTART = "restart"


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        chat: what the provider is asked.
        decision: of the request, by the same engine as `Route`'s.
        chain_of: the deployments of a tier, by name, that the request fits into, in the engine's order; empty: none.
        deadline: of the caller.
        gates: what the gates know of it.
        skip: gates that do not look.
        min_confidence: the caller's own threshold of the confidence gate; None: the task's.
        strategy: forced by the caller; None: as decided.
        tenant: who pays; empty: not told.
        session_id: the conversation; empty: none.
        min_tier: the caller's least tier; empty: none.
        max_tier: the caller's greatest tier; empty: none.
        allowed_deployments: deployments that may see the request; none: all.
        allowed_regions: regions that may; none: all.
        mode: what a stream shows before the gates have passed.
        restart_on_cut: whether the caller takes a whole new answer after a cut.
        request: as the engine read it; None: not at hand, and no features are kept.
    """

    chat: ChatRequest = field(repr=False)
    decision: Decision
    chain_of: Callable[[str], Sequence[str]]
    deadline: Deadline = field(default_factory=Deadline)
    gates: GateContext = field(default_factory=GateContext)
    skip: tuple[Gate, ...] = ()
    min_confidence: float | None = None
    strategy: Strategy | None = None
    tenant: str = ""
    session_id: str = ""
    min_tier: str = ""
    max_tier: str = ""
    allowed_deployments: tuple[str, ...] = ()
    allowed_regions: tuple[str, ...] = ()
    mode: StreamMode = StreamMode.HOLD
    restart_on_cut: bool = False
    request: Request | None = field(default=None, repr=False)

    @property
    def input_tokens(self) -> int:
        """An estimate of the input in provider tokens, on the dear side."""
        text = sum(
            len(part.text.encode()) if isinstance(part, TextPart) else MEDIA_TOKENS * BYTES_PER_TOKEN
            for message in self.chat.messages
            for part in message.parts
        )
        tools = sum(len(f"{tool.name}{tool.description}{tool.parameters_json}") for tool in self.chat.tools)
        return ceil((text + tools) / BYTES_PER_TOKEN) + 3 * len(self.chat.messages)
