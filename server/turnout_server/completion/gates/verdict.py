"""What a gate says of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Gate(StrEnum):
    """The gates, in the order in which they look at an answer. The value is the name in records and metrics."""

    REFUSAL = "refusal"
    EMPTY = "empty"
    SCHEMA = "schema"
    TOOL_CALLS = "tool_calls"
    REQUIRED = "required"
    LENGTH = "length"
    HEDGING = "hedging"
    CONFIDENCE = "confidence"
    JUDGE = "judge"


class Verdict(StrEnum):
    """What shall happen to the answer."""

    ACCEPT = "accept"
    """It may be served, as far as this gate sees."""
    ESCALATE = "escalate"
    """A higher tier shall answer instead."""
    RETURN = "return"
    """It is served as it is; a higher tier would not do better."""


class GateReason(StrEnum):
    """Why a gate said what it said. The value is the name in records and metrics."""

    FINE = "fine"
    """Nothing was found."""
    NOT_ASKED = "not_asked"
    """The request asks for nothing that this gate checks."""
    NOT_KNOWN = "not_known"
    """The answer lacks what the gate reads, such as log-probabilities."""
    FAILED = "failed"
    """The gate itself failed; the answer goes on, and the log has the cause."""

    CONTENT_FILTER = "content_filter"
    """The provider's filter blocked the prompt or the answer."""
    REFUSAL_TOLD = "refusal_told"
    """The provider says outside the text that the model declined."""
    REFUSAL_WORDED = "refusal_worded"
    """The text begins by declining, and does little else."""
    REFUSAL_POLICY_WORDED = "refusal_policy_worded"
    """The same, and the text names a policy, the law or safety."""
    REFUSED_BEFORE = "refused_before"
    """Another tier declined this request already."""
    PARTIAL_REFUSAL = "partial_refusal"
    """The text begins by declining a part and then helps."""

    EMPTY = "empty"
    """No text but blanks and marks, and no tool call."""
    EMPTY_AT_LENGTH = "empty_at_length"
    """The same, and the limit of output tokens was reached: it helps to raise that."""
    REASONING_ONLY = "reasoning_only"
    """Reasoning, but no answer."""
    FILLER = "filler"
    """A courtesy and no answer."""

    JSON_INVALID = "json_invalid"
    """JSON was asked for, and the text is none."""
    JSON_CUT = "json_cut"
    """The same, and the limit of output tokens was reached."""
    JSON_TOO_DEEP = "json_too_deep"
    """Nested deeper than the schema can be checked in bounded time."""
    SCHEMA_VIOLATED = "schema_violated"
    """JSON that does not fit the schema."""

    TOOL_UNKNOWN = "tool_unknown"
    """A call of a tool that the request does not have."""
    TOOL_UNWANTED = "tool_unwanted"
    """A call where the request forbids calls, or wants another tool."""
    TOOL_MISSING = "tool_missing"
    """No call where the request demands one."""
    ARGUMENTS_INVALID = "arguments_invalid"
    """Arguments that are no JSON object."""
    ARGUMENTS_VIOLATE_SCHEMA = "arguments_violate_schema"
    """Arguments that do not fit the tool's schema."""

    KEYWORD_MISSING = "keyword_missing"
    """A required word is not in the answer."""
    KEYWORD_FORBIDDEN = "keyword_forbidden"
    """A forbidden word is in the answer."""
    FORM_MISSED = "form_missed"
    """The answer lacks the required form."""
    PATTERN_MISSED = "pattern_missed"
    """The required pattern does not match."""

    TOO_SHORT = "too_short"
    """Shorter than required."""
    CUT = "cut"
    """Cut at the deployment's limit of output tokens."""
    CUT_AS_ASKED = "cut_as_asked"
    """Cut at the caller's own limit of output tokens."""
    CUT_AT_WINDOW = "cut_at_window"
    """Cut at the end of the context window."""
    CODE_UNFINISHED = "code_unfinished"
    """A code block was begun and not ended."""
    MODEL_ERROR = "model_error"
    """The provider ended the answer for a fault of its own."""

    UNSURE = "unsure"
    """The answer says of itself that it is a guess, for its length too often."""
    LOW_CONFIDENCE = "low_confidence"
    """The tokens' probabilities are below the task's threshold."""
    JUDGED_INSUFFICIENT = "judged_insufficient"
    """The judge's score is below the threshold."""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What one gate says.

    Attributes:
        gate: which.
        verdict: what shall happen to the answer.
        reason: why.
        score: what the gate measured, 0 to 1; None where it measures nothing.
        time_ns: nanoseconds that the gate took.
    """

    gate: Gate
    verdict: Verdict
    reason: GateReason
    score: float | None = None
    time_ns: int = 0


def accept(gate: Gate, reason: GateReason = GateReason.FINE, score: float | None = None) -> GateVerdict:
    """The answer may go on."""
    return GateVerdict(gate, Verdict.ACCEPT, reason, score)


def escalate(gate: Gate, reason: GateReason, score: float | None = None) -> GateVerdict:
    """A higher tier shall answer."""
    return GateVerdict(gate, Verdict.ESCALATE, reason, score)


def give_back(gate: Gate, reason: GateReason, score: float | None = None) -> GateVerdict:
    """The answer is returned as it is."""
    return GateVerdict(gate, Verdict.RETURN, reason, score)
