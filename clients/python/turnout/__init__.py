"""The client of Turnout, which routes each LLM request to the cheapest tier that meets its quality bar."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# Imported when they are asked for: `turnout.v1`, the messages alone, needs neither clients nor grpc.
_HOMES = {
    "turnout.aio": ("AsyncClient",),
    "turnout.client": ("Client",),
    "turnout.completion_requests": (
        "CompleteFields",
        "OnCut",
        "ReasoningEffort",
        "StreamMode",
        "build_complete_request",
    ),
    "turnout.connection": ("TlsConfig",),
    "turnout.decision": (
        "Candidate",
        "Decision",
        "DecisionStatus",
        "Explanation",
        "FeatureContribution",
        "LiveState",
        "Reason",
        "ReasonKind",
        "Revisions",
        "Strategy",
        "Task",
    ),
    "turnout.errors": (
        "AccessDeniedError",
        "CallCancelledError",
        "ClientClosedError",
        "DeadlineExceededError",
        "ErrorReason",
        "InternalError",
        "InvalidRequestError",
        "NoCandidateError",
        "OverloadedError",
        "TurnoutError",
        "UnavailableError",
    ),
    "turnout.health": ("HealthStatus",),
    "turnout.requests": (
        "AnswerUse",
        "RequestFields",
        "build_request",
    ),
    "turnout.version": ("__version__",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if f"{__name__}.{name}" in _HOMES:
        # As attributes too, though only the package was imported.
        return import_module(f"{__name__}.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
