"""The wire format of OpenAI's chat completions: addresses, answers and streams.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.chat import (
    ChatResponse,
    Finished,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    UsageUpdate,
)
from turnout_server.providers.dialects import OPENAI, Dialect
from turnout_server.providers.encoding import base_address, http_request
from turnout_server.providers.json_fields import (
    WireError,
    as_arguments,
    as_count,
    as_list,
    as_logprob,
    as_object,
    as_text,
    parse_object,
)
from turnout_server.providers.openai_request import build_body
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.sse import SseEvent
from turnout_server.providers.wire import Encoded, UpstreamTold

# Of Azure's dated API, which its v1 API replaces.
AZURE_API_VERSION = "2024-10-21"
_AZURE_DATED = "/openai/deployments/"
_DONE = b"[DONE]"

_FINISH = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "error": FinishReason.ERROR,
}


class OpenAiWire:
    """OpenAI's wire format in one of its dialects."""

    def __init__(self, dialect: Dialect = OPENAI) -> None:
        self._dialect = dialect

    def encode(self, call: ProviderCall, key: str | None, *, stream: bool) -> Encoded:
        """See `WireFormat.encode`."""
        dialect = self._dialect
        ignored: list[str] = []
        body = build_body(call, dialect, ignored, stream=stream)
        headers: dict[str, str] = {}
        if key is not None:
            bearer = dialect.key_header == "Authorization"
            headers[dialect.key_header] = f"Bearer {key}" if bearer else key
        url = base_address(call.target.endpoint, dialect.endpoint, dialect.base_path)
        if dialect.key_header == "api-key" and _AZURE_DATED in url:
            url += f"/chat/completions?api-version={quote(AZURE_API_VERSION)}"
        else:
            url += "/chat/completions"
        return http_request(url, headers, body, ignored, stream=stream)

    def decode(self, body: bytes, call: ProviderCall) -> ChatResponse:
        """See `WireFormat.decode`."""
        root = parse_object(body, "body")
        _raise_error(root)
        choices = as_list(root.get("choices"), "choices")
        if not choices:
            raise WireError("choices: none")
        choice = as_object(choices[0], "choices[0]")
        message = as_object(choice.get("message"), "message")
        native = as_text(choice.get("finish_reason"), "finish_reason")
        if not native:
            raise WireError("finish_reason: none")
        calls = tuple(
            _tool_call(as_object(entry, "tool_calls"))
            for entry in as_list(message.get("tool_calls"), "tool_calls")
        )
        refusal = as_text(message.get("refusal"), "refusal")
        logprobs = _logprobs(choice.get("logprobs"))
        return ChatResponse(
            text=_content_text(message.get("content")),
            finish_reason=normalise(native, tool_calls=bool(calls), refused=bool(refusal)),
            native_finish_reason=native,
            tool_calls=calls,
            refusal=refusal,
            reasoning=_reasoning(message),
            usage=read_usage(root),
            model_version=_model_version(root),
            request_id=as_text(root.get("id"), "id"),
            logprobs=logprobs,
            mean_logprob=sum(entry.logprob for entry in logprobs) / len(logprobs) if logprobs else None,
        )

    def reader(self, call: ProviderCall) -> OpenAiReader:
        """See `WireFormat.reader`."""
        return OpenAiReader()


class OpenAiReader:
    """Reads a stream of chunks up to `[DONE]`."""

    def __init__(self) -> None:
        self.usage: TokenCounts | None = None
        self.ended = False
        self._native = ""
        self._model_version = ""
        self._request_id = ""
        self._refused = False
        # By the server's index, or id where it gives no index: our index.
        self._calls: dict[object, int] = {}

    @property
    def finish_seen(self) -> bool:
        """True once a finish reason came."""
        return bool(self._native)

    def read(self, event: SseEvent) -> list[StreamEvent]:
        """See `StreamReader.read`."""
        data = event.data.strip()
        if not data:
            return []
        if data == _DONE:
            self.ended = True
            return []
        root = parse_object(data, "data")
        if root.get("error"):
            _raise_error(root)
        if not self._request_id:
            self._request_id = as_text(root.get("id"), "id")
        if not self._model_version:
            self._model_version = _model_version(root)
        found: list[StreamEvent] = []
        for choice in as_list(root.get("choices"), "choices"):
            if (text := _plain_text(choice)) is not None:
                found.append(TextDelta(text))
            else:
                self._read_choice(as_object(choice, "choices[0]"), found)
        if (root.get("usage") or "x_groq" in root) and (usage := read_usage(root)) is not None:
            self.usage = usage
            found.append(UsageUpdate(usage))
        return found

    def finish(self) -> Finished:
        """See `StreamReader.finish`."""
        return Finished(
            finish_reason=normalise(self._native, tool_calls=bool(self._calls), refused=self._refused),
            native_finish_reason=self._native,
            usage=self.usage,
            model_version=self._model_version,
            request_id=self._request_id,
        )

    def _read_choice(self, choice: dict[str, Any], found: list[StreamEvent]) -> None:
        if as_count(choice.get("index")) != 0:
            return
        # OpenRouter tells a fault of the model's provider within the choice.
        _raise_error(choice)
        delta = as_object(choice.get("delta"), "delta")
        if reasoning := _reasoning(delta):
            found.append(ReasoningDelta(reasoning))
        text = _content_text(delta.get("content"))
        logprobs = _logprobs(choice.get("logprobs"))
        if text or logprobs:
            found.append(TextDelta(text, logprobs))
        if refusal := as_text(delta.get("refusal"), "refusal"):
            self._refused = True
            found.append(RefusalDelta(refusal))
        for entry in as_list(delta.get("tool_calls"), "tool_calls"):
            found.append(self._read_tool_call(as_object(entry, "tool_calls")))
        self._native = as_text(choice.get("finish_reason"), "finish_reason") or self._native

    def _read_tool_call(self, entry: dict[str, Any]) -> ToolCallDelta:
        told = _tool_call(entry)
        given = entry.get("index")
        key: object
        if isinstance(given, int):
            key = given
        elif told.id:
            key = told.id
        else:
            key = next(reversed(self._calls), 0)
        index = self._calls.setdefault(key, len(self._calls))
        return ToolCallDelta(index, told.id, told.name, told.arguments_json)


# What a choice may hold beside its index and its delta and still be no more than text, if it is null.
_PLAIN = frozenset({"index", "delta", "finish_reason", "logprobs"})


def _plain_text(choice: object) -> str | None:
    """The text of a choice that holds nothing else, as nearly all of a stream do; None: it has to be looked at."""
    if (
        isinstance(choice, dict)
        and choice.keys() <= _PLAIN
        and choice.get("index") == 0
        and choice.get("finish_reason") is None
        and choice.get("logprobs") is None
        and isinstance(delta := choice.get("delta"), dict)
        and len(delta) == 1
        and isinstance(text := delta.get("content"), str)
        and text
    ):
        return text
    return None


def normalise(native: str, *, tool_calls: bool, refused: bool) -> FinishReason:
    """A finish reason of this family in our vocabulary."""
    if refused and native != "content_filter":
        return FinishReason.REFUSAL
    reason = _FINISH.get(native, FinishReason.OTHER)
    # Ollama, and some others, say "stop" when they call tools.
    if reason is FinishReason.STOP and tool_calls:
        return FinishReason.TOOL_CALLS
    return reason


def read_usage(root: dict[str, Any]) -> TokenCounts | None:
    """Disjoint counts from OpenAI's, in which cached tokens are part of the prompt and reasoning of the completion."""
    told = root.get("usage")
    if not told:
        # Groq's streams before it knew `include_usage`.
        groq = root.get("x_groq")
        told = groq.get("usage") if isinstance(groq, dict) else None
    if not isinstance(told, dict) or not told:
        return None
    prompt, completion = as_count(told.get("prompt_tokens")), as_count(told.get("completion_tokens"))
    of_prompt, of_completion = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    read = written = reasoning = 0
    if isinstance(of_prompt, dict):
        read = min(as_count(of_prompt.get("cached_tokens")), prompt)
        written = min(as_count(of_prompt.get("cache_write_tokens")), prompt - read)
    if isinstance(of_completion, dict):
        reasoning = as_count(of_completion.get("reasoning_tokens"))
    # Some servers count reasoning beside the completion; the total gives it away.
    if reasoning and as_count(told.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning
    reasoning = min(reasoning, completion)
    return TokenCounts(
        input_uncached=prompt - read - written,
        input_cache_read=read,
        input_cache_write_5m=written,
        output_text=completion - reasoning,
        output_reasoning=reasoning,
    )


def _raise_error(root: dict[str, Any]) -> None:
    error = root.get("error")
    if isinstance(error, str) and error:
        raise UpstreamTold({"message": error})
    if isinstance(error, dict) and error:
        raise UpstreamTold(error)


def _content_text(content: object) -> str:
    """Text, or the texts of parts, as some servers send them."""
    if isinstance(content, list):
        parts = (as_object(part, "content") for part in content)
        return "".join(as_text(part.get("text"), "text") for part in parts)
    return as_text(content, "content")


def _reasoning(message: dict[str, Any]) -> str:
    """Reasoning text: `reasoning_content` of vLLM and others, `reasoning` of OpenRouter, Groq and Ollama."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(found := message.get(name), str) and found:
            return found
    return ""


def _tool_call(entry: dict[str, Any]) -> ToolCall:
    function = as_object(entry.get("function"), "function")
    return ToolCall(
        id=as_text(entry.get("id"), "id"),
        name=as_text(function.get("name"), "name"),
        arguments_json=_arguments(function.get("arguments")),
    )


def _arguments(value: object) -> str:
    """As text; some servers give an object. None are none yet: a stream's first delta mostly has none."""
    return "" if value is None else as_arguments(value)


def _logprobs(told: object) -> tuple[TokenLogprob, ...]:
    if told is None:
        return ()
    entries = as_list(as_object(told, "logprobs").get("content"), "logprobs.content")
    return tuple(_logprob(as_object(entry, "logprobs.content")) for entry in entries)


def _logprob(entry: dict[str, Any]) -> TokenLogprob:
    alternatives = [
        as_object(other, "top_logprobs") for other in as_list(entry.get("top_logprobs"), "top_logprobs")
    ]
    return TokenLogprob(
        as_text(entry.get("token"), "token"),
        as_logprob(entry.get("logprob"), "logprob"),
        tuple(
            (as_text(other.get("token"), "token"), as_logprob(other.get("logprob"), "logprob"))
            for other in alternatives
        ),
    )


def _model_version(root: dict[str, Any]) -> str:
    """The model, and OpenAI's fingerprint of the system behind it where it gives one."""
    model = as_text(root.get("model"), "model")
    fingerprint = as_text(root.get("system_fingerprint"), "system_fingerprint")
    return f"{model}@{fingerprint}" if fingerprint else model
