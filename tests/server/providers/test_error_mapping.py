"""Providers' errors, in their own form, become the kind that retries and breakers tell apart."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.providers.error_mapping import classify, classify_body
from turnout_server.providers.faults import FaultKind

K = FaultKind


def openai(message: str = "", code: object = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str = "", **details: str) -> dict[str, Any]:
    error: dict[str, Any] = {"type": kind, "message": message}
    return {"type": "error", "error": error | ({"details": details} if details else {})}


def google(code: int, status: str, message: str = "", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


PER_DAY = {
    "@type": "t/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}],
}
PER_MINUTE = {"@type": "t/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinute"}]}
BAD_KEY = {"@type": "t/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (429, openai("Slow down.", "rate_limit_exceeded", "requests"), K.RATE_LIMITED, "rate_limit_exceeded"),
        (429, openai("", "insufficient_quota", "insufficient_quota"), K.QUOTA_EXHAUSTED, "insufficient_quota"),
        (400, openai("", "context_length_exceeded"), K.CONTEXT_EXCEEDED, "context_length_exceeded"),
        (
            400,
            openai("This model's maximum context length is 8192 tokens.", None, "BadRequestError"),
            K.CONTEXT_EXCEEDED,
            "BadRequestError",
        ),
        (400, openai("", "content_policy_violation"), K.CONTENT_POLICY, "content_policy_violation"),
        (
            400,
            {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            K.CONTENT_POLICY,
            "ResponsibleAIPolicyViolation",
        ),
        (400, openai("Unsupported value."), K.BAD_REQUEST, "invalid_request_error"),
        (422, {"detail": [{"loc": ["body"]}]}, K.BAD_REQUEST, ""),
        (401, openai("Incorrect API key provided", "invalid_api_key"), K.CONFIGURATION, "invalid_api_key"),
        (404, openai("", "model_not_found"), K.CONFIGURATION, "model_not_found"),
        (500, openai("", None, "server_error"), K.SERVER_ERROR, "server_error"),
        (503, openai("The engine is currently overloaded", None, "server_error"), K.OVERLOADED, "server_error"),
        (529, anthropic("overloaded_error", "Overloaded"), K.OVERLOADED, "overloaded_error"),
        (429, anthropic("rate_limit_error"), K.RATE_LIMITED, "rate_limit_error"),
        (
            400,
            anthropic("invalid_request_error", "", error_code="enforced_spend_limit_reached"),
            K.QUOTA_EXHAUSTED,
            "enforced_spend_limit_reached",
        ),
        (
            400,
            anthropic("invalid_request_error", "Your credit balance is too low to access the API."),
            K.QUOTA_EXHAUSTED,
            "invalid_request_error",
        ),
        (400, anthropic("invalid_request_error", "prompt is too long: 9 > 8"), K.CONTEXT_EXCEEDED, None),
        (413, anthropic("request_too_large"), K.CONTEXT_EXCEEDED, "request_too_large"),
        (402, anthropic("billing_error"), K.QUOTA_EXHAUSTED, "billing_error"),
        (403, anthropic("permission_error"), K.CONFIGURATION, "permission_error"),
        (500, anthropic("api_error"), K.SERVER_ERROR, "api_error"),
        (504, anthropic("timeout_error"), K.SERVER_ERROR, "timeout_error"),
        (429, google(429, "RESOURCE_EXHAUSTED", "", PER_MINUTE), K.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
        (429, google(429, "RESOURCE_EXHAUSTED", "", PER_DAY), K.QUOTA_EXHAUSTED, "RESOURCE_EXHAUSTED"),
        (
            400,
            google(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens."),
            K.CONTEXT_EXCEEDED,
            "INVALID_ARGUMENT",
        ),
        (400, google(400, "INVALID_ARGUMENT", "API key not valid.", BAD_KEY), K.CONFIGURATION, "API_KEY_INVALID"),
        (400, google(400, "FAILED_PRECONDITION"), K.CONFIGURATION, "FAILED_PRECONDITION"),
        (503, google(503, "UNAVAILABLE", "The model is overloaded."), K.OVERLOADED, "UNAVAILABLE"),
        (500, google(500, "INTERNAL"), K.SERVER_ERROR, "INTERNAL"),
        (500, [google(500, "INTERNAL")], K.SERVER_ERROR, "INTERNAL"),
        (403, {"error": {"code": 403, "message": "", "metadata": {"reasons": ["x"]}}}, K.CONTENT_POLICY, ""),
        (429, {"error": {"message": "", "type": "throttling_error", "code": "429"}}, K.RATE_LIMITED, "throttling_error"),
        (429, {"error": {"type": "api_error"}}, K.RATE_LIMITED, "api_error"),
        (498, {"error": "flex tier is full"}, K.OVERLOADED, ""),
        (307, {}, K.CONFIGURATION, ""),
        (502, None, K.SERVER_ERROR, ""),
    ],
)  # fmt: skip
def test_http_error(status: int, body: Any, kind: FaultKind, code: str | None) -> None:
    found = classify_body(status, orjson.dumps(body))
    assert found.kind is kind
    if code is not None:
        assert found.code == code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, K.OVERLOADED),
        ({"type": "api_error"}, K.SERVER_ERROR),
        ({"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}, K.OVERLOADED),
        ({"code": 502, "message": "Provider returned error"}, K.SERVER_ERROR),
        ({"code": "429", "message": ""}, K.RATE_LIMITED),
        ({"code": "context_length_exceeded"}, K.CONTEXT_EXCEEDED),
        ({"message": "something"}, K.SERVER_ERROR),
        ({}, K.SERVER_ERROR),
    ],
)
def test_error_within_a_stream(error: dict[str, Any], kind: FaultKind) -> None:
    assert classify(200, error).kind is kind


def test_a_code_is_bounded_and_holds_no_prose() -> None:
    for code in ("my prompt: the secret", "x" * 65, "a\nb", "é", {"a": 1}, ["a"]):
        assert classify(400, {"code": code}).code == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["error", "code", "type", "status", "message", "details", "metadata", "innererror"]
            ),
            inner,
        )
    ),
)


@given(status=st.integers(100, 599), body=JSON.map(orjson.dumps) | st.binary(max_size=64))
def test_any_body_is_some_kind(status: int, body: bytes) -> None:
    assert classify_body(status, body).kind in FaultKind
