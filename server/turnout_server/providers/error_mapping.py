"""From a provider's error, in HTTP or within a stream, to the kind of fault that it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from turnout_server.providers.faults import FaultKind

MAX_CODE_CHARS = 64
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# A message is only searched for wording, and only this much of it; it goes nowhere.
_MESSAGE_CHARS = 4096

# Codes and types of errors, as OpenAI, Anthropic, Google, Azure, Groq and OpenRouter name them, in lower case.
_BY_CODE: dict[str, FaultKind] = {
    "insufficient_quota": FaultKind.QUOTA_EXHAUSTED,
    "billing_hard_limit_reached": FaultKind.QUOTA_EXHAUSTED,
    "billing_not_active": FaultKind.QUOTA_EXHAUSTED,
    "billing_error": FaultKind.QUOTA_EXHAUSTED,
    "credit_balance_exhausted": FaultKind.QUOTA_EXHAUSTED,
    "enforced_spend_limit_reached": FaultKind.QUOTA_EXHAUSTED,
    "contract_spend_limit_reached": FaultKind.QUOTA_EXHAUSTED,
    "linked_organization_spend_limit_reached": FaultKind.QUOTA_EXHAUSTED,
    "linked_organization_billing_unavailable": FaultKind.QUOTA_EXHAUSTED,
    "context_length_exceeded": FaultKind.CONTEXT_EXCEEDED,
    "request_too_large": FaultKind.CONTEXT_EXCEEDED,
    "content_policy_violation": FaultKind.CONTENT_POLICY,
    "content_filter": FaultKind.CONTENT_POLICY,
    "responsibleaipolicyviolation": FaultKind.CONTENT_POLICY,
    "moderation_blocked": FaultKind.CONTENT_POLICY,
    "overloaded_error": FaultKind.OVERLOADED,
    "overloaded": FaultKind.OVERLOADED,
    "engine_overloaded": FaultKind.OVERLOADED,
    "capacity_exceeded": FaultKind.OVERLOADED,
    "rate_limit_error": FaultKind.RATE_LIMITED,
    "rate_limit_exceeded": FaultKind.RATE_LIMITED,
    "ramp_limit_exceeded": FaultKind.RATE_LIMITED,
    "resource_exhausted": FaultKind.RATE_LIMITED,
    "authentication_error": FaultKind.CONFIGURATION,
    "permission_error": FaultKind.CONFIGURATION,
    "not_found_error": FaultKind.CONFIGURATION,
    "invalid_api_key": FaultKind.CONFIGURATION,
    "api_key_invalid": FaultKind.CONFIGURATION,
    "model_not_found": FaultKind.CONFIGURATION,
    "unauthenticated": FaultKind.CONFIGURATION,
    "permission_denied": FaultKind.CONFIGURATION,
    "not_found": FaultKind.CONFIGURATION,
    "failed_precondition": FaultKind.CONFIGURATION,
    "organization_on_hold": FaultKind.CONFIGURATION,
    "account_deactivated": FaultKind.CONFIGURATION,
    "api_error": FaultKind.SERVER_ERROR,
    "server_error": FaultKind.SERVER_ERROR,
    "internal_server_error": FaultKind.SERVER_ERROR,
    "internal": FaultKind.SERVER_ERROR,
    "unavailable": FaultKind.SERVER_ERROR,
    "timeout_error": FaultKind.SERVER_ERROR,
    "deadline_exceeded": FaultKind.SERVER_ERROR,
}
# What is said of an error whose code says nothing, by wording: the last resort, since providers may change it.
_CONTEXT = re.compile(
    r"maximum context length|context[ _]length|context window|prompt is too long|too many (?:input )?tokens"
    r"|input is too long|exceeds? the maximum number of tokens|input token count|reduce the length of the messages"
    r"|exceeds? the (?:available )?context|longer than the model",
)
_POLICY = re.compile(
    r"content (?:management )?policy|usage polic|safety (?:system|filter|policy|reasons)|content filter"
    r"|flagged by (?:our )?(?:moderation|content)|requires moderation",
)
_QUOTA = re.compile(r"credit balance is too low|insufficient (?:credits|balance|funds)|spend(?:ing)? limit")
_KEY = re.compile(r"api key (?:not valid|not found|expired)|invalid api key|incorrect api key")
_OVERLOAD = re.compile(r"overloaded|over capacity|at capacity|no (?:available|healthy) (?:workers|upstream)")

# Google, OpenRouter and LiteLLM give the HTTP status as the error's code.
_NUMERIC = range(100, 600)
_WORDED = (400, 403, 413, 422)


@dataclass(frozen=True, slots=True)
class NativeError:
    """A provider's error, read for its codes.

    Attributes:
        kind: what it is.
        code: the most telling of the provider's codes, bounded and scrubbed; may be empty.
        details: `error.details` of a Google error.
    """

    kind: FaultKind
    code: str = ""
    details: object = None


def classify_body(status: int, body: bytes) -> NativeError:
    """What an HTTP error of this status and body is. Any body will do."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    # Gemini's non-SSE endpoint, and some proxies, put the error into a list.
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error", found) if isinstance(found, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    return classify(status, error if isinstance(error, dict) else {})


def classify(status: int, error: dict[str, Any]) -> NativeError:
    """What an error object is.

    Args:
        status: the HTTP status; 200 for an error within a stream or in a body that was sent as a success.
        error: the object under `error`.
    """
    codes = _codes_of(error)
    code = codes[0] if codes else ""
    details = error.get("details")
    message = str(error.get("message") or "")[:_MESSAGE_CHARS].lower()
    if status == 200:
        status = _told_status(error.get("code"))
    return NativeError(_kind_of(status, codes, message, error), code, details)


def _kind_of(status: int, codes: list[str], message: str, error: dict[str, Any]) -> FaultKind:
    by_code = next((kind for code in codes if (kind := _BY_CODE.get(code.lower()))), None)
    if by_code is FaultKind.RATE_LIMITED and _is_daily_quota(error.get("details")):
        return FaultKind.QUOTA_EXHAUSTED
    # A moderation verdict of OpenRouter: a 403 that is no matter of keys.
    if status == 403 and _was_moderated(error):
        return FaultKind.CONTENT_POLICY
    worded = _by_wording(message) if status in _WORDED or status == 200 else None
    if by_code is not None:
        # "unavailable" and "api_error" may be an overload, or stand beside a status that says more.
        if by_code is not FaultKind.SERVER_ERROR:
            return by_code
        return _by_status(max(status, 500) if status not in _BY_STATUS else status, message)
    if worded is not None:
        return worded
    return _by_status(status, message)


def _by_wording(message: str) -> FaultKind | None:
    for pattern, kind in (
        (_QUOTA, FaultKind.QUOTA_EXHAUSTED),
        (_KEY, FaultKind.CONFIGURATION),
        (_CONTEXT, FaultKind.CONTEXT_EXCEEDED),
        (_POLICY, FaultKind.CONTENT_POLICY),
    ):
        if pattern.search(message):
            return kind
    return None


_BY_STATUS: dict[int, FaultKind] = {
    402: FaultKind.QUOTA_EXHAUSTED,
    # A wait of the server's that ended, and a conflict of its own: as a server error.
    408: FaultKind.SERVER_ERROR,
    409: FaultKind.SERVER_ERROR,
    413: FaultKind.CONTEXT_EXCEEDED,
    429: FaultKind.RATE_LIMITED,
    # Groq's flex tier without capacity, and Anthropic's overload.
    498: FaultKind.OVERLOADED,
    529: FaultKind.OVERLOADED,
    400: FaultKind.BAD_REQUEST,
    422: FaultKind.BAD_REQUEST,
}


def _by_status(status: int, message: str) -> FaultKind:
    if (kind := _BY_STATUS.get(status)) is not None:
        return kind
    if status >= 500 or status == 200:
        return FaultKind.OVERLOADED if _OVERLOAD.search(message) else FaultKind.SERVER_ERROR
    # Redirects are not followed; 401, 403, 404 and their like: the address or the key is wrong.
    return FaultKind.CONFIGURATION


def _told_status(code: object) -> int:
    """The HTTP status that an error within a stream names as its code; 200 where it names none."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and code in _NUMERIC else 200


def _codes_of(error: dict[str, Any]) -> list[str]:
    """The provider's codes, the most telling one first."""
    details = error.get("details")
    inner = error.get("innererror")
    found: list[object] = [
        details.get("error_code") if isinstance(details, dict) else None,
        inner.get("code") if isinstance(inner, dict) else None,
        error.get("code"),
        *_google_reasons(details),
        error.get("status"),
        error.get("type"),
    ]
    return [code for code in found if isinstance(code, str) and _CODE.fullmatch(code)]


def _google_reasons(details: object) -> list[object]:
    listed = details if isinstance(details, list) else []
    return [detail.get("reason") for detail in listed if isinstance(detail, dict)]


def _is_daily_quota(details: object) -> bool:
    """True if a Google QuotaFailure names a quota of a day."""
    for detail in details if isinstance(details, list) else ():
        violations = detail.get("violations") if isinstance(detail, dict) else None
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict) and "PerDay" in str(violation.get("quotaId", "")):
                return True
    return False


def _was_moderated(error: dict[str, Any]) -> bool:
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and ("reasons" in metadata or "flagged_input" in metadata)
