"""The client of Turnout, which routes each LLM request to the cheapest tier that meets its quality bar."""

from turnout.aio import AsyncClient
from turnout.client import Client
from turnout.completion_requests import (
    CompleteFields,
    OnCut,
    ReasoningEffort,
    StreamMode,
    build_complete_request,
)
from turnout.connection import TlsConfig
from turnout.decision import (
    Candidate,
    Decision,
    DecisionStatus,
    Explanation,
    FeatureContribution,
    LiveState,
    Reason,
    ReasonKind,
    Revisions,
    Strategy,
    Task,
)
from turnout.errors import (
    AccessDeniedError,
    CallCancelledError,
    ClientClosedError,
    DeadlineExceededError,
    ErrorReason,
    InternalError,
    InvalidRequestError,
    NoCandidateError,
    OverloadedError,
    TurnoutError,
    UnavailableError,
)
from turnout.health import HealthStatus
from turnout.requests import AnswerUse, RequestFields, build_request
from turnout.version import __version__

__all__ = [
    "AccessDeniedError",
    "AnswerUse",
    "AsyncClient",
    "CallCancelledError",
    "Candidate",
    "Client",
    "ClientClosedError",
    "CompleteFields",
    "DeadlineExceededError",
    "Decision",
    "DecisionStatus",
    "ErrorReason",
    "Explanation",
    "FeatureContribution",
    "HealthStatus",
    "InternalError",
    "InvalidRequestError",
    "LiveState",
    "NoCandidateError",
    "OnCut",
    "OverloadedError",
    "Reason",
    "ReasonKind",
    "ReasoningEffort",
    "RequestFields",
    "Revisions",
    "Strategy",
    "StreamMode",
    "Task",
    "TlsConfig",
    "TurnoutError",
    "UnavailableError",
    "__version__",
    "build_complete_request",
    "build_request",
]
