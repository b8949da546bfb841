"""What each transcript holds, read by the plain reader, and that its bytes are those of its wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.reading import Reading, read_stream
from tests.faults.wire import Wire

FOLDER = Path(__file__).parent / "transcripts"
GREETING = "The capital of Switzerland is Bern.\nGrüezi, 世界 👋🏽!"


def openai_usage(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """OpenAI's counts."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


READINGS = {
    "openai-ordinary": Reading(GREETING, finish="stop", usage=openai_usage(14, 13), ended=True),
    "openai-logprobs": Reading("Yes, Bern.", finish="stop", usage=openai_usage(9, 5), ended=True),
    "openai-tool-calls": Reading(
        calls=[["get_weather", '{"city":"Zürich"}'], ["get_time", '{"zone": "Europe\\/Zurich"}']],
        finish="tool_calls",
        usage=openai_usage(92, 43),
        ended=True,
    ),
    "openai-refusal": Reading(
        refusal="I'm sorry, I can't help with that.", finish="stop", usage=openai_usage(31, 10), ended=True
    ),
    "openai-reasoning": Reading(
        "It is 42.", finish="stop", usage=openai_usage(20, 198, reasoning=192), ended=True
    ),
    "openai-cached-usage": Reading(
        "Clause 7 applies.", finish="stop", usage=openai_usage(2310, 5, cached=2176), ended=True
    ),
    "openrouter-reasoning": Reading("Four.", reasoning="Two plus two.", finish="stop", ended=True),
    "groq-ordinary": Reading("Bern it is.", finish="stop", ended=True),
    "vllm-reasoning": Reading("\n\nBern.", reasoning="Capital?\n", finish="stop", ended=True),
    "anthropic-ordinary": Reading(GREETING, finish="end_turn", ended=True),
    "anthropic-tool-calls": Reading(
        "I'll check both.",
        calls=[["get_weather", '{"city": "Zürich"}'], ["list_zones", ""]],
        finish="tool_use",
        ended=True,
    ),
    "anthropic-refusal": Reading("Here is", finish="refusal", ended=True),
    "anthropic-reasoning": Reading(
        "27 * 453 = 12,231", reasoning="Let me see: 27 * 453 = 12231.", finish="end_turn", ended=True
    ),
    "anthropic-cached-usage": Reading("Clause 7 applies.", finish="stop_sequence", ended=True),
    "anthropic-error-after-start": Reading(
        "Hello", error={"details": None, "type": "overloaded_error", "message": "Overloaded"}
    ),
    "gemini-ordinary": Reading(GREETING, finish="STOP"),
    "gemini-tool-calls": Reading(
        "I'll check both.",
        calls=[["get_weather", '{"city": "Zürich"}'], ["list_zones", "{}"]],
        finish="STOP",
    ),
    "gemini-refusal": Reading("Here is", finish="SAFETY"),
    "gemini-block": Reading(block="PROHIBITED_CONTENT"),
    "gemini-reasoning": Reading(
        "27 * 453 = 12,231", reasoning="**Multiplying**\n\nI split 27.", finish="STOP"
    ),
    "gemini-cached-usage": Reading("Clause 7 applies.", finish="STOP"),
}
# Counts of the transcripts whose readings above leave them out, by the wire's own names.
USAGES: dict[str, dict[str, Any]] = {
    "openrouter-reasoning": {"prompt_tokens": 11, "completion_tokens": 9, "cost": 1.21e-05},
    "vllm-reasoning": {"prompt_tokens": 17, "completion_tokens": 8},
    "anthropic-ordinary": {"input_tokens": 16, "cache_read_input_tokens": 0, "output_tokens": 22},
    "anthropic-tool-calls": {"input_tokens": 472, "output_tokens": 89},
    "anthropic-reasoning": {"input_tokens": 43, "output_tokens": 57},
    "anthropic-cached-usage": {
        "input_tokens": 50,
        "cache_read_input_tokens": 100_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 9,
    },
    "gemini-ordinary": {"promptTokenCount": 9, "candidatesTokenCount": 16, "totalTokenCount": 25},
    "gemini-tool-calls": {"promptTokenCount": 88, "candidatesTokenCount": 29, "thoughtsTokenCount": 64},
    "gemini-reasoning": {"promptTokenCount": 12, "candidatesTokenCount": 12, "thoughtsTokenCount": 58},
    "gemini-cached-usage": {"promptTokenCount": 4310, "cachedContentTokenCount": 4096},
}


def wire_of(name: str) -> Wire:
    """The wire of a transcript."""
    provider = name.partition("-")[0]
    return Wire(provider) if provider in ("anthropic", "gemini") else Wire.OPENAI


def test_every_transcript_has_its_reading() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(READINGS)


@pytest.mark.parametrize("name", READINGS)
def test_reading(name: str) -> None:
    reading = read_stream(wire_of(name), (FOLDER / f"{name}.txt").read_bytes())
    expected = READINGS[name]
    usage = expected.usage or USAGES.get(name, {})
    assert {key: reading.usage[key] for key in usage} == usage
    reading.usage = expected.usage
    assert reading == expected


@pytest.mark.parametrize("name", READINGS)
def test_line_ends(name: str) -> None:
    body = (FOLDER / f"{name}.txt").read_bytes()
    crlf = body.count(b"\r\n")
    assert (crlf, body.count(b"\r")) == ((body.count(b"\n"),) * 2 if wire_of(name) is Wire.GEMINI else (0, 0))
    assert body.endswith(b"\r\n\r\n" if crlf else b"\n\n")
