"""Each fault that is an answer is what it says, on each wire, unary and streaming."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faults import WALL, Fault, FaultServer, Wire
from tests.faults.answer import Answer, Usage
from tests.faults.asking import HEADERS, End, Line, ask, body_of
from tests.faults.behaviours import BEHAVIOURS, LONG_LINE_BYTES
from tests.faults.cases import read, ways
from tests.faults.reading import read_stream
from tests.faults.scripted_answers import (
    ACCOUNTED,
    BROKEN_CALL,
    REASONING,
    REFUSAL_TEXT,
    TOOL_CALLS,
)
from tests.faults.server import describe_faults
from tests.faults.wire import told_usage

TEXT = Answer().text
STOP = {Wire.OPENAI: "stop", Wire.ANTHROPIC: "end_turn", Wire.GEMINI: "STOP"}
LENGTH = {Wire.OPENAI: "length", Wire.ANTHROPIC: "max_tokens", Wire.GEMINI: "MAX_TOKENS"}


def counts(wire: Wire, usage: dict[str, Any]) -> Usage:
    """A wire's counts in disjoint parts, by the rules of its documentation."""
    if wire is Wire.OPENAI:
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        return Usage(
            usage["prompt_tokens"] - cached, cached, 0, 0, usage["completion_tokens"] - reasoning, reasoning
        )
    if wire is Wire.ANTHROPIC:
        written = usage["cache_creation"]
        short, long = written["ephemeral_5m_input_tokens"], written["ephemeral_1h_input_tokens"]
        assert usage["cache_creation_input_tokens"] == short + long
        read_tokens = usage["cache_read_input_tokens"]
        return Usage(usage["input_tokens"], read_tokens, short, long, usage["output_tokens"], 0)
    cached, thoughts = usage.get("cachedContentTokenCount", 0), usage.get("thoughtsTokenCount", 0)
    text = usage.get("candidatesTokenCount", 0)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + text + thoughts
    return Usage(usage["promptTokenCount"] - cached, cached, 0, 0, text, thoughts)


def test_every_fault_has_a_behaviour_and_a_row() -> None:
    assert set(BEHAVIOURS) == set(Fault)
    assert len(WALL) == len(set(WALL)) == 16
    rows = describe_faults()
    assert all(row["does"] and row["must"] for row in rows)
    assert len({row["does"] for row in rows}) == len(Fault)


WHOLE = (
    Fault.ORDINARY,
    Fault.OUTAGE,
    Fault.PREFILL_REJECTED,
    Fault.STALE_KEEP_ALIVE,
    Fault.SLOW_FIRST_TOKEN,
    Fault.SLOW_BODY,
    Fault.BYTE_BY_BYTE,
    Fault.UNUSUAL_SSE,
    Fault.NO_END_MARK,
)


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(*WHOLE))
async def test_an_answer_is_whole(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    response = await ask(upstream.port, wire, fault, stream=stream)
    reading = read(wire, response, stream=stream)
    assert (response.status, response.end) == (200, End.WHOLE)
    assert (reading.text, reading.finish, reading.error) == (TEXT, STOP[wire], {})
    assert counts(wire, reading.usage) == Usage()
    if stream and wire is not Wire.GEMINI:
        assert reading.ended is (fault is not Fault.NO_END_MARK)
    (seen,) = upstream.ledger.of(fault)
    assert (seen.wire, seen.fault, seen.stream, seen.complaint) == (wire, fault, stream, "")
    assert seen.tokens_sent == (60 if stream else 0)


@pytest.mark.parametrize("wire", Wire)
async def test_delivery_byte_by_byte(upstream: FaultServer, wire: Wire) -> None:
    response = await ask(upstream.port, wire, Fault.BYTE_BY_BYTE, stream=True)
    assert {len(chunk) for chunk in response.chunks} == {1}


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.LONG_LINE))
async def test_a_long_line(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    response = await ask(upstream.port, wire, fault, stream=stream)
    assert max(len(line) for line in response.body.splitlines()) > LONG_LINE_BYTES
    assert len(read(wire, response, stream=stream).text) > LONG_LINE_BYTES


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.CONTENT_POLICY, Fault.BLOCKED))
async def test_a_block(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    response = await ask(upstream.port, wire, fault, stream=stream)
    if wire is Wire.GEMINI:
        reading = read(wire, response, stream=stream)
        assert (response.status, reading.block, reading.text) == (200, "PROHIBITED_CONTENT", "")
    elif fault is Fault.BLOCKED:
        assert read(wire, response, stream=stream).finish == "content_filter"
    else:
        assert response.status == 400
        assert response.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("wire", Wire)
async def test_a_prefilled_turn_is_rejected(upstream: FaultServer, wire: Wire) -> None:
    body = body_of(wire, Fault.PREFILL_REJECTED, stream=False)
    if wire is Wire.GEMINI:
        body["contents"].append({"role": "model", "parts": [{"text": "t01 "}]})
    else:
        body["messages"].append({"role": "assistant", "content": "t01 "})
    response = await ask(upstream.port, wire, Fault.PREFILL_REJECTED, stream=False, body=body)
    assert response.status == 400
    assert upstream.ledger.requests[0].body == body


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.REFUSAL, Fault.REFUSAL_IN_WORDS))
async def test_a_refusal(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    reading = read(wire, await ask(upstream.port, wire, fault, stream=stream), stream=stream)
    if fault is Fault.REFUSAL_IN_WORDS:
        assert (reading.text, reading.finish) == (REFUSAL_TEXT, STOP[wire])
    elif wire is Wire.OPENAI:
        assert (reading.text, reading.refusal, reading.finish) == ("", REFUSAL_TEXT, "stop")
    else:
        assert (reading.text, reading.finish) == ("", "refusal" if wire is Wire.ANTHROPIC else "SAFETY")


@pytest.mark.parametrize(
    ("fault", "wire", "stream"), ways(Fault.EMPTY, Fault.REASONING_ONLY, Fault.LENGTH_WITHOUT_TEXT)
)
async def test_no_text(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    reading = read(wire, await ask(upstream.port, wire, fault, stream=stream), stream=stream)
    assert reading.text == ""
    assert reading.finish == (LENGTH if fault is Fault.LENGTH_WITHOUT_TEXT else STOP)[wire]
    assert reading.reasoning == ("".join(REASONING) if fault is Fault.REASONING_ONLY else "")


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.LENGTH, Fault.CONTEXT_WINDOW_STOP))
async def test_a_limit_cuts_the_answer(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    reading = read(wire, await ask(upstream.port, wire, fault, stream=stream), stream=stream)
    expected = LENGTH[wire] if fault is Fault.LENGTH else "model_context_window_exceeded"
    assert (reading.text, reading.finish) == (TEXT, expected)


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.TOOL_CALLS, Fault.TOOL_ARGUMENTS_BROKEN))
async def test_calls_of_tools(upstream: FaultServer, fault: Fault, wire: Wire, stream: bool) -> None:
    reading = read(wire, await ask(upstream.port, wire, fault, stream=stream), stream=stream)
    finish = {Wire.OPENAI: "tool_calls", Wire.ANTHROPIC: "tool_use", Wire.GEMINI: "STOP"}
    assert reading.finish == finish[wire]
    if fault is Fault.TOOL_CALLS:
        found = [(name, json.loads(arguments)) for name, arguments in reading.calls]
        assert found == [(call.name, json.loads(call.arguments)) for call in TOOL_CALLS]
    else:
        assert reading.calls == [[BROKEN_CALL.name, BROKEN_CALL.arguments]]


@pytest.mark.parametrize(("fault", "wire", "stream"), ways(Fault.ACCOUNTING))
async def test_usage_in_the_form_of_its_wire(
    upstream: FaultServer, fault: Fault, wire: Wire, stream: bool
) -> None:
    reading = read(wire, await ask(upstream.port, wire, fault, stream=stream), stream=stream)
    told = counts(wire, reading.usage)
    assert told == told_usage(ACCOUNTED, wire)
    assert told.input_total == ACCOUNTED.input_total
    assert told.output_total == ACCOUNTED.output_total


async def test_openai_tells_usage_in_a_stream_only_if_asked(upstream: FaultServer) -> None:
    body = body_of(Wire.OPENAI, Fault.ORDINARY, stream=False) | {"stream": True}
    response = await ask(upstream.port, Wire.OPENAI, Fault.ORDINARY, stream=True, body=body)
    assert b"usage" not in response.body
    assert read_stream(Wire.OPENAI, response.body).text == TEXT


async def test_gemini_streams_an_array_without_sse(upstream: FaultServer) -> None:
    body = body_of(Wire.GEMINI, "", stream=True)
    path = "/v1beta/models/ordinary:streamGenerateContent"
    async with Line(upstream.port) as line:
        await line.send(path, body, HEADERS[Wire.GEMINI])
        response = await line.receive()
    pieces = [item["candidates"][0]["content"]["parts"][0]["text"] for item in response.json]
    assert "".join(pieces) == TEXT


async def test_an_unknown_model_and_a_part_given_to_a_name(upstream: FaultServer) -> None:
    assert (await ask(upstream.port, Wire.OPENAI, "my-model", stream=False)).status == 404
    upstream.play("my-model", Fault.UNAVAILABLE, times=2, answer=Answer.of("forty two"))
    statuses = [await ask(upstream.port, Wire.OPENAI, "my-model", stream=False) for _ in range(3)]
    assert [response.status for response in statuses] == [503, 503, 200]
    assert statuses[-1].json["choices"][0]["message"]["content"] == "forty two"
