"""What can go wrong with an upstream call, in the categories that retries, breakers and errors tell apart."""

from __future__ import annotations

from enum import StrEnum


class FaultKind(StrEnum):
    """Why an attempt failed. The value is the name in metrics, records and error details."""

    RATE_LIMITED = "rate_limited"
    """HTTP 429 that time heals; may come with a time to wait."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The account's quota or spend is used up; no retry within a request helps."""
    OVERLOADED = "overloaded"
    """HTTP 529, or an error that says overloaded."""
    SERVER_ERROR = "server_error"
    """Another 5xx, or a server error told within a stream."""
    CONNECTION = "connection"
    """DNS, TLS, refused, reset before any byte of the response."""
    STALE_CONNECTION = "stale_connection"
    """A reused connection that was closed before any byte of the response."""
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    """No headers, or no first token, within the deployment's limit."""
    STALLED = "stalled"
    """Nothing more within the limit between tokens, after content."""
    CUT = "cut"
    """The connection ended after content and before a finish reason."""
    MALFORMED = "malformed"
    """The response, or an event of its stream, is not what the wire format says."""
    CONTEXT_EXCEEDED = "context_exceeded"
    """The input does not fit the model's window."""
    CONTENT_POLICY = "content_policy"
    """The provider refused the request itself as against its policy."""
    BAD_REQUEST = "bad_request"
    """HTTP 400 or 422 for another reason: the request is at fault."""
    CONFIGURATION = "configuration"
    """HTTP 401, 403 or 404, or a key that cannot be read: the deployment is set up wrongly."""
    CANCELLED = "cancelled"
    """The caller went away, or the attempt lost to another."""
    DEADLINE = "deadline"
    """The request's deadline passed."""
