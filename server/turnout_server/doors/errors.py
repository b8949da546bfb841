"""The one table from what goes wrong to a status, a reason and details."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, cast

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from turnout.v1.error_reason_pb2 import ErrorReason
from turnout.v1.routing_pb2 import RouteError as RouteErrorMessage
from turnout_fastpath import Reason, RouteError

from turnout_server.doors.status_code import StatusCode
from turnout_server.observability.logs import describe_cause, get_logger

if TYPE_CHECKING:
    import grpc

DOMAIN = "turnout.v1"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
# Clients refuse more than 8 KiB of trailers; the message is sent twice, and percent-encoded once.
MAX_MESSAGE_BYTES = 768
MAX_METADATA_BYTES = 1024

STATUS_CODES: dict[ErrorReason.ValueType, StatusCode] = {
    ErrorReason.ERROR_REASON_INVALID_FIELD: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_MALFORMED_REQUEST: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_PROMPT_REQUIRED: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_UNKNOWN_POLICY: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_UNKNOWN_TIER: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_UNKNOWN_DEPLOYMENT: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_UNKNOWN_REGION: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_NO_CANDIDATE: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED: StatusCode.DEADLINE_EXCEEDED,
    ErrorReason.ERROR_REASON_NOT_SERVING: StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_INTERNAL: StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE: StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_STREAM_CUT: StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_CONTENT_POLICY: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_CONTEXT_EXCEEDED: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_UPSTREAM_REJECTED: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_BUDGET_EXHAUSTED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_IDEMPOTENCY_CONFLICT: StatusCode.ALREADY_EXISTS,
}


class MalformedRequestError(Exception):
    """The bytes are not the message; `field` is the path of what is wrong, empty if none can be named."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class OverloadedError(Exception):
    """The service is at its admission limit; `is_late`: more requests wait than it can answer in time."""

    def __init__(self, limit: int, retry_after_s: float, *, is_late: bool = False) -> None:
        super().__init__(limit, retry_after_s)
        self.limit = limit
        self.retry_after_s = retry_after_s
        self.is_late = is_late


class NotServingError(Exception):
    """The service drains, or is not warm yet."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(Exception):
    """The deadline passed before a decision was made."""


@dataclass(frozen=True)
class Failure:
    """Why a request got no decision, as the contract says it.

    Attributes:
        reason: the contract's reason, which fixes the status code.
        message: for people; never the caller's text.
        field: path of the field at fault; empty if none is.
        metadata: of the ErrorInfo, as error_reason.proto lists it.
        retry_after_s: when to come back; None where coming back does not help.
        forbids_retry: tells gRPC's own retries to stay away: the call has been billed for what it did.
        details: further ones, in their order.
    """

    reason: ErrorReason.ValueType
    message: str
    field: str = ""
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    retry_after_s: float | None = None
    forbids_retry: bool = False
    details: tuple[Message, ...] = ()

    @property
    def code(self) -> StatusCode:
        """The status code."""
        return STATUS_CODES[self.reason]

    @property
    def reason_name(self) -> str:
        """The reason without its prefix, as ErrorInfo bears it."""
        return ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")

    def to_item(self) -> RouteErrorMessage:
        """The failure of one item of a batch or stream."""
        return RouteErrorMessage(
            code=int(self.code), reason=self.reason, message=self.message, field=self.field
        )

    def to_trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """The trailing metadata of an RPC that ends so."""
        details: list[Message] = [ErrorInfo(reason=self.reason_name, domain=DOMAIN, metadata=self.metadata)]
        if self.field:
            violation = BadRequest.FieldViolation(
                field=self.field, description=self.message, reason=self.reason_name
            )
            details.append(BadRequest(field_violations=[violation]))
        # A negative pushback: do not retry (gRFC A6).
        pushback: tuple[tuple[str, str | bytes], ...] = ((PUSHBACK_KEY, "-1"),) if self.forbids_retry else ()
        if self.retry_after_s is not None:
            delay_ms = round(self.retry_after_s * 1000)
            delay = Duration()
            delay.FromMilliseconds(delay_ms)
            details.append(RetryInfo(retry_delay=delay))
            pushback = ((PUSHBACK_KEY, str(delay_ms)),)
        status = Status(code=int(self.code), message=self.message)
        for detail in (*details, *self.details):
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        return ((DETAILS_KEY, status.SerializeToString()), *pushback)


def describe_failure(
    error: Exception, new_incident: Callable[[], str] = lambda: secrets.token_hex(8)
) -> Failure:
    """What the caller is told of an error; the cause of an unexpected one goes to the log only.

    Args:
        error: what was raised.
        new_incident: names an unexpected error, for the caller and the log.
    """
    match error:
        case RouteError() if error.reason is not Reason.INTERNAL:
            return _describe_route_error(error)
        case MalformedRequestError(field=path):
            message = f"{path or 'the request'}: not the contract's wire form, or text that is not UTF-8"
            reason = ErrorReason.ERROR_REASON_MALFORMED_REQUEST
            return Failure(reason, message, path, {"field": path})
        case OverloadedError(limit=limit, retry_after_s=delay, is_late=is_late):
            message = f"at the limit of {limit} requests in flight"
            if is_late:
                message = "more requests wait than can be answered in time"
            reason = ErrorReason.ERROR_REASON_OVERLOADED
            return Failure(reason, message, metadata={"limit": str(limit)}, retry_after_s=delay)
        case NotServingError(retry_after_s=delay):
            message = "not serving: starting, or about to stop"
            return Failure(ErrorReason.ERROR_REASON_NOT_SERVING, message, retry_after_s=delay)
        case DeadlineExceededError():
            message = "the deadline passed before a decision was made"
            return Failure(ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, message)
        case _:
            incident = new_incident()
            get_logger().error("request_failed", incident=incident, **describe_cause(error))
            message = f"internal error; incident {incident}"
            return Failure(ErrorReason.ERROR_REASON_INTERNAL, message, metadata={"incident": incident})


async def abort(context: grpc.aio.ServicerContext, failure: Failure) -> NoReturn:  # type: ignore[type-arg]
    """Ends an RPC of grpcio with a failure."""
    # Not needed, and not there, where the decision port serves alone.
    import grpc

    await context.abort(grpc.StatusCode[failure.code.name], failure.message, failure.to_trailers())


def _describe_route_error(error: RouteError) -> Failure:
    # The engine's reasons have the contract's numbers.
    reason = cast("ErrorReason.ValueType", int(error.reason))
    if error.reason is Reason.NO_CANDIDATE:
        return Failure(reason, str(error), metadata={"constraint": error.field})
    metadata = {"field": error.field, "value": error.value, "limit": error.limit}
    if error.known:
        metadata["known"] = _shorten(", ".join(error.known), MAX_METADATA_BYTES)
    return Failure(
        reason,
        _shorten(str(error), MAX_MESSAGE_BYTES),
        error.field,
        {key: value for key, value in metadata.items() if value},
    )


def _shorten(text: str, limit: int) -> str:
    """At most `limit` bytes of the text as grpc-message encodes it: all but printable ASCII triples."""
    size = 0
    for i, char in enumerate(text):
        size += 1 if " " <= char <= "~" and char != "%" else 3 * len(char.encode("utf-8", "replace"))
        if size > limit:
            return text[:i] + "..."
    return text
