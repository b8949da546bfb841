"""What a call can fail with. One class for each thing that a caller would do differently."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from grpc import StatusCode

# As much as the service itself shows of a value.
MAX_VALUE_CHARS = 128


class ErrorReason(StrEnum):
    """Why a call failed: what ErrorInfo.reason bears, turnout.v1.ErrorReason without its prefix.

    Any other name makes a member of its own, so that a newer server's reasons are kept. Compare with `==`.
    """

    UNSPECIFIED = "UNSPECIFIED"
    INVALID_FIELD = "INVALID_FIELD"
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    PROMPT_REQUIRED = "PROMPT_REQUIRED"
    UNKNOWN_POLICY = "UNKNOWN_POLICY"
    UNKNOWN_TIER = "UNKNOWN_TIER"
    UNKNOWN_DEPLOYMENT = "UNKNOWN_DEPLOYMENT"
    UNKNOWN_REGION = "UNKNOWN_REGION"
    NO_CANDIDATE = "NO_CANDIDATE"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_SERVING = "NOT_SERVING"
    INTERNAL = "INTERNAL"
    UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
    STREAM_CUT = "STREAM_CUT"
    CONTENT_POLICY = "CONTENT_POLICY"
    CONTEXT_EXCEEDED = "CONTEXT_EXCEEDED"
    UPSTREAM_REJECTED = "UPSTREAM_REJECTED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # Not kept: a peer cannot make the class grow.
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member


class TurnoutError(Exception):
    """A request got no decision. Raised as itself where the status code is none of those below.

    Attributes:
        message: for people; never holds the caller's text.
        code: the gRPC status code.
        reason: the service's reason; UNSPECIFIED where the error came from gRPC or a proxy instead.
        metadata: of the reason, as turnout/v1/error_reason.proto lists it.
        retry_after_s: seconds after which the service asks to come back; None where it does not say.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: StatusCode = StatusCode.UNKNOWN,
        reason: ErrorReason = ErrorReason.UNSPECIFIED,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s

    @property
    def label(self) -> str:
        """A name to count by: the reason, or the status code's name where there is none."""
        return self.code.name if self.reason == ErrorReason.UNSPECIFIED else self.reason.value

    def __str__(self) -> str:
        status = self.code.name if self.label == self.code.name else f"{self.code.name} ({self.label})"
        return f"{status}: {self.message}" if self.message else status


class InvalidRequestError(TurnoutError):
    """The request breaks the contract: asking again does not help, and `route_or` raises it.

    INVALID_ARGUMENT; or RESOURCE_EXHAUSTED, without a reason, where the message is too large to be sent.
    """

    @property
    def field(self) -> str:
        """The field at fault, such as "constraints.min_tier" or "messages[3].role"; empty if none is."""
        return self.metadata.get("field", "")

    @property
    def value(self) -> str:
        """What was given, shortened; empty where it is the caller's text."""
        return self.metadata.get("value", "")

    @property
    def limit(self) -> str:
        """What is allowed; empty where there is no such thing."""
        return self.metadata.get("limit", "")

    @property
    def known(self) -> tuple[str, ...]:
        """The names that exist, where a name was not found; not all of them where there are many."""
        names, cut, _ = self.metadata.get("known", "").partition("...")
        # The service cuts a long list anywhere and ends it in dots: the last name may be half a name.
        found = names.split(", ")
        return tuple(name for name in (found[:-1] if cut else found) if name)


class NoCandidateError(TurnoutError):
    """The constraints leave no deployment that could serve (FAILED_PRECONDITION)."""

    @property
    def constraint(self) -> str:
        """The constraint that removed the last candidate; empty where the service does not say.

        One of tier, deployment, region, context_window, modality, tools and cost.
        """
        return self.metadata.get("constraint", "")


class OverloadedError(TurnoutError):
    """The service, or something before it, is at its limit (RESOURCE_EXHAUSTED). See `retry_after_s`."""


class UnavailableError(TurnoutError):
    """The service cannot be reached, drains or is not warm yet (UNAVAILABLE), after the retries."""


class DeadlineExceededError(TurnoutError):
    """The deadline passed before there was an answer (DEADLINE_EXCEEDED)."""


class CallCancelledError(TurnoutError):
    """The call was cancelled (CANCELLED), by closing the client or by the service."""


class AccessDeniedError(TurnoutError):
    """No credentials, or credentials that do not suffice (UNAUTHENTICATED, PERMISSION_DENIED)."""


class InternalError(TurnoutError):
    """A defect of the service (INTERNAL, UNKNOWN, DATA_LOSS)."""

    @property
    def incident(self) -> str:
        """The name under which the cause is in the service's log; empty where it gives none."""
        return self.metadata.get("incident", "")


class ClientClosedError(RuntimeError):
    """A client was used after `close`. A defect of the caller, so no TurnoutError: `route_or` raises it."""

    def __init__(self) -> None:
        super().__init__("the client is closed")


_CLASSES_BY_CODE: Mapping[StatusCode, type[TurnoutError]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    StatusCode.UNAVAILABLE: UnavailableError,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    StatusCode.CANCELLED: CallCancelledError,
    StatusCode.UNAUTHENTICATED: AccessDeniedError,
    StatusCode.PERMISSION_DENIED: AccessDeniedError,
    StatusCode.INTERNAL: InternalError,
    StatusCode.UNKNOWN: InternalError,
    StatusCode.DATA_LOSS: InternalError,
}


def error_class(code: StatusCode, reason: ErrorReason) -> type[TurnoutError]:
    """An error's class: by its reason where that has one, else by its code, so new reasons break nothing."""
    if reason == ErrorReason.NO_CANDIDATE:
        return NoCandidateError
    return _CLASSES_BY_CODE.get(code, TurnoutError)


def invalid_field(field: str, value: object, limit: str) -> InvalidRequestError:
    """What the client itself finds wrong with a request, before anything is sent.

    Args:
        field: path in the message, as the service names it.
        value: what was given; never the caller's text.
        limit: what is allowed.
    """
    shown = str(value)[:MAX_VALUE_CHARS]
    return InvalidRequestError(
        f"{field}: {shown} breaks the limit: {limit}",
        code=StatusCode.INVALID_ARGUMENT,
        reason=ErrorReason.INVALID_FIELD,
        metadata={"field": field, "value": shown, "limit": limit},
    )
