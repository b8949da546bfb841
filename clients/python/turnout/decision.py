"""Decisions as Python values, with the names of turnout.v1.RouteResponse, which gives units and limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from turnout.open_enum import OpenIntEnum
from turnout.v1 import routing_pb2


class DecisionStatus(OpenIntEnum):
    """How a decision came about; numbers of turnout.v1.DecisionStatus."""

    UNSPECIFIED = 0
    DECIDED = 1
    ABSTAINED = 2
    DEFAULTED = 3


class Strategy(OpenIntEnum):
    """How a decision is carried out; numbers of turnout.v1.Strategy."""

    UNSPECIFIED = 0
    SINGLE = 1
    CASCADE = 2
    ENSEMBLE = 3


class Task(OpenIntEnum):
    """What must be done with the text; numbers of turnout.v1.Task. UNSPECIFIED unless the classifier ran."""

    UNSPECIFIED = 0
    CHAT = 1
    KNOWLEDGE = 2
    MATH = 3
    CODE = 4
    REASONING = 5
    EXTRACTION = 6
    REWRITING = 7
    ANALYSIS = 8


class ReasonKind(OpenIntEnum):
    """What sort of thing acted on a decision; numbers of turnout.v1.ReasonKind."""

    UNSPECIFIED = 0
    RULE = 1
    BUCKET = 2
    BAR = 3
    BELOW_BAR = 4
    CONSTRAINT = 5
    SESSION = 6
    ABSTAIN = 7
    DEFAULT = 8
    EXPLORE = 9
    CONTROL = 10
    HEALTH = 11
    FIT = 12
    BUDGET = 13


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the decision knew of one tier; None where it was not judged or has no price."""

    tier: str
    p_sufficient: float | None = None
    gain: float | None = None
    estimated_cost_usd: float | None = None
    eligible: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that acted on a decision; `score` is in the unit that the kind names, 0 where it has none."""

    kind: ReasonKind
    id: str
    score: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind.name} {self.id} {self.score:.3g}" if self.score else f"{self.kind.name} {self.id}"


@dataclass(frozen=True, slots=True)
class Revisions:
    """What a decision was made with; each 16 hexadecimal digits of a content hash, or empty."""

    policy: str = ""
    bundle: str = ""
    features: str = ""


@dataclass(frozen=True, slots=True)
class FeatureContribution:
    """A feature's value, and what it adds to the cheapest tier's log-odds against its training mean."""

    name: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class LiveState:
    """The live state that a decision read."""

    closed_deployments: tuple[str, ...] = ()
    session_tier: str = ""
    budget_spent: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the classifier said what it said.

    Attributes:
        features: every feature, and the learned groups.
        task_probabilities: 0 to 1, by task.
        buckets: similarity to each exemplar bucket, -1 to 1, by name.
        state: the live state that the decision read.
    """

    features: tuple[FeatureContribution, ...]
    task_probabilities: dict[Task, float]
    buckets: dict[str, float]
    state: LiveState


class _ReadWhenAsked:
    """Fills a field from the response when it is first read; to fill all costs a quarter of a call's CPU.

    A slot that was never set makes Python ask `__getattr__`.
    """

    __slots__ = ("_response",)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            read = _READERS.get(name)
            if read is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            value = read(self._response)
            object.__setattr__(self, name, value)
            return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(_ReadWhenAsked):
    """Which tier and deployment should answer, and why.

    Attributes:
        fell_back: True where the service gave no decision and `route_or` took the caller's default tier; all
            that is known then is `tier` and one reason, of kind DEFAULT, that names the failure.
    """

    tier: str
    deployment: str = ""
    fallback_deployments: tuple[str, ...] = ()
    status: DecisionStatus = DecisionStatus.UNSPECIFIED
    strategy: Strategy = Strategy.SINGLE
    task: Task = Task.UNSPECIFIED
    task_probability: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    reasons: tuple[Reason, ...] = ()
    tokens_read: int = 0
    tokens_total: int = 0
    truncated: bool = False
    propensity: float = 1.0
    revisions: Revisions = Revisions()
    digest: str = ""
    decision_id: str = ""
    decision_ns: int = 0
    explanation: Explanation | None = None
    policy: str = ""
    fell_back: bool = False

    @classmethod
    def from_response(cls, response: routing_pb2.RouteResponse) -> Self:
        """The decision in a response of the service, which is kept and must not be changed any more.

        Fields that this client does not know are passed over.
        """
        decision = object.__new__(cls)
        object.__setattr__(decision, "_response", response)
        return decision


def _read_candidate(candidate: routing_pb2.Candidate) -> Candidate:
    has = candidate.HasField
    return Candidate(
        candidate.tier,
        candidate.p_sufficient if has("p_sufficient") else None,
        candidate.gain if has("gain") else None,
        candidate.estimated_cost_usd if has("estimated_cost_usd") else None,
        candidate.eligible,
    )


def _read_explanation(explanation: routing_pb2.Explanation) -> Explanation:
    state = explanation.state
    return Explanation(
        features=tuple(
            FeatureContribution(feature.name, feature.value, feature.contribution)
            for feature in explanation.features
        ),
        # In the order of Task, which begins at 1: 0 is "not judged".
        task_probabilities={
            Task(number): probability
            for number, probability in enumerate(explanation.task_probabilities, start=1)
        },
        buckets={bucket.bucket: bucket.similarity for bucket in explanation.buckets},
        state=LiveState(tuple(state.closed_deployments), state.session_tier, state.budget_spent),
    )


def _read_revisions(response: routing_pb2.RouteResponse) -> Revisions:
    revisions = response.revisions
    return Revisions(revisions.policy, revisions.bundle, revisions.features)


# How each field of Decision is read; the rest of them as they are.
_READERS: dict[str, Callable[[routing_pb2.RouteResponse], Any]] = {
    field.name: attrgetter(field.name) for field in dataclasses.fields(Decision)
} | {
    "fallback_deployments": lambda response: tuple(response.fallback_deployments),
    "status": lambda response: DecisionStatus(response.status),
    "strategy": lambda response: Strategy(response.strategy),
    "task": lambda response: Task(response.task),
    "candidates": lambda response: tuple([_read_candidate(item) for item in response.candidates]),
    "reasons": lambda response: tuple(
        [Reason(ReasonKind(item.kind), item.id, item.score) for item in response.reasons]
    ),
    "revisions": _read_revisions,
    "explanation": lambda response: (
        _read_explanation(response.explanation) if response.HasField("explanation") else None
    ),
    "fell_back": lambda _: False,
}
