"""Anthropic's messages.

Source: the API reference of messages, their streaming and their errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.answer import Answer, Finish, Usage
from tests.faults.wire import Call, Event, Part, Problem, Reply, Wire, compact, event, parsed, require

REQUEST_ID = "req_0123456789abcdef"
SIGNATURE = "EqQBCgIYAhIM"

FINISH = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.REFUSAL: "refusal",
    Finish.BLOCKED: "refusal",
    Finish.CONTEXT_WINDOW: "model_context_window_exceeded",
}

# Status, type and message.
PROBLEMS: dict[Problem, tuple[int, str, str]] = {
    Problem.RATE_LIMITED: (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
    ),
    # A spent balance has no type of its own; only its text tells it from a bad request.
    Problem.QUOTA_EXHAUSTED: (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    Problem.SERVER_ERROR: (500, "api_error", "Internal server error"),
    Problem.UNAVAILABLE: (503, "api_error", "Service unavailable"),
    Problem.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Problem.CONTEXT_EXCEEDED: (
        400,
        "invalid_request_error",
        "prompt is too long: 209000 tokens > 200000 maximum",
    ),
    Problem.CONTENT_POLICY: (
        400,
        "invalid_request_error",
        "Output blocked by content filtering policy",
    ),
    Problem.BAD_REQUEST: (400, "invalid_request_error", "The request is not valid."),
    Problem.PREFILL_REJECTED: (
        400,
        "invalid_request_error",
        "This model does not support assistant message prefill. The conversation must end with a user message.",
    ),
    Problem.UNAUTHORIZED: (401, "authentication_error", "invalid x-api-key"),
    Problem.FORBIDDEN: (403, "permission_error", "Your API key has no permission to use this model."),
    Problem.NOT_FOUND: (404, "not_found_error", "model: no such model"),
}


class AnthropicWire:
    """Messages."""

    line_end = "\n"

    def read(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Call:
        """See WireFormat."""
        require(
            headers.get("x-api-key") or headers.get("authorization"), Problem.UNAUTHORIZED, "no x-api-key"
        )
        require(
            headers.get("anthropic-version"), Problem.BAD_REQUEST, "anthropic-version: header is required"
        )
        require(isinstance(body.get("model"), str), Problem.BAD_REQUEST, "model: Field required")
        limit = body.get("max_tokens")
        require(isinstance(limit, int) and limit >= 1, Problem.BAD_REQUEST, "max_tokens: Field required")
        messages = body.get("messages")
        require(isinstance(messages, list) and messages, Problem.BAD_REQUEST, "messages: Field required")
        roles = [message.get("role") for message in body["messages"]]
        require({*roles} <= {"user", "assistant"}, Problem.BAD_REQUEST, "messages: Unexpected role")
        return Call(
            wire=Wire.ANTHROPIC,
            model=str(body["model"]),
            stream=body.get("stream") is True,
            body=body,
            prefilled=roles[-1] == "assistant",
        )

    def answer(self, answer: Answer, call: Call) -> str:
        """See WireFormat."""
        content: list[dict[str, Any]] = []
        if answer.reasoning:
            thinking = "".join(answer.reasoning)
            content.append({"type": "thinking", "thinking": thinking, "signature": SIGNATURE})
        if answer.tokens:
            content.append({"type": "text", "text": answer.text})
        for one in answer.tool_calls:
            block = {"type": "tool_use", "id": one.id, "name": one.name, "input": parsed(one.arguments)}
            content.append(block)
        message = _message(call, content, FINISH[answer.finish], usage_form(answer.usage))
        return compact(message)

    def events(self, answer: Answer, call: Call) -> Iterator[Event]:
        """See WireFormat."""
        first = usage_form(answer.usage) | {"output_tokens": 1}
        yield _event(Part.START, "message_start", message=_message(call, [], None, first))
        index = 0
        if answer.reasoning:
            thinking = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in answer.reasoning]
            deltas.append({"type": "signature_delta", "signature": SIGNATURE})
            yield from _block(index, thinking, deltas, Part.OTHER)
            index += 1
        yield _event(Part.OTHER, "ping")
        if answer.tokens:
            deltas = [{"type": "text_delta", "text": token} for token in answer.tokens]
            yield from _block(index, {"type": "text", "text": ""}, deltas, Part.TOKEN)
            index += 1
        for one in answer.tool_calls:
            block: dict[str, Any] = {"type": "tool_use", "id": one.id, "name": one.name, "input": {}}
            pieces = ("", *one.fragments)
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            yield from _block(index, block, deltas, Part.OTHER)
            index += 1
        yield _event(
            Part.FINISH,
            "message_delta",
            delta={"stop_reason": FINISH[answer.finish], "stop_sequence": None},
            usage={"output_tokens": answer.usage.output_total},
        )
        yield _event(Part.END, "message_stop")

    def problem(self, problem: Problem, message: str = "", *, retry_info_s: float | None = None) -> Reply:
        """See WireFormat."""
        status, _, _ = PROBLEMS[problem]
        return Reply(status, compact(_error(problem, message)), {"request-id": REQUEST_ID})

    def problem_event(self, problem: Problem) -> Event:
        """See WireFormat."""
        return event(Part.OTHER, _error(problem, ""), "error")


def usage_form(usage: Usage) -> dict[str, Any]:
    """Input tokens exclude what a cache served or took; output tokens include reasoning, untold."""
    return {
        "input_tokens": usage.input_uncached,
        "cache_creation_input_tokens": usage.input_cache_write,
        "cache_read_input_tokens": usage.input_cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.input_cache_write_5m,
            "ephemeral_1h_input_tokens": usage.input_cache_write_1h,
        },
        "output_tokens": usage.output_total,
        "service_tier": "standard",
    }


def _message(
    call: Call, content: list[dict[str, Any]], stop_reason: str | None, usage: dict[str, Any]
) -> dict[str, Any]:
    return {
        "model": f"{call.model}-20260101",
        "id": "msg_0123456789",
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _block(index: int, block: Mapping[str, Any], deltas: list[dict[str, str]], part: Part) -> Iterator[Event]:
    yield _event(Part.OTHER, "content_block_start", index=index, content_block=block)
    for delta in deltas:
        yield _event(part, "content_block_delta", index=index, delta=delta)
    yield _event(Part.OTHER, "content_block_stop", index=index)


def _event(part: Part, name: str, **fields: Any) -> Event:
    return event(part, {"type": name} | fields, name)


def _error(problem: Problem, message: str) -> dict[str, Any]:
    _, kind, text = PROBLEMS[problem]
    error = {"type": kind, "message": message or text}
    return {"type": "error", "error": error, "request_id": REQUEST_ID}
