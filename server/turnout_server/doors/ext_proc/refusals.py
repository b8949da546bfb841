"""A failure as an HTTP response in the words of the provider whose form the request has, so that its SDK reads it."""

from __future__ import annotations

import orjson

from turnout_server.doors.errors import Failure
from turnout_server.doors.ext_proc.chat_body import ChatWire
from turnout_server.doors.status_code import StatusCode

_HTTP = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 422,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
_ANTHROPIC_TYPES = {400: "invalid_request_error", 422: "invalid_request_error", 429: "rate_limit_error"}
_OPENAI_TYPES = {400: "invalid_request_error", 422: "invalid_request_error", 429: "rate_limit_exceeded"}


def http_status(failure: Failure) -> int:
    """The response's status."""
    return _HTTP.get(failure.code, 500)


def write_refusal(wire: ChatWire, failure: Failure) -> bytes:
    """The response's body."""
    status = http_status(failure)
    document: dict[str, object]
    if wire is ChatWire.OPENAI:
        kind = _OPENAI_TYPES.get(status, "server_error")
        error = {"message": failure.message, "type": kind, "param": failure.field or None}
        document = {"error": {**error, "code": failure.reason_name.lower()}}
    elif wire is ChatWire.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(status, "overloaded_error" if status == 503 else "api_error")
        document = {"type": "error", "error": {"type": kind, "message": failure.message}}
    else:
        document = {"error": {"code": status, "message": failure.message, "status": failure.code.name}}
    return orjson.dumps(document)
