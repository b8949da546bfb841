"""Requests: from a prompt or chat messages and keywords to a turnout.v1.RouteRequest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias, TypedDict, Unpack

from grpc import StatusCode

from turnout.errors import ErrorReason, InvalidRequestError, invalid_field
from turnout.messages import Message, write_messages
from turnout.open_enum import OpenIntEnum
from turnout.output_requirements import write_response_format, write_tool
from turnout.texts import require_text
from turnout.v1.chat_pb2 import ResponseFormat, Tool
from turnout.v1.routing_pb2 import RouteRequest

# What a batch or a stream takes: a bare prompt, or a request from `build_request`.
RequestLike: TypeAlias = str | RouteRequest


class AnswerUse(OpenIntEnum):
    """What the answer is for; numbers of turnout.v1.AnswerUse."""

    UNSPECIFIED = 0
    PERSON = 1
    PROGRAM = 2
    PROMPT = 3
    ACTION = 4


class RequestFields(TypedDict, total=False):
    """Everything of a request but its text. None is the same as leaving the keyword out.

    The names, units and limits are those of turnout/v1/routing.proto. Tools and the response format are given
    as to the chat completions API, or as messages of the contract.
    """

    policy: str | None
    explain: bool | None
    decision_id: str | None
    tenant: str | None
    user_tier: str | None
    feature: str | None
    session_id: str | None
    labels: Mapping[str, str] | None
    min_tier: str | None
    max_tier: str | None
    allowed_deployments: Sequence[str] | None
    allowed_regions: Sequence[str] | None
    max_cost_usd: float | None
    quality_bar: float | None
    expected_output_tokens: int | None
    context_tokens: int | None
    answer_use: AnswerUse | int | None
    tools: Sequence[Mapping[str, Any] | Tool] | None
    response_format: Mapping[str, Any] | ResponseFormat | None


def build_request(
    prompt: RequestLike | None = None,
    *,
    messages: Iterable[Message] | None = None,
    **fields: Unpack[RequestFields],
) -> RouteRequest:
    """A request, for `route_batch` and `route_stream`, or to be asked again.

    Args:
        prompt: the user's question, at most 4 MiB of UTF-8. A request that is built already is returned as it
            is, and takes no further fields.
        messages: instead of `prompt`, turns as the chat completions API takes them, oldest first; at most
            16,384 turns and 4 MiB of text.
        fields: see `RequestFields`.

    Raises:
        InvalidRequestError: names the field, the value and the limit. Most limits are the service's to check.
        TypeError: an unknown keyword, or a value of the wrong type.
    """
    if isinstance(prompt, RouteRequest):
        if messages is not None or fields:
            raise TypeError("a RouteRequest takes neither messages nor further fields")
        return prompt
    if (prompt is None) == (messages is None):
        field = "prompt" if messages is None else "messages"
        raise InvalidRequestError(
            f"{field}: exactly one of prompt and messages is needed",
            code=StatusCode.INVALID_ARGUMENT,
            reason=ErrorReason.PROMPT_REQUIRED,
            metadata={"field": field},
        )
    request = RouteRequest()
    if messages is None:
        request.prompt = require_text(prompt, "prompt")
    else:
        write_messages(messages, request.messages)
    for name, value in fields.items():
        write = _WRITERS.get(name)
        if write is None:
            raise TypeError(f"unexpected keyword argument {name!r}; known: {', '.join(_WRITERS)}")
        if value is not None:
            write(request, value)
    return request


_Writer: TypeAlias = Callable[[RouteRequest, Any], None]


def _parent_of(path: str) -> tuple[Callable[[RouteRequest], Any], str]:
    """How to get at the message that holds a field, and the field's name in it."""
    parent, _, name = path.rpartition(".")
    return (attrgetter(parent) if parent else lambda request: request), name


def _text(path: str) -> _Writer:
    parent, name = _parent_of(path)

    def write(request: RouteRequest, value: object) -> None:
        setattr(parent(request), name, require_text(value, path))

    return write


def _number(path: str, limit: str) -> _Writer:
    parent, name = _parent_of(path)

    def write(request: RouteRequest, value: object) -> None:
        try:
            setattr(parent(request), name, value)
        except TypeError:
            raise TypeError(f"{path}: a number is needed ({limit}), not {type(value).__name__}") from None
        except ValueError:
            # It does not fit the wire's type.
            raise invalid_field(path, value, limit) from None

    return write


def _names(path: str) -> _Writer:
    parent, name = _parent_of(path)

    def write(request: RouteRequest, value: Iterable[object]) -> None:
        # A str would be taken for the sequence of its letters.
        if isinstance(value, str):
            raise TypeError(f"{path}: a sequence of names is needed, not one str")
        getattr(parent(request), name).extend([require_text(item, path) for item in value])

    return write


def _write_labels(request: RouteRequest, value: Mapping[object, object]) -> None:
    path = "caller.labels"
    labels = request.caller.labels
    for key, label in value.items():
        labels[require_text(key, path)] = require_text(label, path)


def _write_tools(request: RouteRequest, value: Iterable[Mapping[str, Any] | Tool]) -> None:
    for i, tool in enumerate(value):
        write_tool(tool, f"requirements.tools[{i}]", request.requirements.tools)


def _write_response_format(request: RouteRequest, value: Mapping[str, Any] | ResponseFormat) -> None:
    path = "requirements.response_format"
    write_response_format(value, path, request.requirements.response_format)


_WRITERS: Mapping[str, _Writer] = {
    "policy": _text("policy"),
    "explain": _number("explain", "true or false"),
    "decision_id": _text("decision_id"),
    "tenant": _text("caller.tenant"),
    "user_tier": _text("caller.user_tier"),
    "feature": _text("caller.feature"),
    "session_id": _text("caller.session_id"),
    "labels": _write_labels,
    "min_tier": _text("constraints.min_tier"),
    "max_tier": _text("constraints.max_tier"),
    "allowed_deployments": _names("constraints.allowed_deployments"),
    "allowed_regions": _names("constraints.allowed_regions"),
    "max_cost_usd": _number("constraints.max_cost_usd", "more than 0 US dollars"),
    "quality_bar": _number("constraints.quality_bar", "0 to 1"),
    "expected_output_tokens": _number("requirements.expected_output_tokens", "0 to 1,000,000"),
    "context_tokens": _number("requirements.context_tokens", "0 to 100,000,000"),
    "answer_use": _number("requirements.answer_use", "an AnswerUse"),
    "tools": _write_tools,
    "response_format": _write_response_format,
}
