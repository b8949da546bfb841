"""What is recorded. Plain values; text is cut and cleaned when a row is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.cost import AttemptCost, Processing
from turnout_server.completion.gates.verdict import GateVerdict
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.faults import FaultKind


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision. Counted always; its detail is kept by the sampled share.

    Attributes:
        decision_id: of the decision.
        at_ms: milliseconds since 1970, UTC.
        policy: which policy decided.
        tier: which tier was decided.
        status: decided, abstained or defaulted.
        deployment: which deployment was decided; empty: none.
        tenant: of the caller; empty: none was given.
        task: what the request was taken for; empty: not known.
        strategy: single, cascade or ensemble.
        propensity: the probability with which the tier was taken.
        tokens_total: of the request, in word pieces.
        p_sufficient: by tier below the top.
        policy_revision: of the snapshot that decided.
        bundle_revision: the same.
        features_revision: the same.
        features: the row that the classifier reads, as little-endian float32; None: not kept.
        inputs_revision: of `features`, which training asks for; empty without.
        prompt: the request's text. Stored only by a store that was given a redactor, which the policy asks for.
        answer: the answer's text; the same.
    """

    decision_id: str
    at_ms: int
    policy: str
    tier: str
    status: str
    deployment: str = ""
    tenant: str = ""
    task: str = ""
    strategy: str = "single"
    propensity: float = 1.0
    tokens_total: int = 0
    p_sufficient: Mapping[str, float] = field(default_factory=dict)
    policy_revision: str = ""
    bundle_revision: str = ""
    features_revision: str = ""
    features: bytes | None = field(default=None, repr=False)
    inputs_revision: str = ""
    prompt: str | None = field(default=None, repr=False)
    answer: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """Detail of one upstream call; what it cost is a CostRecord of the same id.

    Attributes:
        attempt_id: unique over all decisions.
        decision_id: the decision that it served.
        begun_ms: milliseconds since 1970, UTC.
        deployment: which was called.
        model: the provider's name of the model that was asked for.
        model_version: the model as the provider named it in the response; empty: it did not.
        purpose: why it was called.
        result: what became of it.
        fault: why it failed; None: it did not.
        first_token_ms: milliseconds to the first token; None: none came.
        total_ms: milliseconds to the end.
        finish_reason: the normalised one; empty: none.
    """

    attempt_id: str
    decision_id: str
    begun_ms: int
    deployment: str
    model: str
    purpose: Purpose
    result: AttemptResult
    model_version: str = ""
    fault: FaultKind | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class CostRecord:
    """What one upstream call cost, and all that is needed to compute it again. Never dropped.

    Attributes:
        attempt_id: unique over all decisions.
        decision_id: the decision that it served.
        at_ms: milliseconds since 1970, UTC.
        policy: whose traffic it was.
        tenant: the same; empty: none was given.
        tier: of the deployment.
        deployment: which was called.
        tokens: what was counted or estimated.
        cost: the cost computed of them.
        processing: how the provider was asked to work.
        settled_ns: when budgets counted it, in nanoseconds since 1970; 0: they did not, and learn of it from here.
    """

    attempt_id: str
    decision_id: str
    at_ms: int
    policy: str
    tier: str
    deployment: str
    tokens: TokenCounts
    cost: AttemptCost
    tenant: str = ""
    processing: Processing = Processing.STANDARD
    settled_ns: int = 0


@dataclass(frozen=True, slots=True)
class GateRecord:
    """What the gates said of an attempt's answer, in their order."""

    decision_id: str
    attempt_id: str
    at_ms: int
    verdicts: tuple[GateVerdict, ...]


class Agreement(StrEnum):
    """How far two answers are the same, as far as that can be told without a judge."""

    EXACT = "exact"
    """The same text, but for white space and case, and the same calls of tools."""
    STRUCTURAL = "structural"
    """Both are JSON of the same keys and kinds, or both call the same tools."""
    NONE = "none"
    """Neither."""


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """A grade of an answer: by a judge, by comparison with a shadow's, or as one of an ensemble's.

    Attributes:
        decision_id: the decision whose answer was graded.
        attempt_id: of the call that graded, of the shadow, or of the ensemble's member.
        at_ms: milliseconds since 1970, UTC.
        source: judge, shadow or ensemble.
        tier: of the answer that was graded.
        score: 0 to 1. Of a comparison: 1 where the answer was preferred, 0.5 where neither was.
        other_score: of the answer that it was compared with; None: of none.
        propensity: the probability with which this answer was graded, drawn by the decision's id.
        detail: how the score came about, such as a rubric's name; no text of prompt or answer.
        other_tier: of the answer that it was compared with; empty: of none.
        judge: the deployment that graded; empty: a reward function did.
        judge_version: the model as the judge's provider named it in the response; empty: it did not.
    """

    decision_id: str
    attempt_id: str
    at_ms: int
    source: Purpose
    tier: str
    score: float
    other_score: float | None = None
    propensity: float = 1.0
    detail: str = ""
    other_tier: str = ""
    judge: str = ""
    judge_version: str = ""


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """A served answer beside its shadow's, without their text.

    Attributes:
        decision_id: the decision whose answer was shadowed.
        attempt_id: of the shadow.
        at_ms: milliseconds since 1970, UTC.
        tier: of the answer that was served.
        other_tier: of the shadow.
        agreement: how far they are the same.
        chars: characters of the answer that was served.
        other_chars: of the shadow's.
        finish_reason: why the answer that was served ended.
        other_finish_reason: why the shadow's did.
        propensity: the probability with which this answer was shadowed, drawn by the decision's id.
    """

    decision_id: str
    attempt_id: str
    at_ms: int
    tier: str
    other_tier: str
    agreement: Agreement
    chars: int
    other_chars: int
    finish_reason: str
    other_finish_reason: str
    propensity: float
