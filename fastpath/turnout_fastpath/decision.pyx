"""A decision as Python reads it: names from the snapshot it was made with, numbers from the C struct."""

from enum import IntEnum
from typing import NamedTuple

from libc.math cimport isnan
from libc.stdint cimport uint8_t
from cpython.bytes cimport PyBytes_FromStringAndSize

from turnout_fastpath.core cimport *
from turnout_fastpath.snapshot cimport Snapshot


class Status(IntEnum):
    DECIDED = STATUS_DECIDED
    ABSTAINED = STATUS_ABSTAINED
    DEFAULTED = STATUS_DEFAULTED


class Strategy(IntEnum):
    SINGLE = 1
    CASCADE = 2
    ENSEMBLE = 3


class ReasonKind(IntEnum):
    RULE = REASON_RULE
    BUCKET = REASON_BUCKET
    BAR = REASON_BAR
    BELOW_BAR = REASON_BELOW_BAR
    CONSTRAINT = REASON_CONSTRAINT
    SESSION = REASON_SESSION
    ABSTAIN = REASON_ABSTAIN
    DEFAULT = REASON_DEFAULT
    EXPLORE = REASON_EXPLORE
    CONTROL = REASON_CONTROL
    HEALTH = REASON_HEALTH
    FIT = REASON_FIT
    BUDGET = REASON_BUDGET


class Candidate(NamedTuple):
    tier: str
    p_sufficient: float | None
    gain: float | None
    estimated_cost_usd: float | None
    eligible: bool


class DecisionReason(NamedTuple):
    kind: ReasonKind
    id: str
    score: float


class LiveState(NamedTuple):
    closed_deployments: tuple[str, ...]
    session_tier: str
    budget_spent: bool


class FeatureContribution(NamedTuple):
    name: str
    value: float
    contribution: float


class Explanation(NamedTuple):
    features: list[FeatureContribution]
    task_probabilities: dict[str, float]
    buckets: dict[str, float]
    state: LiveState


CONSTRAINT_NAMES = ("min_tier", "max_tier", "deployment", "region", "context_window", "modality", "tools", "cost",
                    "quality_bar")
ABSTAIN_NAMES = ("unfamiliar", "unknown_pieces", "distance", "empty")
DEFAULT_NAMES = ("rules_only", "no_classifier", "classifier_failed")
# By number, so that a decision makes no enum look-up.
cdef tuple STATUSES = (None, Status.DECIDED, Status.ABSTAINED, Status.DEFAULTED)
cdef tuple STRATEGIES = (None, Strategy.SINGLE, Strategy.CASCADE, Strategy.ENSEMBLE)
cdef tuple KINDS = (None,) + tuple(ReasonKind)


cdef object known(double value):
    return None if isnan(value) else value


cdef str hexadecimal(const uint8_t* data, int n):
    return PyBytes_FromStringAndSize(<const char*> data, n).hex()


cdef class Decision:
    def __init__(self):
        raise TypeError("decisions are made by an engine")

    @property
    def decision_id(self):
        return hexadecimal(self.c.decision_id, 16)

    @property
    def status(self):
        return STATUSES[self.c.status]

    @property
    def policy(self):
        return self.snapshot.policies.policy_names[self.c.policy]

    @property
    def tier(self):
        return self.snapshot.policies.tier_names[self.c.tier]

    @property
    def deployment(self):
        return self.snapshot.policies.deployment_names[self.c.deployment]

    @property
    def fallback_deployments(self):
        cdef int i
        return [self.snapshot.policies.deployment_names[self.c.fallbacks[i]] for i in range(self.c.n_fallbacks)]

    @property
    def strategy(self):
        return STRATEGIES[self.c.strategy]

    @property
    def task(self):
        return None if self.c.task == NONE else self.snapshot.bundle.manifest["tasks"][self.c.task]

    @property
    def task_probability(self):
        return self.c.task_probability

    @property
    def candidates(self):
        cdef int t
        cdef const candidate_t* candidate
        found = []
        for t in range(self.snapshot.policies.c.n_tiers):
            candidate = &self.c.candidates[t]
            found.append(Candidate(self.snapshot.policies.tier_names[t], known(candidate.p_sufficient),
                                   known(candidate.gain), known(candidate.estimated_cost_usd),
                                   candidate.eligible != 0))
        return found

    @property
    def cheapest_p_sufficient(self):
        return known(self.c.candidates[0].p_sufficient)

    @property
    def reasons(self):
        cdef int i
        return [DecisionReason(KINDS[self.c.reasons[i].kind], self.reason_id(i), self.c.reasons[i].score)
                for i in range(self.c.n_reasons)]

    def reason_id(self, int i):
        cdef int kind = self.c.reasons[i].kind
        cdef int index = self.c.reasons[i].index
        if kind == REASON_RULE:
            return self.snapshot.policies.rule_names[index]
        if kind == REASON_BUCKET:
            return self.snapshot.policies.bucket_names[index]
        if kind == REASON_CONSTRAINT:
            return CONSTRAINT_NAMES[index]
        if kind == REASON_ABSTAIN:
            return ABSTAIN_NAMES[index]
        if kind == REASON_DEFAULT:
            return DEFAULT_NAMES[index]
        if kind == REASON_HEALTH:
            return self.snapshot.policies.deployment_names[index]
        return self.snapshot.policies.tier_names[index]

    @property
    def tokens_read(self):
        return self.c.tokens_read

    @property
    def tokens_total(self):
        return self.c.tokens_total

    @property
    def truncated(self):
        return self.c.truncated != 0

    @property
    def propensity(self):
        return self.c.propensity

    @property
    def policy_revision(self):
        return hexadecimal(self.snapshot.c.revisions, 8)

    @property
    def bundle_revision(self):
        return hexadecimal(self.snapshot.c.revisions + 8, 8)

    @property
    def features_revision(self):
        return hexadecimal(self.snapshot.c.revisions + 16, 8)

    @property
    def digest(self):
        return hexadecimal(self.c.digest, 16)

    @property
    def decision_ns(self):
        return self.c.decision_ns

    @property
    def live_state(self):
        cdef int d
        names = self.snapshot.policies.deployment_names
        closed = tuple([names[d] for d in range(len(names)) if (self.c.live.closed[d >> 6] >> (d & 63)) & 1])
        session = self.c.live.session_tier
        tiers = self.snapshot.policies.tier_names
        return LiveState(closed, "" if session == NONE else tiers[min(session, len(tiers) - 1)],
                         self.c.live.budget_spent != 0)

    def __repr__(self):
        return (f"Decision(tier={self.tier!r}, deployment={self.deployment!r}, status={self.status.name}, "
                f"task={self.task!r}, decision_id={self.decision_id!r})")
