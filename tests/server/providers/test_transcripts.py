"""Answers as the providers send them, whole and as streams: one meaning, however the bytes are cut.

The files in golden/responses were written by hand from the providers' references; no provider was asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.chat import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    StreamEvent,
    TokenLogprob,
    ToolCall,
)
from turnout_server.providers.collecting import ResponseCollector
from turnout_server.providers.json_fields import WireError
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.registry import WIRES
from turnout_server.providers.wire import UpstreamTold, WireFormat

from tests.server.providers.calls import ask, call_of, read_stream
from tests.server.providers.golden_cases import SCHEMA

RESPONSES = Path(__file__).parent / "golden" / "responses"

F = FinishReason
ZURICH = "Zürich lies in Switzerland 🇨🇭."
OPENAI: dict[str, Any] = {"model_version": "gpt-4.1-mini-2025-04-14@fp_1", "request_id": "chatcmpl-1"}
OPENAI_USAGE = TokenCounts(input_uncached=56, input_cache_read=64, output_text=30, output_reasoning=20)
SMALL_USAGE = TokenCounts(input_uncached=5, output_text=2)
ANTHROPIC: dict[str, Any] = {"model_version": "claude-haiku-4-5-20251001", "request_id": "msg_1"}
ANTHROPIC_USAGE = TokenCounts(30, 1000, 200, 100, 20, 25)
GEMINI: dict[str, Any] = {"model_version": "gemini-2.5-flash-001", "request_id": "resp-1"}
GEMINI_USAGE = TokenCounts(input_uncached=107, input_cache_read=1000, output_text=20, output_reasoning=25)
LOGPROBS = (
    TokenLogprob("Yes", -0.25, (("Yes", -0.25), ("No", -2.5))),
    TokenLogprob(".", -0.75, ((".", -0.75), ("No", -2.5))),
)


def calls(prefix: str, second: str = "") -> tuple[ToolCall, ToolCall]:
    return (
        ToolCall(f"{prefix}_a", "get_weather", '{"city":"Zürich"}'),
        ToolCall(second or f"{prefix}_b", "get_time", "{}"),
    )


EXPECTED: dict[str, ChatResponse] = {
    "openai.text": ChatResponse(ZURICH, F.STOP, "stop", usage=OPENAI_USAGE, **OPENAI),
    "openai.tools": ChatResponse(
        "Let me see.", F.TOOL_CALLS, "tool_calls", calls("call"), usage=OPENAI_USAGE, **OPENAI
    ),
    "openai.refusal": ChatResponse(
        "", F.REFUSAL, "stop", refusal="I can't help with that.", usage=OPENAI_USAGE, **OPENAI
    ),
    "openai.logprobs": ChatResponse(
        "Yes.", F.STOP, "stop", usage=OPENAI_USAGE, logprobs=LOGPROBS, mean_logprob=-0.5, **OPENAI
    ),
    "openai.filtered": ChatResponse("Once", F.CONTENT_FILTER, "content_filter", usage=OPENAI_USAGE, **OPENAI),
    "openai.length": ChatResponse(
        "Once", F.LENGTH, "length", usage=TokenCounts(input_uncached=3, output_text=1), **OPENAI
    ),
    "openrouter.reasoning": ChatResponse(
        "4", F.STOP, "stop", reasoning="Two and two.", usage=OPENAI_USAGE, **OPENAI
    ),
    "vllm.reasoning": ChatResponse(
        "4",
        F.STOP,
        "stop",
        reasoning="Two and two.",
        usage=TokenCounts(input_uncached=9, output_text=8),
        **OPENAI,
    ),
    "groq.text": ChatResponse("Hi there", F.STOP, "stop", usage=SMALL_USAGE, **OPENAI),
    "ollama.tools": ChatResponse(
        "", F.TOOL_CALLS, "stop", (ToolCall("call_1", "get_time", "{}"),), usage=SMALL_USAGE, **OPENAI
    ),
    "anthropic.text": ChatResponse(
        ZURICH, F.STOP, "end_turn", reasoning="Geography.", usage=ANTHROPIC_USAGE, **ANTHROPIC
    ),
    "anthropic.tools": ChatResponse(
        "Let me see.", F.TOOL_CALLS, "tool_use", calls("toolu"), usage=ANTHROPIC_USAGE, **ANTHROPIC
    ),
    "anthropic.refusal": ChatResponse(
        "", F.REFUSAL, "refusal", refusal="This could do harm.", usage=ANTHROPIC_USAGE, **ANTHROPIC
    ),
    "anthropic.window": ChatResponse(
        "Once",
        F.CONTEXT_EXCEEDED,
        "model_context_window_exceeded",
        usage=ANTHROPIC_USAGE,
        **ANTHROPIC,
    ),
    "anthropic.paused": ChatResponse("Once", F.PAUSED, "pause_turn", usage=ANTHROPIC_USAGE, **ANTHROPIC),
    "anthropic.length": ChatResponse("Once", F.LENGTH, "max_tokens", usage=ANTHROPIC_USAGE, **ANTHROPIC),
    "anthropic.answer_tool": ChatResponse(
        '{"city":"Zürich"}', F.STOP, "tool_use", usage=ANTHROPIC_USAGE, **ANTHROPIC
    ),
    "gemini.text": ChatResponse(ZURICH, F.STOP, "STOP", reasoning="Geography.", usage=GEMINI_USAGE, **GEMINI),
    "gemini.tools": ChatResponse(
        "Let me see.",
        F.TOOL_CALLS,
        "STOP",
        (
            ToolCall("fc_a", "get_weather", '{"city":"Zürich"}', "c2ln"),
            ToolCall("resp-1-1", "get_time", "{}"),
        ),
        usage=GEMINI_USAGE,
        **GEMINI,
    ),
    "gemini.blocked": ChatResponse(
        "", F.CONTENT_FILTER, "PROHIBITED_CONTENT", usage=TokenCounts(input_uncached=9), **GEMINI
    ),
    "gemini.safety": ChatResponse("", F.CONTENT_FILTER, "SAFETY", usage=GEMINI_USAGE, **GEMINI),
    "gemini.malformed_call": ChatResponse(
        "", F.ERROR, "MALFORMED_FUNCTION_CALL", usage=GEMINI_USAGE, **GEMINI
    ),
    "gemini.logprobs": ChatResponse(
        "Yes.", F.STOP, "STOP", usage=GEMINI_USAGE, logprobs=LOGPROBS, mean_logprob=-0.5, **GEMINI
    ),
}


def wire_and_call(name: str) -> tuple[WireFormat, ProviderCall]:
    provider = name.partition(".")[0]
    request: ChatRequest = ask()
    model = "any-model"
    if name == "anthropic.answer_tool":
        request, model = SCHEMA, "claude-3-5-haiku-20241022"
    return WIRES[provider], call_of(request, provider=provider, model=model)


def collected(events: list[StreamEvent]) -> ChatResponse:
    collector = ResponseCollector()
    for event in events:
        collector.add(event)
    return collector.response()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_whole_answer(name: str) -> None:
    wire, call = wire_and_call(name)
    assert wire.decode((RESPONSES / f"{name}.json").read_bytes(), call) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_stream_split_at_every_byte(name: str) -> None:
    wire, call = wire_and_call(name)
    stream = (RESPONSES / f"{name}.sse").read_bytes()
    events = read_stream(wire.reader(call), [stream])
    assert collected(events) == EXPECTED[name]
    for cut in range(len(stream) + 1):
        assert read_stream(wire.reader(call), [stream[:cut], stream[cut:]]) == events
    assert read_stream(wire.reader(call), [bytes([byte]) for byte in stream]) == events


@pytest.mark.parametrize("name", EXPECTED)
def test_a_stream_cut_anywhere_has_a_finish_reason_or_none(name: str) -> None:
    """Cut before its finish reason a stream never looks whole, and after it nothing of the answer is missing."""
    wire, call = wire_and_call(name)
    stream = (RESPONSES / f"{name}.sse").read_bytes()
    whole = collected(read_stream(wire.reader(call), [stream]))
    for cut in range(len(stream)):
        reader = wire.reader(call)
        try:
            found = collected(read_stream(reader, [stream[:cut]]))
        except AssertionError:
            assert not reader.finish_seen
        else:
            assert (found.text, found.tool_calls, found.refusal) == (
                whole.text,
                whole.tool_calls,
                whole.refusal,
            )


@pytest.mark.parametrize("name", EXPECTED)
def test_a_whole_answer_cut_anywhere_is_an_error(name: str) -> None:
    wire, call = wire_and_call(name)
    body = (RESPONSES / f"{name}.json").read_bytes().rstrip()
    for cut in range(len(body)):
        with pytest.raises((WireError, UpstreamTold)):
            wire.decode(body[:cut], call)


def test_every_file_is_read() -> None:
    assert {path.stem for path in RESPONSES.iterdir()} == set(EXPECTED)
