"""The simulated provider: equal calls meet equal fates, and its shares, forms, times and faults are as configured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.providers.chat import (
    ChatRequest,
    FinishReason,
    FormatKind,
    Message,
    ResponseFormat,
    Role,
    StreamEvent,
    TextDelta,
    TextPart,
    ToolChoice,
    ToolChoiceMode,
)
from turnout_server.providers.collecting import collect
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Limits, ProviderCall, UpstreamError
from turnout_server.providers.registry import PROVIDER_NAMES, create_providers
from turnout_server.providers.schema_example import example_of
from turnout_server.providers.simulated import (
    DEFAULT_MODELS,
    SimulatedFault,
    SimulatedModel,
    SimulatedProvider,
)
from turnout_server.providers.simulated_text import split_tokens

from tests.server.providers.calls import ask, call_of
from tests.server.providers.golden_cases import CITY, WEATHER
from tests.server.providers.scripted import ScriptedTransport


class FakeTime:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, time_s: float) -> None:
        self.now += time_s

    def clock(self) -> float:
        return self.now


def simulated(model: SimulatedModel, time: FakeTime | None = None, seed: int = 0) -> SimulatedProvider:
    time = time or FakeTime()
    return SimulatedProvider({"sim": model}, seed=seed, sleep=time.sleep, clock=time.clock)


def sim_call(
    request: ChatRequest | str = "Hello", *, limits: Limits | None = None, attempt: int = 0
) -> ProviderCall:
    request = ask(request) if isinstance(request, str) else request
    call = call_of(request, provider="simulated", model="sim", limits=limits)
    return replace(call, attempt=attempt)


async def test_equal_calls_have_equal_answers() -> None:
    provider = simulated(SimulatedModel(quality=0.5))
    first = await provider.complete(sim_call())
    assert first == await provider.complete(sim_call())
    assert first == await collect(provider.stream(sim_call()))
    assert first.finish_reason is FinishReason.STOP
    assert first.usage is not None
    assert first.usage.output_text == len(split_tokens(first.text))
    assert first.model_version == "sim-1"


async def test_seed_model_and_messages_change_the_answer() -> None:
    text = (await simulated(SimulatedModel()).complete(sim_call())).text
    assert text != (await simulated(SimulatedModel(), seed=1).complete(sim_call())).text
    assert text != (await simulated(SimulatedModel()).complete(sim_call("Other"))).text


async def test_a_better_model_answers_all_that_a_worse_one_answers_well() -> None:
    shares = {}
    well: dict[float, set[int]] = {}
    for quality in (0.3, 0.6, 0.9):
        provider = simulated(SimulatedModel(quality=quality))
        answers = [await provider.complete(sim_call(f"Prompt {number}")) for number in range(400)]
        well[quality] = {number for number, answer in enumerate(answers) if "not sure" not in answer.text}
        shares[quality] = len(well[quality]) / 400
    assert well[0.3] <= well[0.6] <= well[0.9]
    assert shares == pytest.approx({0.3: 0.3, 0.6: 0.6, 0.9: 0.9}, abs=0.08)


async def test_refusals_and_faults_come_in_their_shares() -> None:
    faults = (SimulatedFault(FaultKind.SERVER_ERROR, 0.2), SimulatedFault(FaultKind.RATE_LIMITED, 0.1, 2.0))
    provider = simulated(SimulatedModel(refusal_share=0.25, faults=faults))
    counts: dict[object, int] = {}
    for number in range(600):
        try:
            found: object = (await provider.complete(sim_call(f"Prompt {number}"))).finish_reason
        except UpstreamError as error:
            found = error.kind
            assert error.retry_after_s == (2.0 if error.kind is FaultKind.RATE_LIMITED else None)
            assert error.http_status == (429 if error.kind is FaultKind.RATE_LIMITED else 500)
        counts[found] = counts.get(found, 0) + 1
    shares = {kind: count / 600 for kind, count in counts.items()}
    assert shares == pytest.approx(
        {
            FaultKind.SERVER_ERROR: 0.2,
            FaultKind.RATE_LIMITED: 0.1,
            FinishReason.REFUSAL: 0.25 * 0.7,
            FinishReason.STOP: 0.75 * 0.7,
        },
        abs=0.06,
    )


async def test_a_retry_draws_anew() -> None:
    provider = simulated(SimulatedModel(faults=(SimulatedFault(FaultKind.SERVER_ERROR, 0.5),)))
    fates = []
    for attempt in range(20):
        try:
            await provider.complete(sim_call(attempt=attempt))
            fates.append(True)
        except UpstreamError:
            fates.append(False)
    assert len(set(fates)) == 2


async def read(
    provider: SimulatedProvider, call: ProviderCall
) -> tuple[list[StreamEvent], UpstreamError | None]:
    events: list[StreamEvent] = []
    try:
        async for event in provider.stream(call):
            events.append(event)
    except UpstreamError as error:
        return events, error
    return events, None


async def test_it_takes_its_time() -> None:
    time = FakeTime()
    provider = simulated(SimulatedModel(first_token_s=0.5, per_token_s=0.1), time)
    events, _ = await read(provider, sim_call())
    tokens = sum(isinstance(event, TextDelta) for event in events)
    assert time.now == pytest.approx(0.5 + 0.1 * (tokens - 1))


@pytest.mark.parametrize(
    ("model", "limits", "kind", "seconds"),
    [
        (SimulatedModel(first_token_s=5.0), Limits(first_token_s=2.0), FaultKind.FIRST_TOKEN_TIMEOUT, 2.0),
        (SimulatedModel(first_token_s=5.0), Limits(deadline=1.0), FaultKind.DEADLINE, 1.0),
        (SimulatedModel(per_token_s=5.0), Limits(inter_token_s=2.0), FaultKind.STALLED, 2.0),
        (SimulatedModel(per_token_s=0.4), Limits(deadline=1.0), FaultKind.DEADLINE, 1.0),
    ],
)
async def test_limits_hold(model: SimulatedModel, limits: Limits, kind: FaultKind, seconds: float) -> None:
    time = FakeTime()
    events, error = await read(simulated(model, time), sim_call(limits=limits))
    assert error is not None
    assert error.kind is kind
    assert time.now == pytest.approx(seconds)
    assert error.partial_text == "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("kind", [FaultKind.CUT, FaultKind.STALLED])
async def test_a_fault_in_mid_stream_comes_after_half(kind: FaultKind) -> None:
    whole = (await simulated(SimulatedModel()).complete(sim_call())).text
    events, error = await read(simulated(SimulatedModel(faults=(SimulatedFault(kind, 1.0),))), sim_call())
    assert error is not None
    assert error.kind is kind
    assert error.content_seen
    assert whole.startswith(error.partial_text)
    assert 0 < len(error.partial_text) < len(whole)
    assert error.usage is not None
    assert len(events) > 1


async def test_the_context_window() -> None:
    provider = simulated(SimulatedModel(context_window=50))
    await provider.complete(sim_call("word " * 40))
    _, error = await read(provider, sim_call("word " * 60))
    assert error is not None
    assert error.kind is FaultKind.CONTEXT_EXCEEDED


async def test_length() -> None:
    found = await simulated(SimulatedModel()).complete(sim_call(ask(max_output_tokens=5)))
    assert len(split_tokens(found.text)) == 5
    assert found.finish_reason is FinishReason.LENGTH


async def test_json_by_quality() -> None:
    wanted = ResponseFormat(FormatKind.JSON_SCHEMA, schema_json=CITY)
    call = sim_call(ask(response_format=wanted))
    assert set(orjson.loads((await simulated(SimulatedModel()).complete(call)).text)) == {"city"}
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads((await simulated(SimulatedModel(quality=0)).complete(call)).text)


async def test_a_tool_that_must_be_called_is_called_once() -> None:
    choice = ToolChoice(ToolChoiceMode.REQUIRED)
    request = ask(tools=(WEATHER,), tool_choice=choice)
    found = await simulated(SimulatedModel()).complete(sim_call(request))
    assert found.finish_reason is FinishReason.TOOL_CALLS
    (called,) = found.tool_calls
    assert called.name == "get_weather"
    assert set(orjson.loads(called.arguments_json)) == {"city"}
    result = Message(Role.TOOL, (TextPart("sunny"),), tool_call_id=called.id)
    turns = (*request.messages, Message(Role.ASSISTANT, tool_calls=(called,)), result)
    answer = await simulated(SimulatedModel()).complete(sim_call(replace(request, messages=turns)))
    assert answer.finish_reason is FinishReason.STOP


async def test_logprobs_tell_good_from_poor() -> None:
    call = sim_call(ask(logprobs=True))
    good = (await simulated(SimulatedModel()).complete(call)).mean_logprob
    poor = (await simulated(SimulatedModel(quality=0)).complete(call)).mean_logprob
    assert good is not None
    assert poor is not None
    assert poor < -1 < good < 0


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a", "b"]},
        {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 3},
        {"type": "string", "minLength": 9, "maxLength": 9},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"type": ["number", "null"], "maximum": -2},
        {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "value": {"const": 3}}, "required": ["value"]}}},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}}, {"properties": {"b": {"type": "null"}}}]},
    ],
)  # fmt: skip
def test_an_example_fits_its_schema(schema: dict[str, Any]) -> None:
    assert fits(example_of(schema, schema), schema, schema)


def fits(value: Any, schema: Any, root: Any) -> bool:
    """A plain check of the few keywords above."""
    if "$ref" in schema:
        return fits(value, root["$defs"]["node"], root)
    if "anyOf" in schema:
        return any(fits(value, branch, root) for branch in schema["anyOf"])
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    told = schema.get("type", [])
    told = told if isinstance(told, list) else [told]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    right = [number if kind in ("integer", "number") else isinstance(value, kinds[kind]) for kind in told]
    checks = [
        not right or any(right),
        all(fits(value, branch, root) for branch in schema.get("allOf", [])),
        value in schema.get("enum", [value]),
        value == schema.get("const", value),
        not number or schema.get("minimum", value) <= value <= schema.get("maximum", value),
    ]
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        checks += [name in value for name in schema.get("required", [])]
        checks += [fits(item, inner[name], root) for name, item in value.items() if name in inner]
    if isinstance(value, list | str):
        low, high = ("minItems", "maxItems") if isinstance(value, list) else ("minLength", "maxLength")
        checks.append(schema.get(low, 0) <= len(value) <= schema.get(high, len(value)))
    if isinstance(value, list):
        checks += [fits(item, schema.get("items", {}), root) for item in value]
    return all(checks)


def test_shares_are_checked() -> None:
    with pytest.raises(ValueError, match=r"quality: 1\.5"):
        SimulatedModel(quality=1.5)
    with pytest.raises(ValueError, match="faults"):
        SimulatedModel(faults=(SimulatedFault(FaultKind.CUT, 0.7), SimulatedFault(FaultKind.STALLED, 0.7)))


def test_the_registry_has_every_provider() -> None:
    providers = create_providers(ScriptedTransport())
    assert providers.keys() == PROVIDER_NAMES
    assert {"openai", "anthropic", "gemini", "groq", "vllm", "ollama", "openrouter", "azure"} < PROVIDER_NAMES
    assert isinstance(providers["simulated"], SimulatedProvider)
    assert providers["simulated"].models == DEFAULT_MODELS
