"""The wire format of Anthropic's messages: addresses, answers and streams.

https://platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any

from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.anthropic_request import JsonPlan, JsonWay, build_body, plan_json
from turnout_server.providers.chat import (
    ChatResponse,
    Finished,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UsageUpdate,
)
from turnout_server.providers.encoding import base_address, http_request
from turnout_server.providers.json_fields import (
    WireError,
    as_arguments,
    as_count,
    as_list,
    as_object,
    as_text,
    parse_object,
)
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.sse import SseEvent
from turnout_server.providers.wire import Encoded, UpstreamTold

PUBLIC_ENDPOINT = "https://api.anthropic.com/v1"
API_VERSION = "2023-06-01"

_FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "pause_turn": FinishReason.PAUSED,
    "refusal": FinishReason.REFUSAL,
    "model_context_window_exceeded": FinishReason.CONTEXT_EXCEEDED,
}


class AnthropicWire:
    """Anthropic's wire format."""

    def encode(self, call: ProviderCall, key: str | None, *, stream: bool) -> Encoded:
        """See `WireFormat.encode`."""
        ignored: list[str] = []
        body = build_body(call, ignored, stream=stream)
        url = base_address(call.target.endpoint, PUBLIC_ENDPOINT, "/v1")
        # Anthropic's own clients take the address without the version.
        url += "/messages" if url.endswith("/v1") else "/v1/messages"
        headers = {"anthropic-version": API_VERSION}
        if key is not None:
            headers["x-api-key"] = key
        return http_request(url, headers, body, ignored, stream=stream)

    def decode(self, body: bytes, call: ProviderCall) -> ChatResponse:
        """See `WireFormat.decode`."""
        root = parse_object(body, "body")
        _raise_error(root)
        plan = plan_json(call)
        native = as_text(root.get("stop_reason"), "stop_reason")
        if not native:
            raise WireError("stop_reason: none")
        text: list[str] = []
        reasoning: list[str] = []
        calls: list[ToolCall] = []
        for entry in as_list(root.get("content"), "content"):
            block = as_object(entry, "content")
            match block.get("type"):
                case "text":
                    text.append(as_text(block.get("text"), "text"))
                case "thinking":
                    reasoning.append(as_text(block.get("thinking"), "thinking"))
                case "tool_use":
                    called = _tool_call(block)
                    if _is_answer(plan, called.name):
                        text = [called.arguments_json]
                    else:
                        calls.append(called)
                case _:
                    pass
        return ChatResponse(
            text="".join(text),
            finish_reason=_normalise(native, bool(calls)),
            native_finish_reason=native,
            tool_calls=tuple(calls),
            refusal=_explanation(root),
            reasoning="".join(reasoning),
            usage=read_usage(as_object(root.get("usage"), "usage")),
            model_version=as_text(root.get("model"), "model"),
            request_id=as_text(root.get("id"), "id"),
        )

    def reader(self, call: ProviderCall) -> AnthropicReader:
        """See `WireFormat.reader`."""
        return AnthropicReader(plan_json(call))


class _Block:
    """A content block that is under way."""

    __slots__ = ("arguments_seen", "input", "is_answer", "tool_index")

    def __init__(self, tool_index: int | None = None, is_answer: bool = False, given: str = "") -> None:
        self.tool_index = tool_index
        self.is_answer = is_answer
        self.input = given
        self.arguments_seen = False


class AnthropicReader:
    """Reads a stream of named events up to `message_stop`."""

    def __init__(self, plan: JsonPlan) -> None:
        self.usage: TokenCounts | None = None
        self.ended = False
        self._plan = plan
        self._native = ""
        self._model_version = ""
        self._request_id = ""
        self._told: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._tool_calls = 0

    @property
    def finish_seen(self) -> bool:
        """True once a stop reason came."""
        return bool(self._native)

    def read(self, event: SseEvent) -> list[StreamEvent]:
        """See `StreamReader.read`."""
        if not event.data.strip():
            return []
        root = parse_object(event.data, "data")
        found: list[StreamEvent] = []
        match as_text(root.get("type"), "type") or event.event:
            case "message_start":
                found = self._start(as_object(root.get("message"), "message"))
            case "content_block_start":
                block = as_object(root.get("content_block"), "content_block")
                found = self._start_block(as_count(root.get("index")), block)
            case "content_block_delta":
                found = self._delta(as_count(root.get("index")), as_object(root.get("delta"), "delta"))
            case "content_block_stop":
                found = self._stop_block(as_count(root.get("index")))
            case "message_delta":
                found = self._message_delta(root)
            case "message_stop":
                self.ended = True
            case "error":
                raise UpstreamTold(as_object(root.get("error"), "error"))
            case _:
                # Pings, and kinds that came after this version.
                pass
        return found

    def finish(self) -> Finished:
        """See `StreamReader.finish`."""
        return Finished(
            finish_reason=_normalise(self._native, self._tool_calls > 0),
            native_finish_reason=self._native,
            usage=self.usage,
            model_version=self._model_version,
            request_id=self._request_id,
        )

    def _start(self, message: dict[str, Any]) -> list[StreamEvent]:
        self._request_id = as_text(message.get("id"), "id")
        self._model_version = as_text(message.get("model"), "model")
        return self._update(message.get("usage"))

    def _start_block(self, index: int, block: dict[str, Any]) -> list[StreamEvent]:
        match block.get("type"):
            case "tool_use":
                name = as_text(block.get("name"), "name")
                given = as_arguments(block.get("input"))
                if _is_answer(self._plan, name):
                    self._blocks[index] = _Block(is_answer=True, given=given)
                    return []
                self._blocks[index] = _Block(self._tool_calls, given=given)
                self._tool_calls += 1
                return [ToolCallDelta(self._tool_calls - 1, as_text(block.get("id"), "id"), name)]
            case "thinking" | "redacted_thinking":
                return [ReasoningDelta(as_text(block.get("thinking"), "thinking"))]
            case "text" if text := as_text(block.get("text"), "text"):
                return [TextDelta(text)]
            case _:
                return []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[StreamEvent]:
        match delta.get("type"):
            case "text_delta" if text := as_text(delta.get("text"), "text"):
                return [TextDelta(text)]
            case "thinking_delta":
                return [ReasoningDelta(as_text(delta.get("thinking"), "thinking"))]
            case "input_json_delta":
                return self._arguments(index, as_text(delta.get("partial_json"), "partial_json"))
            case _:
                return []

    def _arguments(self, index: int, text: str) -> list[StreamEvent]:
        block = self._blocks.get(index)
        if block is None:
            raise WireError("content_block_delta: of no block")
        if not text:
            return []
        block.arguments_seen = True
        if block.is_answer:
            return [TextDelta(text)]
        return [ToolCallDelta(block.tool_index or 0, arguments=text)]

    def _stop_block(self, index: int) -> list[StreamEvent]:
        block = self._blocks.get(index)
        if block is None or block.arguments_seen:
            return []
        # No deltas: the arguments are those of the block's start, mostly none.
        return self._arguments(index, block.input)

    def _message_delta(self, root: dict[str, Any]) -> list[StreamEvent]:
        delta = as_object(root.get("delta"), "delta")
        self._native = as_text(delta.get("stop_reason"), "stop_reason") or self._native
        found = self._update(root.get("usage"))
        if explanation := _explanation(delta):
            found.append(RefusalDelta(explanation))
        return found

    def _update(self, told: object) -> list[StreamEvent]:
        """Counts of the end are cumulative and replace those of the start, where they are told again."""
        usage = as_object(told, "usage")
        self._told.update((name, value) for name, value in usage.items() if value is not None)
        counts = read_usage(self._told)
        if counts is None or counts == self.usage:
            return []
        self.usage = counts
        return [UsageUpdate(counts)]


def read_usage(told: dict[str, Any]) -> TokenCounts | None:
    """Disjoint counts from Anthropic's, whose input excludes the cache and whose output includes thinking."""
    if not told:
        return None
    written = as_count(told.get("cache_creation_input_tokens"))
    lifetimes = told.get("cache_creation")
    hour = 0
    if isinstance(lifetimes, dict):
        hour = as_count(lifetimes.get("ephemeral_1h_input_tokens"))
        written = max(written, hour + as_count(lifetimes.get("ephemeral_5m_input_tokens")))
    output = as_count(told.get("output_tokens"))
    details = told.get("output_tokens_details")
    thinking = as_count(details.get("thinking_tokens")) if isinstance(details, dict) else 0
    thinking = min(thinking, output)
    return TokenCounts(
        input_uncached=as_count(told.get("input_tokens")),
        input_cache_read=as_count(told.get("cache_read_input_tokens")),
        input_cache_write_5m=written - hour,
        input_cache_write_1h=hour,
        output_text=output - thinking,
        output_reasoning=thinking,
    )


def _normalise(native: str, tool_calls: bool) -> FinishReason:
    reason = _FINISH.get(native, FinishReason.OTHER)
    # The only tool called was the one that holds the answer.
    if reason is FinishReason.TOOL_CALLS and not tool_calls:
        return FinishReason.STOP
    return reason


def _is_answer(plan: JsonPlan, tool: str) -> bool:
    return plan.way is JsonWay.FORCED_TOOL and tool == plan.tool


def _tool_call(block: dict[str, Any]) -> ToolCall:
    return ToolCall(
        id=as_text(block.get("id"), "id"),
        name=as_text(block.get("name"), "name"),
        arguments_json=as_arguments(block.get("input")),
    )


def _explanation(told: dict[str, Any]) -> str:
    """Why a refusal was one, where the provider says."""
    details = told.get("stop_details")
    return as_text(details.get("explanation"), "explanation") if isinstance(details, dict) else ""


def _raise_error(root: dict[str, Any]) -> None:
    if root.get("type") == "error" or root.get("error"):
        raise UpstreamTold(as_object(root.get("error"), "error"))
