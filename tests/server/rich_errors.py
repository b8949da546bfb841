"""Errors as a client decodes them."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass
class RichError:
    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    retry_s: float | None = None
    pushback_ms: int | None = None


def decode(error: grpc.aio.AioRpcError) -> RichError:
    rich = RichError(error.code(), error.details() or "")
    status = rpc_status.aio.from_call(error) if hasattr(rpc_status.aio, "from_call_sync") else _status(error)
    for detail in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            message = kind()
            if not detail.Unpack(message):
                continue
            if isinstance(message, error_details_pb2.ErrorInfo):
                rich.reason, rich.domain, rich.metadata = message.reason, message.domain, dict(message.metadata)
            elif isinstance(message, error_details_pb2.BadRequest):
                rich.fields = [violation.field for violation in message.field_violations]
            else:
                rich.retry_s = message.retry_delay.ToMilliseconds() / 1000
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-retry-pushback-ms":
            rich.pushback_ms = int(value)
    return rich
