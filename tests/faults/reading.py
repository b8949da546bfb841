"""A plain reader of each wire's answers, to hold the fake and the transcripts to account."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.asking import events_of
from tests.faults.wire import Wire


@dataclass
class Reading:
    """What an answer says.

    Attributes:
        text: of the answer.
        reasoning: that is visible.
        refusal: in the wire's own field.
        calls: of tools: name and arguments as JSON text, in their order.
        finish: the wire's own word for why it ended; empty if it gives none.
        block: the wire's own word for why the prompt is blocked.
        usage: the wire's own counts.
        ended: whether the wire's end mark came.
        error: the wire's own error, told within the answer.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[list[str]] = field(default_factory=list)
    finish: str = ""
    block: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    ended: bool = False
    error: dict[str, Any] = field(default_factory=dict)


def read_unary(wire: Wire, body: bytes) -> Reading:
    """Reads a unary body."""
    payload = json.loads(body)
    if wire is Wire.OPENAI:
        return _read_openai([payload], "message")
    if wire is Wire.GEMINI:
        return _read_gemini([payload])
    reading = Reading(error=payload.get("error") or {}, finish=payload.get("stop_reason") or "", ended=True)
    for block in payload.get("content", ()):
        reading.text += block.get("text", "")
        reading.reasoning += block.get("thinking", "")
        if block["type"] == "tool_use":
            reading.calls.append([block["name"], _as_text(block["input"])])
    reading.usage = payload.get("usage", {})
    return reading


def read_stream(wire: Wire, body: bytes) -> Reading:
    """Reads the server-sent events of a stream, as far as they go."""
    events = [(name, data) for name, data in events_of(body) if name != "vendor.note"]
    if wire is Wire.ANTHROPIC:
        return _read_anthropic([(name, json.loads(data)) for name, data in events])
    if wire is Wire.GEMINI:
        return _read_gemini([json.loads(data) for _, data in events])
    reading = _read_openai([json.loads(data) for _, data in events if data != "[DONE]"], "delta")
    reading.ended = bool(events) and events[-1][1] == "[DONE]"
    return reading


def _read_openai(payloads: Iterable[dict[str, Any]], kind: str) -> Reading:
    reading = Reading()
    for payload in payloads:
        reading.error = payload.get("error") or reading.error
        reading.usage = payload.get("usage") or reading.usage
        for choice in payload.get("choices", ()):
            piece = choice[kind]
            reading.text += piece.get("content") or ""
            reading.reasoning += piece.get("reasoning_content") or piece.get("reasoning") or ""
            reading.refusal += piece.get("refusal") or ""
            reading.finish = choice["finish_reason"] or reading.finish
            for number, call in enumerate(piece.get("tool_calls") or ()):
                index = call.get("index", number)
                while len(reading.calls) <= index:
                    reading.calls.append(["", ""])
                reading.calls[index][0] += call["function"].get("name", "")
                reading.calls[index][1] += call["function"]["arguments"]
    return reading


def _read_anthropic(events: Iterable[tuple[str, dict[str, Any]]]) -> Reading:
    reading = Reading()
    for name, payload in events:
        assert name == payload["type"], "an event's name is its payload's type"
        match name:
            case "message_start":
                reading.usage = payload["message"]["usage"]
            case "content_block_start" if payload["content_block"]["type"] == "tool_use":
                reading.calls.append([payload["content_block"]["name"], ""])
            case "content_block_delta":
                delta = payload["delta"]
                reading.text += delta.get("text", "")
                reading.reasoning += delta.get("thinking", "")
                if "partial_json" in delta:
                    reading.calls[-1][1] += delta["partial_json"]
            case "message_delta":
                reading.finish = payload["delta"]["stop_reason"]
                reading.usage = reading.usage | payload["usage"]
            case "message_stop":
                reading.ended = True
            case "error":
                reading.error = payload["error"]
    return reading


def _read_gemini(payloads: Iterable[dict[str, Any]]) -> Reading:
    reading = Reading()
    for payload in payloads:
        reading.error = payload.get("error") or reading.error
        reading.usage = payload.get("usageMetadata") or reading.usage
        reading.block = payload.get("promptFeedback", {}).get("blockReason", reading.block)
        for candidate in payload.get("candidates", ()):
            reading.finish = candidate.get("finishReason", reading.finish)
            for part in candidate["content"].get("parts", ()):
                if "functionCall" in part:
                    call = part["functionCall"]
                    reading.calls.append([call["name"], _as_text(call["args"])])
                elif part.get("thought"):
                    reading.reasoning += part["text"]
                else:
                    reading.text += part["text"]
    return reading


def _as_text(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
