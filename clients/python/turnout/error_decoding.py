"""From what arrives on the wire to errors. Nothing that a peer may send makes this raise."""

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from turnout.errors import ErrorReason, InvalidRequestError, TurnoutError, error_class
from turnout.v1 import error_reason_pb2, routing_pb2

DOMAIN = "turnout.v1"
DETAILS_KEY = "grpc-status-details-bin"

_REASON_PREFIX = "ERROR_REASON_"
_CODES = {cast("tuple[int, str]", code.value)[0]: code for code in StatusCode}
# The words of gRPC, and its only sign, for a message beyond a limit of one of both sides.
_REQUEST_TOO_LARGE = re.compile(
    r"(?:CLIENT: Sent|SERVER: Received) message larger than max \((?P<value>\d+) vs\. (?P<limit>\d+)\)"
)


def decode_rpc_error(error: grpc.RpcError) -> TurnoutError:
    """The error of a failed RPC: by the google.rpc.Status in its trailers, else by code and message alone."""
    # grpcio's own errors, of both kinds of client, have these methods; each may give None.
    code = error.code() or StatusCode.UNKNOWN
    message = error.details() or ""
    trailers = cast("Iterable[tuple[str, str | bytes]] | None", error.trailing_metadata()) or ()
    reason: ErrorReason | None = None
    metadata: dict[str, str] = {}
    retry_after_s: float | None = None
    for detail in _read_details(trailers):
        match detail:
            case ErrorInfo():
                reason = ErrorReason(detail.reason) if detail.reason else ErrorReason.UNSPECIFIED
                metadata.update(detail.metadata)
            case BadRequest():
                for violation in detail.field_violations:
                    metadata.setdefault("field", violation.field)
            case RetryInfo():
                retry_after_s = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9
    if reason is None and code is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return _decode_too_large(message)
    reason = reason or ErrorReason.UNSPECIFIED
    return error_class(code, reason)(
        message, code=code, reason=reason, metadata=metadata, retry_after_s=retry_after_s
    )


def decode_item_error(error: routing_pb2.RouteError) -> TurnoutError:
    """The error of one item of a batch or stream."""
    code = _CODES.get(error.code, StatusCode.UNKNOWN)
    try:
        reason = ErrorReason(error_reason_pb2.ErrorReason.Name(error.reason).removeprefix(_REASON_PREFIX))
    except ValueError:
        # A newer server's reason, of which an item has the number only.
        reason = ErrorReason(f"UNKNOWN_{int(error.reason)}")
    metadata = {"field": error.field} if error.field else {}
    return error_class(code, reason)(error.message, code=code, reason=reason, metadata=metadata)


def _read_details(
    trailers: Iterable[tuple[str, str | bytes]],
) -> Iterator[ErrorInfo | BadRequest | RetryInfo]:
    """The details that this client knows.

    grpc_status.rpc_status.from_call is stricter: it raises where a proxy changed the code or the message.
    """
    for key, value in trailers:
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            details = Status.FromString(value).details
        except DecodeError:
            continue
        for packed in details:
            for kind in (ErrorInfo, BadRequest, RetryInfo):
                if not packed.Is(kind.DESCRIPTOR):
                    continue
                try:
                    detail = kind.FromString(packed.value)
                except DecodeError:
                    continue
                # Another domain's reasons are not ours, whatever their names.
                if not isinstance(detail, ErrorInfo) or detail.domain == DOMAIN:
                    yield detail


def _decode_too_large(message: str) -> TurnoutError:
    found = _REQUEST_TOO_LARGE.search(message)
    if found is None:
        return TurnoutError(message, code=StatusCode.RESOURCE_EXHAUSTED)
    metadata = {"value": f"{found['value']} bytes", "limit": f"{found['limit']} bytes"}
    return InvalidRequestError(message, code=StatusCode.RESOURCE_EXHAUSTED, metadata=metadata)
