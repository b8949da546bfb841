"""What the caller of a completion is told of an error."""

from __future__ import annotations

from google.protobuf.message import Message
from turnout.v1.error_reason_pb2 import ErrorReason
from turnout.v1.routing_pb2 import RouteResponse

from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.failures import (
    AnswerCutError,
    BudgetExhaustedError,
    CompletionError,
    DeadlinePassedError,
    RequestAtFaultError,
    UpstreamUnavailableError,
    count_causes,
    show_causes,
)
from turnout_server.completion.idempotency import IdempotencyConflictError
from turnout_server.doors.completion_writing import write_failure
from turnout_server.doors.errors import Failure, describe_failure
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.budgets import BudgetKind

_UNITS = {
    BudgetKind.SPEND_DAY: "nano_usd",
    BudgetKind.SPEND_MONTH: "nano_usd",
    BudgetKind.TOKENS_MINUTE: "tokens",
    BudgetKind.REQUESTS_MINUTE: "requests",
}


def describe_completion_failure(
    error: Exception, log: AttemptLog | None = None, decision: RouteResponse | None = None
) -> Failure:
    """What the caller is told; with attempts, also what was done.

    Args:
        error: what was raised.
        log: the request's attempts; None: it had none.
        decision: that was carried out.
    """
    details: tuple[Message, ...] = ()
    if log is not None and decision is not None and log.attempts:
        cut, text = cut_of(error)
        # What a stream's caller has seen, its status does not repeat.
        text = "" if isinstance(error, AnswerCutError) and error.given else text
        details = (write_failure(log, decision, cut=cut, partial_text=text, in_status=True),)
    match error:
        case UpstreamUnavailableError(retry_after_s=delay, causes=causes):
            told = show_causes(causes)
            return Failure(
                ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
                f"no deployment could answer ({told or 'none may be called'})",
                metadata={"tier": "" if decision is None else decision.tier, "causes": told},
                retry_after_s=delay,
                details=details,
            )
        case AnswerCutError(attempt=attempt):
            return Failure(
                ErrorReason.ERROR_REASON_STREAM_CUT,
                f"the answer was cut ({attempt.fault}) after content had come",
                metadata={
                    "cause": str(attempt.fault),
                    "deployment": attempt.deployment.target.name,
                    "output_tokens": str(attempt.tokens.output_total),
                },
                forbids_retry=True,
                details=details,
            )
        case DeadlinePassedError():
            causes = {} if log is None else count_causes(log.attempts)
            return Failure(
                ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
                "the deadline passed before an answer was whole",
                metadata={"causes": show_causes(causes)} if causes else {},
                details=details,
            )
        case RequestAtFaultError():
            return _describe_fault(error, details)
        case _:
            return _describe_own(error)


def cut_of(error: Exception) -> tuple[Attempt | None, str]:
    """The attempt whose answer was cut, and what had come of its text."""
    if isinstance(error, AnswerCutError):
        return error.attempt, error.partial_text
    return None, ""


def _describe_own(error: Exception) -> Failure:
    """What this service itself has against the request."""
    match error:
        case BudgetExhaustedError(exhausted=exhausted):
            unit = _UNITS[exhausted.kind]
            return Failure(
                ErrorReason.ERROR_REASON_BUDGET_EXHAUSTED,
                f"the {exhausted.kind} budget of {exhausted.limit} {unit} does not hold the request's estimate",
                metadata={
                    "budget": f"{exhausted.scope.kind} {exhausted.kind}",
                    "unit": unit,
                    "limit": str(exhausted.limit),
                    "left": str(exhausted.left),
                    "window_s": str(exhausted.window_s),
                },
                retry_after_s=exhausted.retry_after_s,
            )
        case IdempotencyConflictError():
            return Failure(
                ErrorReason.ERROR_REASON_IDEMPOTENCY_CONFLICT,
                "idempotency_key: another request of the tenant has it, with another content",
                "idempotency_key",
                {"field": "idempotency_key"},
            )
        case CompletionError():
            raise AssertionError(f"{type(error).__name__} has no row") from error
        case _:
            return describe_failure(error)


def _describe_fault(error: RequestAtFaultError, details: tuple[Message, ...]) -> Failure:
    attempt = error.attempt
    name, upstream = attempt.deployment.target.name, attempt.error
    told = {"deployment": name}
    if upstream is not None and upstream.native_code:
        told["native_code"] = upstream.native_code
    if attempt.fault is FaultKind.CONTENT_POLICY:
        return Failure(
            ErrorReason.ERROR_REASON_CONTENT_POLICY,
            "the provider refused the request as against its policy",
            metadata=told,
            details=details,
        )
    if attempt.fault is FaultKind.CONTEXT_EXCEEDED:
        return Failure(
            ErrorReason.ERROR_REASON_CONTEXT_EXCEEDED,
            f"the input fits no context window that the decision allows; the largest has {error.window} tokens",
            metadata={"tokens": str(error.tokens), "limit": str(error.window), "deployment": name},
            details=details,
        )
    field = "" if upstream is None else upstream.field
    if upstream is not None and upstream.http_status:
        told["http_status"] = str(upstream.http_status)
    return Failure(
        ErrorReason.ERROR_REASON_UPSTREAM_REJECTED,
        f"{field or 'the request'}: the provider says that it is not valid",
        field,
        told,
        details=details,
    )
