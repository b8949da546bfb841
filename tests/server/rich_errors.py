"""Errors as a client decodes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from grpc_status import rpc_status


@dataclass
class RichError:
    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    fields: list[str] = dataclasses.field(default_factory=list)
    retry_s: float | None = None
    pushback_ms: int | None = None


async def failure_of(call: Awaitable[Any]) -> RichError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return decode(caught.value)


def decode(error: grpc.aio.AioRpcError) -> RichError:
    rich = RichError(error.code(), error.details() or "")
    # Checks that code and message are those of the details, too.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status is not None else ():
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if detail.Unpack(info):
            rich.reason, rich.domain, rich.metadata = info.reason, info.domain, dict(info.metadata)
        elif detail.Unpack(bad):
            rich.fields = [violation.field for violation in bad.field_violations]
        elif detail.Unpack(retry):
            rich.retry_s = retry.retry_delay.ToMilliseconds() / 1000
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-retry-pushback-ms":
            rich.pushback_ms = int(value)
    return rich
