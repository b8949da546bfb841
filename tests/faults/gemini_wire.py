"""Gemini's generateContent and streamGenerateContent.

Source: the API reference of generateContent, and google.rpc's Status and error details.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faults.answer import Answer, Finish, Usage
from tests.faults.wire import Call, Event, Part, Problem, Reply, Wire, compact, event, parsed, require

PATH = re.compile(r"/models/(?P<model>[^/:]+):(?P<method>generateContent|streamGenerateContent)$")
TYPES = "type.googleapis.com/google.rpc"

FINISH = {
    Finish.STOP: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    # A call of a tool ends as any answer does.
    Finish.TOOL_CALLS: "STOP",
    Finish.REFUSAL: "SAFETY",
    Finish.CONTEXT_WINDOW: "MAX_TOKENS",
}

# HTTP status, canonical status and message.
PROBLEMS: dict[Problem, tuple[int, str, str]] = {
    Problem.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    Problem.QUOTA_EXHAUSTED: (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    Problem.SERVER_ERROR: (500, "INTERNAL", "An internal error has occurred. Please retry."),
    Problem.UNAVAILABLE: (503, "UNAVAILABLE", "The service is currently unavailable."),
    Problem.OVERLOADED: (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    Problem.CONTEXT_EXCEEDED: (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    Problem.BAD_REQUEST: (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    Problem.PREFILL_REJECTED: (
        400,
        "INVALID_ARGUMENT",
        "Please ensure that the last turn is of the user or a function response.",
    ),
    Problem.UNAUTHORIZED: (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    Problem.FORBIDDEN: (403, "PERMISSION_DENIED", "The caller does not have permission."),
    Problem.NOT_FOUND: (404, "NOT_FOUND", "The model is not found for API version v1beta."),
}


class GeminiWire:
    """generateContent."""

    line_end = "\r\n"

    def read(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Call:
        """See WireFormat."""
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        found = PATH.search(parts.path)
        require(found, Problem.NOT_FOUND, "no such method")
        assert found is not None
        key = headers.get("x-goog-api-key") or headers.get("authorization") or query.get("key")
        require(key, Problem.FORBIDDEN, "Method doesn't allow unregistered callers.")
        contents = body.get("contents")
        require(isinstance(contents, list) and contents, Problem.BAD_REQUEST, "contents is not specified")
        roles = [content.get("role", "user") for content in body["contents"]]
        require(
            {*roles} <= {"user", "model"}, Problem.BAD_REQUEST, "contents: a role is neither user nor model"
        )
        return Call(
            wire=Wire.GEMINI,
            model=found["model"],
            stream=found["method"] == "streamGenerateContent",
            body=body,
            sse=query.get("alt") == ["sse"],
            logprobs=(body.get("generationConfig") or {}).get("responseLogprobs") is True,
            prefilled=roles[-1] == "model",
        )

    def answer(self, answer: Answer, call: Call) -> str:
        """See WireFormat."""
        if answer.finish is Finish.BLOCKED:
            return compact(_blocked(answer.usage, call))
        parts: list[dict[str, Any]] = []
        if answer.reasoning:
            parts.append({"text": "".join(answer.reasoning), "thought": True})
        if answer.tokens:
            parts.append({"text": answer.text})
        parts += [_function_call(one.name, one.arguments) for one in answer.tool_calls]
        extra = _logprobs(answer.tokens) if call.logprobs else {}
        return compact(_response(call, parts, usage_form(answer.usage), FINISH[answer.finish], extra))

    def events(self, answer: Answer, call: Call) -> Iterator[Event]:
        """See WireFormat."""
        if answer.finish is Finish.BLOCKED:
            yield event(Part.FINISH, _blocked(answer.usage, call))
            return
        whole = usage_form(answer.usage)
        # Counts grow with the stream; the last ones hold.
        part_of = {**whole, "candidatesTokenCount": 1}
        for piece in answer.reasoning:
            yield event(Part.OTHER, _response(call, [{"text": piece, "thought": True}], part_of))
        for token in answer.tokens:
            extra = _logprobs((token,)) if call.logprobs else {}
            yield event(Part.TOKEN, _response(call, [{"text": token}], part_of, extra=extra))
        for one in answer.tool_calls:
            yield event(Part.OTHER, _response(call, [_function_call(one.name, one.arguments)], part_of))
        parts = [{"text": ""}] if answer.tokens else []
        yield event(Part.FINISH, _response(call, parts, whole, FINISH[answer.finish]))

    def problem(self, problem: Problem, message: str = "", *, retry_info_s: float | None = None) -> Reply:
        """See WireFormat."""
        status, _, _ = PROBLEMS[problem]
        return Reply(status, compact(_error(problem, message, retry_info_s)))

    def problem_event(self, problem: Problem) -> Event:
        """See WireFormat."""
        return event(Part.OTHER, _error(problem, "", None))


def usage_form(usage: Usage) -> dict[str, Any]:
    """Prompt tokens include cached ones; candidate tokens exclude thoughts; zero counts are left out."""
    counts = {
        "promptTokenCount": usage.input_total,
        "candidatesTokenCount": usage.output_text,
        "totalTokenCount": usage.input_total + usage.output_total,
        "cachedContentTokenCount": usage.input_cache_read,
        "thoughtsTokenCount": usage.output_reasoning,
    }
    form: dict[str, Any] = {name: count for name, count in counts.items() if count}
    return form | {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input_total}]}


def _response(
    call: Call,
    parts: list[dict[str, Any]],
    usage: Mapping[str, Any],
    finish: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model"}, "index": 0}
    if parts:
        candidate["content"] = {"parts": parts, "role": "model"}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate | dict(extra or {})]} | _foot(call, usage)


def _foot(call: Call, usage: Mapping[str, Any]) -> dict[str, Any]:
    return {"usageMetadata": usage, "modelVersion": f"{call.model}-001", "responseId": "0123456789abcdef"}


def _blocked(usage: Usage, call: Call) -> dict[str, Any]:
    counts = {"promptTokenCount": usage.input_total, "totalTokenCount": usage.input_total}
    return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}} | _foot(call, counts)


def _function_call(name: str, arguments: str) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": parsed(arguments)}, "thoughtSignature": "EqQBCgIYAhIM"}


def _logprobs(tokens: tuple[str, ...]) -> dict[str, Any]:
    chosen = [{"token": token, "tokenId": 1, "logProbability": math.log(0.5)} for token in tokens]
    return {"avgLogprobs": math.log(0.5), "logprobsResult": {"chosenCandidates": chosen}}


def _error(problem: Problem, message: str, retry_info_s: float | None) -> dict[str, Any]:
    code, status, text = PROBLEMS[problem]
    details: list[dict[str, Any]] = []
    if problem is Problem.QUOTA_EXHAUSTED:
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global"},
            "quotaValue": "50",
        }
        details.append({"@type": f"{TYPES}.QuotaFailure", "violations": [violation]})
    if retry_info_s is not None:
        details.append(
            {"@type": f"{TYPES}.RetryInfo", "retryDelay": f"{retry_info_s:.9f}".rstrip("0").rstrip(".") + "s"}
        )
    error: dict[str, Any] = {"code": code, "message": message or text, "status": status}
    return {"error": error | ({"details": details} if details else {})}
