"""What a request has called upstream: every attempt, from its start to its bill."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.cost import AttemptCost, CostSum, ModelPrice, attempt_cost
from turnout_server.completion.estimates import estimate_aborted
from turnout_server.completion.fleet import Deployment
from turnout_server.completion.gates.verdict import Gate, GateVerdict
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.chat import (
    ChatResponse,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import UpstreamError

# After these the provider may have worked, and bills it, though no count came; all others are refusals.
WORKED = frozenset(
    {
        FaultKind.FIRST_TOKEN_TIMEOUT,
        FaultKind.STALLED,
        FaultKind.CUT,
        FaultKind.MALFORMED,
        FaultKind.CANCELLED,
        FaultKind.DEADLINE,
    }
)


@dataclass
class Attempt:
    """One upstream call. Times are nanoseconds from the request's arrival.

    Attributes:
        attempt_id: unique over all requests.
        deployment: what was called.
        price: in force when it was called; None: unknown.
        purpose: why it was called.
        started_ns: when it began.
        begun_ms: the same in milliseconds since 1970, UTC.
        result: what became of it; LOST until it has ended.
        error: why it failed; None: it did not.
        fault: the same, in one word; CANCELLED where the caller went away.
        outrun: whether another attempt had its first token before, so that this one was cancelled.
        rejected_by: the gate that rejected its answer; None: none did.
        tokens: counted or estimated.
        estimated: whether the provider's own count is missing.
        settled_ns: when budgets counted it, in Unix nanoseconds; 0: they did not.
    """

    deployment: Deployment
    price: ModelPrice | None
    purpose: Purpose
    started_ns: int
    begun_ms: int
    attempt_id: str = field(default_factory=lambda: secrets.token_hex(16))
    result: AttemptResult = AttemptResult.LOST
    error: UpstreamError | None = None
    fault: FaultKind | None = None
    outrun: bool = False
    rejected_by: Gate | None = None
    first_token_ns: int | None = None
    ended_ns: int = 0
    tokens: TokenCounts = field(default_factory=TokenCounts)
    estimated: bool = False
    settled_ns: int = 0
    model_version: str = ""
    request_id: str = ""
    finish_reason: FinishReason | None = None
    verdicts: tuple[GateVerdict, ...] = ()
    reported: TokenCounts | None = None
    text_bytes: int = 0
    reasoning_bytes: int = 0
    # The last cost, and what it was computed of: a bill, a metric and a record ask for it.
    _priced: tuple[TokenCounts, AttemptResult, bool, AttemptCost] | None = None

    def see(self, event: StreamEvent, now_ns: Callable[[], int]) -> None:
        """Notes an event of its stream; on the path of every token."""
        kind = type(event)
        if kind is TextDelta or kind is RefusalDelta:
            self.text_bytes += _count_bytes(event.text)  # type: ignore[union-attr]
        elif kind is ToolCallDelta:
            self.text_bytes += _count_bytes(event.arguments)  # type: ignore[union-attr]
        elif kind is ReasoningDelta:
            self.reasoning_bytes += _count_bytes(event.text)  # type: ignore[union-attr]
        else:
            if isinstance(event, UsageUpdate):
                self.reported = event.usage
            return
        if self.first_token_ns is None:
            self.first_token_ns = now_ns()

    def succeed(self, answer: ChatResponse, now_ns: int, input_tokens: int) -> None:
        """Its answer is whole."""
        self.result, self.ended_ns = AttemptResult.SERVED, now_ns
        self.model_version, self.request_id = answer.model_version, answer.request_id
        self.finish_reason = answer.finish_reason
        if answer.usage is None:
            self._estimate(input_tokens)
        else:
            self.tokens = answer.usage

    def fail(self, error: UpstreamError, now_ns: int, input_tokens: int) -> None:
        """It ended with a fault."""
        self.result, self.ended_ns = AttemptResult.FAILED, now_ns
        self.error, self.fault, self.request_id = error, error.kind, error.request_id
        self.reported = error.usage or self.reported
        if error.kind in WORKED or error.content_seen:
            self._estimate(input_tokens)
        elif error.usage is not None:
            self.tokens = error.usage

    def cancel(self, now_ns: int, input_tokens: int) -> None:
        """The caller went away."""
        self.result, self.ended_ns, self.fault = AttemptResult.CANCELLED, now_ns, FaultKind.CANCELLED
        self._estimate(input_tokens)

    def reject(self, gate: Gate) -> None:
        """A gate wants another answer."""
        self.result, self.rejected_by = AttemptResult.REJECTED, gate

    @property
    def cost(self) -> AttemptCost:
        """What it cost, at the price in force when it was called."""
        tokens, result, estimated = self.tokens, self.result, self.estimated
        if (priced := self._priced) is not None and priced[:3] == (tokens, result, estimated):
            return priced[3]
        cost = attempt_cost(tokens, self.price, purpose=self.purpose, result=result, estimated=estimated)
        self._priced = tokens, result, estimated, cost
        return cost

    def _estimate(self, input_tokens: int) -> None:
        self.estimated = True
        self.tokens = estimate_aborted(
            self.reported,
            input_tokens=input_tokens,
            text_bytes=self.text_bytes,
            reasoning_bytes=self.reasoning_bytes,
        )


def _count_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


@dataclass
class AttemptLog:
    """The attempts of one request, in the order in which they began.

    Attributes:
        now_ns: nanoseconds since the request's arrival.
        attempts: so far, to answer.
        asides: calls that answer nobody and that the answer waited for, such as an inline judge's.
        content_given: whether the caller has seen content that was not taken back.
    """

    now_ns: Callable[[], int]
    attempts: list[Attempt] = field(default_factory=list)
    content_given: bool = False
    asides: list[Attempt] = field(default_factory=list)

    @property
    def made(self) -> list[Attempt]:
        """Every call, in the order in which they began."""
        if not self.asides:
            return self.attempts
        return sorted([*self.attempts, *self.asides], key=lambda one: one.started_ns)

    @property
    def bill(self) -> CostSum:
        """The sum over every call."""
        return CostSum.of(attempt.cost for attempt in self.made)

    @property
    def cost(self) -> CostSum:
        """The sum over the attempts to answer: what is on the budgets of tenant and policy."""
        return CostSum.of(attempt.cost for attempt in self.attempts)

    @property
    def price_versions(self) -> list[str]:
        """The price versions of the bill, each once, ascending."""
        return sorted({one.price.version for one in self.made if one.price is not None})

    @property
    def tokens_total(self) -> int:
        """Input and output tokens of the attempts to answer."""
        return sum(one.tokens.input_total + one.tokens.output_total for one in self.attempts)
