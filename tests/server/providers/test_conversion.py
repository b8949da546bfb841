"""Properties of the conversions: counts add up, tool calls come back, and no answer breaks the reader."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_server.providers import anthropic, gemini, openai
from turnout_server.providers.chat import ChatRequest, ChatResponse, Message, Role, TextPart, ToolCall
from turnout_server.providers.json_fields import WireError
from turnout_server.providers.registry import WIRES
from turnout_server.providers.wire import UpstreamTold

from tests.server.providers.calls import ask, call_of, read_stream
from tests.server.providers.golden_cases import WEATHER
from tests.server.providers.test_transcripts import EXPECTED, RESPONSES, wire_and_call

COUNT = st.integers(0, 10_000)


@given(prompt=COUNT, completion=COUNT, cached=COUNT, written=COUNT, reasoning=COUNT)
def test_openai_counts_add_up(
    prompt: int, completion: int, cached: int, written: int, reasoning: int
) -> None:
    told = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    counts = openai.read_usage({"usage": told})
    assert counts is not None
    assert (counts.input_total, counts.output_total) == (prompt, completion)
    if cached + written <= prompt:
        assert (counts.input_cache_read, counts.input_cache_write_5m) == (cached, written)
    if reasoning <= completion:
        assert counts.output_reasoning == reasoning


@given(prompt=COUNT, completion=COUNT, reasoning=st.integers(1, 10_000))
def test_reasoning_beside_the_completion_is_seen_by_the_total(
    prompt: int, completion: int, reasoning: int
) -> None:
    told = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion + reasoning,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    counts = openai.read_usage({"usage": told})
    assert counts is not None
    assert (counts.output_text, counts.output_reasoning) == (completion, reasoning)


@given(fresh=COUNT, read=COUNT, short=COUNT, hour=COUNT, output=COUNT, thinking=COUNT, split=st.booleans())
def test_anthropic_counts_add_up(
    fresh: int, read: int, short: int, hour: int, output: int, thinking: int, split: bool
) -> None:
    told: dict[str, Any] = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": short + hour,
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": thinking},
    }
    if split:
        told["cache_creation"] = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": hour}
    counts = anthropic.read_usage(told)
    assert counts is not None
    assert counts.input_total == fresh + read + short + hour
    assert counts.input_cache_write_1h == (hour if split else 0)
    assert counts.output_total == output


@given(prompt=COUNT, cached=COUNT, tools=COUNT, candidates=COUNT, thoughts=COUNT)
def test_gemini_counts_add_up(prompt: int, cached: int, tools: int, candidates: int, thoughts: int) -> None:
    told = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": cached,
        "toolUsePromptTokenCount": tools,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + tools + candidates + thoughts,
    }
    counts = gemini.read_usage(told)
    assert counts is not None
    assert counts.input_total + counts.output_total == told["totalTokenCount"]


ODD = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=3)


@given(told=st.dictionaries(st.sampled_from(["prompt_tokens", "input_tokens", "promptTokenCount", "total_tokens", "cache_creation", "prompt_tokens_details"]), ODD | st.dictionaries(st.just("cached_tokens"), ODD)))  # fmt: skip
def test_odd_counts_lose_no_answer(told: dict[str, Any]) -> None:
    openai.read_usage({"usage": told})
    anthropic.read_usage(told)
    gemini.read_usage(told)


NAME = st.text("abc_", min_size=1, max_size=6)
ARGUMENTS = st.dictionaries(
    st.text(max_size=4), st.text(max_size=6) | st.integers(-99, 99) | st.booleans() | st.none(), max_size=3
).map(lambda value: orjson.dumps(value).decode())
CALLS = st.lists(st.tuples(NAME, ARGUMENTS), min_size=1, max_size=3)


def wire_calls(provider: str, body: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """The assistant's calls in a request, as the provider would read them."""
    match provider:
        case "openai":
            listed = body["messages"][1]["tool_calls"]
            return [
                (one["id"], one["function"]["name"], orjson.loads(one["function"]["arguments"]))
                for one in listed
            ]
        case "anthropic":
            blocks = body["messages"][1]["content"]
            return [(one["id"], one["name"], one["input"]) for one in blocks if one["type"] == "tool_use"]
        case _:
            parts = [part["functionCall"] for part in body["contents"][1]["parts"]]
            return [(one["id"], one["name"], one["args"]) for one in parts]


def answer_with(provider: str, calls: list[tuple[str, str]]) -> dict[str, Any]:
    """A provider's answer that calls these tools."""
    match provider:
        case "openai":
            listed = [
                {
                    "id": f"call_{index}",
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                }
                for index, (name, arguments) in enumerate(calls)
            ]
            choice = {"message": {"content": None, "tool_calls": listed}, "finish_reason": "tool_calls"}
            return {"choices": [choice]}
        case "anthropic":
            blocks = [
                {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": orjson.loads(arguments)}
                for index, (name, arguments) in enumerate(calls)
            ]
            return {"content": blocks, "stop_reason": "tool_use"}
        case _:
            parts = [
                {"functionCall": {"name": name, "args": orjson.loads(arguments)}} for name, arguments in calls
            ]
            return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}


@pytest.mark.parametrize("asked", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("next_", ["openai", "anthropic", "gemini"])
@given(calls=CALLS)
@settings(max_examples=30)
def test_tool_calls_of_one_provider_go_on_at_any(
    asked: str, next_: str, calls: list[tuple[str, str]]
) -> None:
    answer = WIRES[asked].decode(orjson.dumps(answer_with(asked, calls)), call_of(provider=asked))
    assert [(call.name, orjson.loads(call.arguments_json)) for call in answer.tool_calls] == [
        (name, orjson.loads(arguments)) for name, arguments in calls
    ]
    assert len({call.id for call in answer.tool_calls}) == len(calls)
    results = tuple(
        Message(Role.TOOL, (TextPart(f"result {index}"),), tool_call_id=call.id)
        for index, call in enumerate(answer.tool_calls)
    )
    request = ChatRequest(
        (*ask().messages, Message(Role.ASSISTANT, tool_calls=answer.tool_calls), *results), (WEATHER,)
    )
    body = orjson.loads(WIRES[next_].encode(call_of(request, provider=next_), None, stream=False).http.body)
    assert wire_calls(next_, body) == [
        (call.id, call.name, orjson.loads(call.arguments_json)) for call in answer.tool_calls
    ]


def test_a_signature_goes_back_where_it_came_from() -> None:
    call = ToolCall("fc_a", "get_time", "{}", "c2ln")
    request = ChatRequest((*ask().messages, Message(Role.ASSISTANT, tool_calls=(call, call))))
    encoded = WIRES["gemini"].encode(
        call_of(request, provider="gemini", model="gemini-3-pro"), None, stream=False
    )
    parts = orjson.loads(encoded.http.body)["contents"][1]["parts"]
    assert [part["thoughtSignature"] for part in parts] == ["c2ln", "c2ln"]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("odd", [None, True, -1, 1.5, "x", [], ["x"], {}, {"x": 1}, [[]], [{}]], ids=repr)
def test_a_spoilt_answer_is_read_or_refused(name: str, odd: Any) -> None:
    wire, call = wire_and_call(name)
    body = orjson.loads((RESPONSES / f"{name}.json").read_bytes())
    for path in paths(body):
        try:
            found = wire.decode(orjson.dumps(replaced(body, path, odd)), call)
        except (WireError, UpstreamTold):
            continue
        assert isinstance(found, ChatResponse)
        assert isinstance(found.text, str)


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith((".tools", ".logprobs"))])
@pytest.mark.parametrize("odd", [None, True, -1, "x", ["x"], {"x": 1}, [{}]], ids=repr)
def test_a_spoilt_stream_is_read_or_refused(name: str, odd: Any) -> None:
    wire, call = wire_and_call(name)
    stream = (RESPONSES / f"{name}.sse").read_bytes().replace(b"\r\n", b"\n")
    lines = stream.split(b"\n")
    for number, line in enumerate(lines):
        if not line.startswith(b"data: {"):
            continue
        body = orjson.loads(line[6:])
        for path in paths(body):
            spoilt = [*lines]
            spoilt[number] = b"data: " + orjson.dumps(replaced(body, path, odd))
            reader = wire.reader(call)
            try:
                read_stream(reader, [b"\n".join(spoilt)])
            except (WireError, UpstreamTold):
                continue
            except AssertionError:
                assert not reader.finish_seen
