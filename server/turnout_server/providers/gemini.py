"""The wire format of Gemini's generateContent and streamGenerateContent: addresses, answers and streams.

https://ai.google.dev/api/generate-content
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
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    UsageUpdate,
)
from turnout_server.providers.collecting import ResponseCollector
from turnout_server.providers.encoding import base_address, http_request
from turnout_server.providers.gemini_request import build_body
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
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.sse import SseEvent
from turnout_server.providers.wire import Encoded, UpstreamTold

PUBLIC_ENDPOINT = "https://generativelanguage.googleapis.com/v1beta"

_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
_FINISH = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
    "MALFORMED_FUNCTION_CALL": FinishReason.ERROR,
    "MALFORMED_RESPONSE": FinishReason.ERROR,
    "UNEXPECTED_TOOL_CALL": FinishReason.ERROR,
    "TOO_MANY_TOOL_CALLS": FinishReason.ERROR,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.ERROR,
}


class GeminiWire:
    """Gemini's wire format."""

    def encode(self, call: ProviderCall, key: str | None, *, stream: bool) -> Encoded:
        """See `WireFormat.encode`."""
        ignored: list[str] = []
        body = build_body(call, ignored)
        url = base_address(call.target.endpoint, PUBLIC_ENDPOINT, "/v1beta")
        model = call.target.model
        path = model if "/" in model else f"models/{model}"
        # Without alt=sse the stream is a JSON array.
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        headers = {} if key is None else {"x-goog-api-key": key}
        return http_request(f"{url}/{quote(path)}:{method}", headers, body, ignored, stream=stream)

    def decode(self, body: bytes, call: ProviderCall) -> ChatResponse:
        """See `WireFormat.decode`. A whole answer is a stream of one chunk."""
        reader = GeminiReader()
        collector = ResponseCollector()
        for event in reader.read_chunk(parse_object(body, "body")):
            collector.add(event)
        if not reader.finish_seen:
            raise WireError("finishReason: none")
        collector.add(reader.finish())
        return collector.response()

    def reader(self, call: ProviderCall) -> GeminiReader:
        """See `WireFormat.reader`."""
        return GeminiReader()


class GeminiReader:
    """Reads a stream of responses up to the end of the body, its only end mark."""

    def __init__(self) -> None:
        self.usage: TokenCounts | None = None
        self.ended = False
        self._native = ""
        self._blocked = False
        self._model_version = ""
        self._request_id = ""
        self._tool_calls = 0
        self._mean_logprob: float | None = None

    @property
    def finish_seen(self) -> bool:
        """True once a finish reason, or the reason of a block, came."""
        return bool(self._native)

    def read(self, event: SseEvent) -> list[StreamEvent]:
        """See `StreamReader.read`."""
        return self.read_chunk(parse_object(event.data, "data")) if event.data.strip() else []

    def read_chunk(self, root: dict[str, Any]) -> list[StreamEvent]:
        """What one response holds.

        Raises:
            WireError: it is not what the wire format says.
            UpstreamTold: it is an error.
        """
        if error := root.get("error"):
            raise UpstreamTold(as_object(error, "error"))
        self._model_version = as_text(root.get("modelVersion"), "modelVersion") or self._model_version
        self._request_id = as_text(root.get("responseId"), "responseId") or self._request_id
        feedback = as_object(root.get("promptFeedback"), "promptFeedback")
        if blocked := as_text(feedback.get("blockReason"), "blockReason"):
            self._native, self._blocked = blocked, True
        found: list[StreamEvent] = []
        if candidates := as_list(root.get("candidates"), "candidates"):
            self._read_candidate(as_object(candidates[0], "candidates[0]"), found)
        if (usage := read_usage(root.get("usageMetadata"))) is not None:
            self.usage = usage
            found.append(UsageUpdate(usage))
        return found

    def finish(self) -> Finished:
        """See `StreamReader.finish`."""
        if self._blocked:
            reason = FinishReason.CONTENT_FILTER
        else:
            reason = _FINISH.get(self._native, FinishReason.OTHER)
        if reason is FinishReason.STOP and self._tool_calls:
            reason = FinishReason.TOOL_CALLS
        return Finished(
            finish_reason=reason,
            native_finish_reason=self._native,
            usage=self.usage,
            model_version=self._model_version,
            request_id=self._request_id,
            mean_logprob=self._mean_logprob,
        )

    def _read_candidate(self, candidate: dict[str, Any], found: list[StreamEvent]) -> None:
        content = as_object(candidate.get("content"), "content")
        logprobs = _logprobs(candidate.get("logprobsResult"))
        for entry in as_list(content.get("parts"), "parts"):
            part = as_object(entry, "parts")
            if "functionCall" in part:
                found.append(self._read_call(part))
            elif text := as_text(part.get("text"), "text"):
                if part.get("thought") is True:
                    found.append(ReasoningDelta(text))
                else:
                    found.append(TextDelta(text, logprobs))
                    logprobs = ()
        if logprobs:
            found.append(TextDelta("", logprobs))
        if candidate.get("avgLogprobs") is not None:
            self._mean_logprob = as_logprob(candidate["avgLogprobs"], "avgLogprobs")
        native = as_text(candidate.get("finishReason"), "finishReason")
        if native and native != _UNSPECIFIED:
            self._native = native

    def _read_call(self, part: dict[str, Any]) -> ToolCallDelta:
        called = as_object(part["functionCall"], "functionCall")
        index = self._tool_calls
        self._tool_calls += 1
        return ToolCallDelta(
            index,
            # Older models give none; the response's own id makes it unique over the conversation's turns.
            as_text(called.get("id"), "id") or f"{self._request_id or 'call'}-{index}",
            as_text(called.get("name"), "name"),
            as_arguments(called.get("args")),
            as_text(part.get("thoughtSignature"), "thoughtSignature"),
        )


def read_usage(metadata: object) -> TokenCounts | None:
    """Disjoint counts from Gemini's, whose prompt includes cached tokens and whose candidates exclude thoughts."""
    if not isinstance(metadata, dict) or not metadata:
        return None
    prompt = as_count(metadata.get("promptTokenCount"))
    read = min(as_count(metadata.get("cachedContentTokenCount")), prompt)
    return TokenCounts(
        # Results of Google's own tools are input beside the prompt.
        input_uncached=prompt - read + as_count(metadata.get("toolUsePromptTokenCount")),
        input_cache_read=read,
        output_text=as_count(metadata.get("candidatesTokenCount")),
        output_reasoning=as_count(metadata.get("thoughtsTokenCount")),
    )


def _logprobs(told: object) -> tuple[TokenLogprob, ...]:
    result = as_object(told, "logprobsResult")
    tops = as_list(result.get("topCandidates"), "topCandidates")
    found: list[TokenLogprob] = []
    for index, entry in enumerate(as_list(result.get("chosenCandidates"), "chosenCandidates")):
        token, logprob = _candidate(entry)
        top = as_object(tops[index], "topCandidates") if index < len(tops) else {}
        others = as_list(top.get("candidates"), "candidates")
        found.append(TokenLogprob(token, logprob, tuple(_candidate(other) for other in others)))
    return tuple(found)


def _candidate(entry: object) -> tuple[str, float]:
    candidate = as_object(entry, "logprobsResult")
    return as_text(candidate.get("token"), "token"), as_logprob(
        candidate.get("logProbability"), "logProbability"
    )
