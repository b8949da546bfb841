"""Turnout's decision core: which model tier should answer a request, in tens of microseconds, without a model call."""

from turnout_fastpath.bundle import Bundle, BundleError, load_bundle
from turnout_fastpath.decision import (
    Candidate,
    Decision,
    DecisionReason,
    Explanation,
    FeatureContribution,
    LiveState,
    ReasonKind,
    Status,
    Strategy,
)
from turnout_fastpath.engine import Engine, compile_snapshot
from turnout_fastpath.errors import Reason, RouteError
from turnout_fastpath.policy_compiler import PolicyError
from turnout_fastpath.policy_document import PolicyDocumentError, load_policy
from turnout_fastpath.request import Request
from turnout_fastpath.snapshot import Snapshot
from turnout_fastpath.state import StateBlock, StateError

__all__ = [
    "Bundle",
    "BundleError",
    "Candidate",
    "Decision",
    "DecisionReason",
    "Engine",
    "Explanation",
    "FeatureContribution",
    "LiveState",
    "PolicyDocumentError",
    "PolicyError",
    "Reason",
    "ReasonKind",
    "Request",
    "RouteError",
    "Snapshot",
    "StateBlock",
    "StateError",
    "Status",
    "Strategy",
    "compile_snapshot",
    "load_bundle",
    "load_policy",
]
