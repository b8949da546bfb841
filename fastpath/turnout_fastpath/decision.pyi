from enum import IntEnum
from typing import NamedTuple, final

class Status(IntEnum):
    """How a decision came about; numbers of turnout.v1.DecisionStatus."""

    DECIDED = 1
    ABSTAINED = 2
    DEFAULTED = 3

class Strategy(IntEnum):
    """How a decision is carried out; numbers of turnout.v1.Strategy."""

    SINGLE = 1
    CASCADE = 2
    ENSEMBLE = 3

class ReasonKind(IntEnum):
    """What acted on a decision; numbers of turnout.v1.ReasonKind."""

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

class Candidate(NamedTuple):
    """What the decision knew of one tier."""

    tier: str
    p_sufficient: float | None
    gain: float | None
    estimated_cost_usd: float | None
    eligible: bool

class DecisionReason(NamedTuple):
    """One thing that acted on a decision; `score` is in the unit that the kind names, 0 where it has none."""

    kind: ReasonKind
    id: str
    score: float

class LiveState(NamedTuple):
    """The live state that a decision read."""

    closed_deployments: tuple[str, ...]
    session_tier: str
    budget_spent: bool

class FeatureContribution(NamedTuple):
    """A feature's raw value, and what it adds to the cheapest head's log-odds against its training mean."""

    name: str
    value: float
    contribution: float

class Explanation(NamedTuple):
    """Why the classifier said what it said."""

    features: list[FeatureContribution]
    task_probabilities: dict[str, float]
    buckets: dict[str, float]
    state: LiveState

@final
class Decision:
    """Which tier and deployment should answer, and why. Made by an engine; read-only.

    The names are those of turnout.v1.RouteResponse, which gives units and limits.
    """

    @property
    def decision_id(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def policy(self) -> str: ...
    @property
    def tier(self) -> str: ...
    @property
    def deployment(self) -> str: ...
    @property
    def fallback_deployments(self) -> list[str]: ...
    @property
    def strategy(self) -> Strategy: ...
    @property
    def task(self) -> str | None: ...
    @property
    def task_probability(self) -> float: ...
    @property
    def candidates(self) -> list[Candidate]: ...
    @property
    def cheapest_p_sufficient(self) -> float | None:
        """That of the first candidate, without the others."""
    @property
    def reasons(self) -> list[DecisionReason]: ...
    @property
    def tokens_read(self) -> int: ...
    @property
    def tokens_total(self) -> int: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def propensity(self) -> float: ...
    @property
    def policy_revision(self) -> str: ...
    @property
    def bundle_revision(self) -> str: ...
    @property
    def features_revision(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def decision_ns(self) -> int: ...
    @property
    def live_state(self) -> LiveState: ...
    @property
    def explanation(self) -> Explanation | None: ...
