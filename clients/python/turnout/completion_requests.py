"""Completion requests: from a prompt or chat messages and keywords to a turnout.v1.CompleteRequest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, Unpack

from turnout.decision import Strategy
from turnout.messages import Message
from turnout.open_enum import OpenIntEnum
from turnout.requests import RequestFields, build_request
from turnout.texts import require_text
from turnout.v1.chat_pb2 import ToolChoice
from turnout.v1.completion_pb2 import CacheOptions, CompleteRequest, CompleteStreamRequest, GateOptions

# What `complete` and `complete_stream` take: a bare prompt, or a request from `build_complete_request`.
CompleteLike: TypeAlias = str | CompleteRequest


class ReasoningEffort(OpenIntEnum):
    """How much hidden reasoning is asked for; numbers of turnout.v1.ReasoningEffort."""

    UNSPECIFIED = 0
    NONE = 1
    MINIMAL = 2
    LOW = 3
    MEDIUM = 4
    HIGH = 5
    XHIGH = 6
    MAX = 7


class StreamMode(OpenIntEnum):
    """When a stream shows an answer that gates may still reject; numbers of turnout.v1.StreamMode."""

    UNSPECIFIED = 0
    HOLD = 1
    RESTART = 2


class OnCut(OpenIntEnum):
    """What happens when an answer is cut after some of it was given; numbers of turnout.v1.OnCut."""

    UNSPECIFIED = 0
    ERROR = 1
    RESTART = 2


class CompleteFields(RequestFields, total=False):
    """Everything of a request but its text. None is the same as leaving the keyword out.

    The names, units and limits are those of turnout/v1/completion.proto.
    """

    tool_choice: ToolChoice | None
    temperature: float | None
    top_p: float | None
    max_output_tokens: int | None
    stop: Sequence[str] | None
    seed: int | None
    top_logprobs: int | None
    reasoning_effort: ReasoningEffort | int | None
    cache: CacheOptions | None
    metadata: Mapping[str, str] | None
    idempotency_key: str | None
    strategy: Strategy | int | None
    gates: GateOptions | None


_NUMBERS = (
    "temperature",
    "top_p",
    "max_output_tokens",
    "seed",
    "top_logprobs",
    "reasoning_effort",
    "strategy",
)
_MESSAGES = ("tool_choice", "cache", "gates")


def build_complete_request(
    prompt: CompleteLike | None = None,
    *,
    messages: Iterable[Message] | None = None,
    **fields: Unpack[CompleteFields],
) -> CompleteRequest:
    """A request for `complete` and `complete_stream`.

    Args:
        prompt: the user's question, at most 4 MiB of UTF-8. A request that is built already is returned as it is, and
            takes no further fields.
        messages: instead of `prompt`, turns as the chat completions API takes them, oldest first.
        fields: see `CompleteFields`.

    Raises:
        InvalidRequestError: names the field, the value and the limit. Most limits are the service's to check.
        TypeError: an unknown keyword, or a value of the wrong type.
    """
    if isinstance(prompt, CompleteRequest):
        if messages is not None or fields:
            raise TypeError("a CompleteRequest takes neither messages nor further fields")
        return prompt
    own: dict[str, Any] = dict(fields)
    taken = {name: own.pop(name, None) for name in (*_NUMBERS, *_MESSAGES)}
    stop, metadata, key = own.pop("stop", None), own.pop("metadata", None), own.pop("idempotency_key", None)
    route = build_request(prompt, messages=messages, **own)
    needs = route.requirements
    request = CompleteRequest(
        messages=route.messages,
        tools=needs.tools,
        policy=route.policy,
        explain=route.explain,
        decision_id=route.decision_id,
        expected_output_tokens=needs.expected_output_tokens,
        context_tokens=needs.context_tokens,
        answer_use=needs.answer_use,
        idempotency_key=require_text(key or "", "idempotency_key"),
    )
    if route.HasField("prompt"):
        request.prompt = route.prompt
    if route.HasField("caller"):
        request.caller.CopyFrom(route.caller)
    if route.HasField("constraints"):
        request.constraints.CopyFrom(route.constraints)
    if needs.HasField("response_format"):
        request.response_format.CopyFrom(needs.response_format)
    for name in _NUMBERS:
        if (value := taken[name]) is not None:
            setattr(request, name, value)
    for name in _MESSAGES:
        if (value := taken[name]) is not None:
            getattr(request, name).CopyFrom(value)
    if isinstance(stop, str):
        raise TypeError("stop: a sequence of texts is needed, not one str")
    request.stop.extend(require_text(text, "stop") for text in stop or ())
    for name, value in (metadata or {}).items():
        request.metadata[require_text(name, "metadata")] = require_text(value, "metadata")
    return request


def build_complete_stream_request(
    prompt: CompleteLike | None,
    *,
    messages: Iterable[Message] | None,
    mode: StreamMode | int,
    on_cut: OnCut | int,
    **fields: Unpack[CompleteFields],
) -> CompleteStreamRequest:
    """What `complete_stream` of both clients sends; raises as `build_complete_request`.

    Args:
        prompt: as for `build_complete_request`.
        messages: as for `build_complete_request`.
        mode: when an answer is shown that gates may still reject.
        on_cut: what happens when an answer is cut after some of it was given.
        fields: see `CompleteFields`.
    """
    return CompleteStreamRequest(
        request=build_complete_request(prompt, messages=messages, **fields),
        mode=int(mode),  # type: ignore[arg-type]
        on_cut=int(on_cut),  # type: ignore[arg-type]
    )
