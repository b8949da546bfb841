"""OpenAI's chat completions, and what servers compatible with them add.

Source: the API reference of chat completions, their streaming and their error codes.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.answer import Answer, Finish, Usage, split_words
from tests.faults.wire import CREATED_S, Call, Event, Part, Problem, Reply, Wire, compact, event, require

# Azure names the model in the path.
DEPLOYMENT_PATH = re.compile(r"/deployments/(?P<model>[^/]+)/chat/completions")
LOGPROB = math.log(0.5)

FINISH = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.TOOL_CALLS: "tool_calls",
    # A refusal ends as any answer does; it is told by its field.
    Finish.REFUSAL: "stop",
    Finish.BLOCKED: "content_filter",
    Finish.CONTEXT_WINDOW: "length",
}

# Status, type, code and message.
PROBLEMS: dict[Problem, tuple[int, str, str | None, str]] = {
    Problem.RATE_LIMITED: (
        429,
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for this model on requests per min (RPM): Limit 3, Used 3, Requested 1.",
    ),
    Problem.QUOTA_EXHAUSTED: (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    Problem.SERVER_ERROR: (
        500,
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    Problem.UNAVAILABLE: (503, "server_error", None, "The service is temporarily unavailable."),
    Problem.OVERLOADED: (
        529,
        "overloaded_error",
        "overloaded",
        "The engine is currently overloaded, please try again later.",
    ),
    Problem.CONTEXT_EXCEEDED: (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
        "Please reduce the length of the messages.",
    ),
    Problem.CONTENT_POLICY: (
        400,
        "invalid_request_error",
        "content_policy_violation",
        "Your request was rejected as a result of our safety system.",
    ),
    Problem.BAD_REQUEST: (400, "invalid_request_error", None, "The request is not valid."),
    Problem.PREFILL_REJECTED: (
        400,
        "invalid_request_error",
        "invalid_last_message",
        "The last message must come from the user or a tool, not from the assistant.",
    ),
    Problem.UNAUTHORIZED: (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    Problem.FORBIDDEN: (403, "permission_error", None, "This project has no access to the model."),
    Problem.NOT_FOUND: (404, "invalid_request_error", "model_not_found", "The model does not exist."),
}


class OpenAIWire:
    """Chat completions."""

    line_end = "\n"

    def read(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Call:
        """See WireFormat."""
        key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
        require(key, Problem.UNAUTHORIZED, "You didn't provide an API key.")
        messages = body.get("messages")
        require(isinstance(messages, list) and messages, Problem.BAD_REQUEST, "messages: a list is required")
        deployment = DEPLOYMENT_PATH.search(path)
        model = deployment["model"] if deployment else body.get("model")
        require(isinstance(model, str), Problem.BAD_REQUEST, "model: a name is required")
        options = body.get("stream_options")
        stream = body.get("stream") is True
        require(stream or not options, Problem.BAD_REQUEST, "stream_options: only with stream")
        return Call(
            wire=Wire.OPENAI,
            model=str(model),
            stream=stream,
            body=body,
            usage_in_stream=bool((options or {}).get("include_usage")),
            logprobs=body.get("logprobs") is True,
            prefilled=body["messages"][-1].get("role") == "assistant",
        )

    def answer(self, answer: Answer, call: Call) -> str:
        """See WireFormat."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text or None,
            "refusal": answer.refusal or None,
            "annotations": [],
        }
        if answer.reasoning:
            message["reasoning_content"] = "".join(answer.reasoning)
        if answer.tool_calls:
            message["tool_calls"] = [
                {
                    "id": one.id,
                    "type": "function",
                    "function": {"name": one.name, "arguments": one.arguments},
                }
                for one in answer.tool_calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": _logprobs(answer.tokens) if call.logprobs else None,
            "finish_reason": FINISH[answer.finish],
        }
        return compact(
            _head("chat.completion", call) | {"choices": [choice], "usage": usage_form(answer.usage)}
        )

    def events(self, answer: Answer, call: Call) -> Iterator[Event]:
        """See WireFormat."""
        yield _chunk(call, Part.START, {"role": "assistant", "content": "", "refusal": None})
        for piece in answer.reasoning:
            yield _chunk(call, Part.OTHER, {"reasoning_content": piece})
        for token in answer.tokens:
            logprobs = _logprobs([token]) if call.logprobs else None
            yield _chunk(call, Part.TOKEN, {"content": token}, logprobs=logprobs)
        for piece in split_words(answer.refusal):
            yield _chunk(call, Part.OTHER, {"refusal": piece})
        for index, one in enumerate(answer.tool_calls):
            function = {"name": one.name, "arguments": ""}
            opening = {"index": index, "id": one.id, "type": "function", "function": function}
            yield _chunk(call, Part.OTHER, {"tool_calls": [opening]})
        # Fragments of several calls come in turn: a reader must go by their index.
        for fragments in itertools.zip_longest(*(one.fragments for one in answer.tool_calls)):
            for index, fragment in enumerate(fragments):
                if fragment is not None:
                    more = {"index": index, "function": {"arguments": fragment}}
                    yield _chunk(call, Part.OTHER, {"tool_calls": [more]})
        yield _chunk(call, Part.FINISH, {}, finish=FINISH[answer.finish])
        if call.usage_in_stream:
            payload = {"choices": [], "usage": usage_form(answer.usage)}
            yield event(Part.USAGE, _head("chat.completion.chunk", call) | payload)
        yield Event(Part.END, "[DONE]")

    def problem(self, problem: Problem, message: str = "", *, retry_info_s: float | None = None) -> Reply:
        """See WireFormat."""
        status, _, _, _ = PROBLEMS[problem]
        return Reply(status, compact(_error(problem, message)), {"x-request-id": "req_0123456789abcdef"})

    def problem_event(self, problem: Problem) -> Event:
        """See WireFormat."""
        return event(Part.OTHER, _error(problem, ""))


def usage_form(usage: Usage) -> dict[str, Any]:
    """Prompt tokens include cached ones, completion tokens include reasoning; a write to the cache is not told."""
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.input_total + usage.output_total,
        "prompt_tokens_details": {"cached_tokens": usage.input_cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.output_reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _head(kind: str, call: Call) -> dict[str, Any]:
    return {
        "id": "chatcmpl-0123456789",
        "object": kind,
        "created": CREATED_S,
        "model": f"{call.model}-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }


def _chunk(
    call: Call,
    part: Part,
    delta: Mapping[str, Any],
    *,
    logprobs: Mapping[str, Any] | None = None,
    finish: str | None = None,
) -> Event:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    payload = _head("chat.completion.chunk", call) | {"choices": [choice]}
    return event(part, payload | ({"usage": None} if call.usage_in_stream else {}))


def _logprobs(tokens: tuple[str, ...] | list[str]) -> dict[str, Any]:
    content = [
        {"token": token, "logprob": LOGPROB, "bytes": list(token.encode()), "top_logprobs": []}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _error(problem: Problem, message: str) -> dict[str, Any]:
    _, kind, code, text = PROBLEMS[problem]
    return {"error": {"message": message or text, "type": kind, "param": None, "code": code}}
