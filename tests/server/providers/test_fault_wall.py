"""Every fault of the wall, on every wire, streamed and whole: which kind comes out, or which clean answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.aiohttp_transport import AiohttpTransport
from turnout_server.providers.chat import ChatResponse, FinishReason
from turnout_server.providers.collecting import collect
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Limits, Provider, ProviderCall, UpstreamError
from turnout_server.providers.registry import create_providers

from tests.faults import Answer, Fault, FaultServer, Moment, Wire
from tests.server.providers.calls import ask, call_of

K = FaultKind
# Seconds of a fault that waits are thousandths here, but for those that wait for the client to give up.
QUICK = 0.001
ENDLESS = (Fault.SILENCE, Fault.SILENCE_AFTER_HEAD, Fault.SLOW_FIRST_TOKEN, Fault.STALL)
DESCRIPTORS = Path("/proc/self/fd")
LIMITS = Limits(first_token_s=30.0, inter_token_s=30.0)
SHORT = Limits(first_token_s=0.1, inter_token_s=0.1)

ERRORS: Mapping[Fault, FaultKind] = {
    Fault.RATE_LIMITED: K.RATE_LIMITED,
    Fault.RATE_LIMITED_SECONDS: K.RATE_LIMITED,
    Fault.RATE_LIMITED_DATE: K.RATE_LIMITED,
    Fault.RATE_LIMITED_MILLISECONDS: K.RATE_LIMITED,
    Fault.RATE_LIMITED_RETRY_INFO: K.RATE_LIMITED,
    Fault.QUOTA_EXHAUSTED: K.QUOTA_EXHAUSTED,
    Fault.SERVER_ERROR_ONCE: K.SERVER_ERROR,
    Fault.SERVER_ERROR: K.SERVER_ERROR,
    Fault.UNAVAILABLE: K.SERVER_ERROR,
    Fault.OVERLOADED: K.OVERLOADED,
    Fault.UNAUTHORIZED: K.CONFIGURATION,
    Fault.FORBIDDEN: K.CONFIGURATION,
    Fault.NOT_FOUND: K.CONFIGURATION,
    Fault.BAD_REQUEST: K.BAD_REQUEST,
    Fault.CONTEXT_EXCEEDED: K.CONTEXT_EXCEEDED,
    Fault.CONTENT_POLICY: K.CONTENT_POLICY,
    Fault.REDIRECT: K.CONFIGURATION,
    Fault.RESET: K.CONNECTION,
    Fault.SILENCE: K.FIRST_TOKEN_TIMEOUT,
    Fault.SILENCE_AFTER_HEAD: K.FIRST_TOKEN_TIMEOUT,
    Fault.SLOW_FIRST_TOKEN: K.FIRST_TOKEN_TIMEOUT,
    Fault.CUT: K.CUT,
    Fault.CUT_BY_RESET: K.CUT,
    Fault.CUT_CLEANLY: K.CUT,
    Fault.STALL: K.STALLED,
    Fault.MALFORMED: K.MALFORMED,
    Fault.HTML: K.MALFORMED,
    Fault.ERROR_AFTER_HEAD: K.OVERLOADED,
    Fault.ERROR_IN_STREAM: K.SERVER_ERROR,
    Fault.ENDLESS_LINE: K.MALFORMED,
}
# A whole body that ends well but is half of its JSON.
UNARY_ERRORS: Mapping[Fault, FaultKind] = {Fault.CUT_CLEANLY: K.MALFORMED}
AFTER_40_TOKENS = (
    Fault.CUT,
    Fault.CUT_BY_RESET,
    Fault.CUT_CLEANLY,
    Fault.STALL,
    Fault.MALFORMED,
    Fault.ERROR_IN_STREAM,
)
WAITS = (
    Fault.RATE_LIMITED_SECONDS,
    Fault.RATE_LIMITED_DATE,
    Fault.RATE_LIMITED_MILLISECONDS,
    Fault.RATE_LIMITED_RETRY_INFO,
)
WHOLE = (
    Fault.ORDINARY,
    Fault.OUTAGE,
    Fault.PREFILL_REJECTED,
    Fault.SLOW_BODY,
    Fault.NO_END_MARK,
    Fault.BYTE_BY_BYTE,
    Fault.UNUSUAL_SSE,
)
REASONS: Mapping[Fault, FinishReason] = {
    Fault.REFUSAL: FinishReason.REFUSAL,
    Fault.REFUSAL_IN_WORDS: FinishReason.STOP,
    Fault.BLOCKED: FinishReason.CONTENT_FILTER,
    Fault.EMPTY: FinishReason.STOP,
    Fault.REASONING_ONLY: FinishReason.STOP,
    Fault.LENGTH_WITHOUT_TEXT: FinishReason.LENGTH,
    Fault.LENGTH: FinishReason.LENGTH,
    Fault.CONTEXT_WINDOW_STOP: FinishReason.CONTEXT_EXCEEDED,
    Fault.TOOL_CALLS: FinishReason.TOOL_CALLS,
    Fault.TOOL_ARGUMENTS_BROKEN: FinishReason.TOOL_CALLS,
}
OTHERS = (Fault.STALE_KEEP_ALIVE, Fault.LONG_LINE, Fault.ACCOUNTING)

Way = tuple[Fault, Wire, bool]
WAYS: list[Way] = [
    (fault, wire, stream)
    for fault in Fault
    for wire in sorted(fault.wires)
    for stream in (True, False)
    if stream or fault.unary
]


def ways(*faults: Fault) -> pytest.MarkDecorator:
    chosen = [way for way in WAYS if way[0] in faults]
    ids = [f"{fault}-{wire}-{'stream' if stream else 'whole'}" for fault, wire, stream in chosen]
    return pytest.mark.parametrize("way", chosen, ids=ids)


class Wall:
    """The fake upstream, and the providers that ask it."""

    def __init__(self, upstream: FaultServer, providers: Mapping[str, Provider]) -> None:
        self.upstream = upstream
        self.providers = providers

    def call(self, way: Way, limits: Limits = LIMITS) -> ProviderCall:
        fault, wire, stream = way
        model = f"{fault}.{'stream' if stream else 'whole'}"
        return call_of(
            ask(max_output_tokens=200),
            provider=str(wire.value),
            model=model,
            endpoint=self.upstream.url,
            limits=limits,
        )

    async def ask(self, way: Way, limits: Limits = LIMITS) -> ChatResponse:
        call = self.call(way, limits)
        provider = self.providers[call.target.provider]
        return await (collect(provider.stream(call)) if way[2] else provider.complete(call))

    async def fail(self, way: Way, limits: Limits = LIMITS) -> UpstreamError:
        with pytest.raises(UpstreamError) as caught:
            await self.ask(way, limits)
        return caught.value


@pytest.fixture
async def wall() -> AsyncIterator[Wall]:
    transport = AiohttpTransport()
    async with FaultServer(time_factor=QUICK) as upstream:
        yield Wall(upstream, create_providers(transport))
        await transport.close()


def test_every_fault_has_its_place_here() -> None:
    placed = [*ERRORS, *WHOLE, *REASONS, *OTHERS]
    assert sorted(placed) == sorted(Fault)


@ways(*ERRORS)
async def test_the_kind_of_error(wall: Wall, way: Way) -> None:
    fault, wire, stream = way
    limits = LIMITS
    if fault in ENDLESS:
        wall.upstream.time_factor = 1.0
        limits = SHORT
    if (fault, wire) == (Fault.CONTENT_POLICY, Wire.GEMINI):
        # A block there is an answer, not an error.
        assert (await wall.ask(way)).finish_reason is FinishReason.CONTENT_FILTER
        return
    error = await wall.fail(way, limits)
    expected = ERRORS[fault] if stream else UNARY_ERRORS.get(fault, ERRORS[fault])
    assert error.kind is expected
    assert (error.retry_after_s is not None) == (fault in WAITS)
    if fault in AFTER_40_TOKENS and stream:
        assert error.content_seen
        assert Answer().text.startswith(error.partial_text)
        assert len(error.partial_text.split()) == 40
    else:
        assert not error.content_seen
        assert not error.partial_text
    assert wall.upstream.ledger.count() == 1


@ways(*ENDLESS)
async def test_an_upstream_that_was_given_up_sees_the_close(wall: Wall, way: Way) -> None:
    wall.upstream.time_factor = 1.0
    await wall.fail(way, SHORT)
    await wall.upstream.ledger.until(lambda: wall.upstream.ledger.open_connections == 0)


@ways(Fault.SILENCE, Fault.STALL)
async def test_the_deadline_comes_first_where_it_is_nearer(wall: Wall, way: Way) -> None:
    wall.upstream.time_factor = 1.0
    limits = replace(LIMITS, deadline=time.monotonic() + 0.1)
    assert (await wall.fail(way, limits)).kind is K.DEADLINE


@ways(*WAITS)
async def test_the_wait_that_is_asked_for(wall: Wall, way: Way) -> None:
    error = await wall.fail(way)
    assert error.retry_after_s is not None
    # A date is told in whole seconds, rounded up.
    assert 0 <= error.retry_after_s - wall.upstream.retry_after_s <= 1
    assert (await wall.ask(way)).text == Answer().text


@ways(*WHOLE)
async def test_a_whole_answer(wall: Wall, way: Way) -> None:
    found = await wall.ask(way)
    assert found.text == Answer().text
    assert found.finish_reason is FinishReason.STOP
    assert found.usage == TokenCounts(input_uncached=12, output_text=60)
    assert found.model_version
    assert found.request_id


@ways(Fault.ORDINARY, Fault.UNUSUAL_SSE, Fault.RATE_LIMITED, Fault.BAD_REQUEST)
async def test_a_response_that_was_read_keeps_its_connection(wall: Wall, way: Way) -> None:
    for _ in range(3):
        try:
            await wall.ask(way)
        except UpstreamError as error:
            assert error.http_status
    assert len(wall.upstream.ledger.connections) == 1


@ways(*REASONS)
async def test_the_reason_of_the_end(wall: Wall, way: Way) -> None:
    fault, wire, _ = way
    found = await wall.ask(way)
    expected = REASONS[fault]
    if (fault, wire) == (Fault.REFUSAL, Wire.GEMINI):
        expected = FinishReason.CONTENT_FILTER
    assert found.finish_reason is expected
    if fault in (Fault.EMPTY, Fault.REASONING_ONLY, Fault.LENGTH_WITHOUT_TEXT, Fault.BLOCKED):
        assert found.text == ""
    if fault is Fault.REASONING_ONLY:
        assert found.reasoning
    if fault is Fault.TOOL_CALLS:
        assert [call.name for call in found.tool_calls] == ["get_weather", "get_time"]
        assert all(call.arguments_json.endswith("}") for call in found.tool_calls)
    if fault is Fault.TOOL_ARGUMENTS_BROKEN:
        assert [call.arguments_json for call in found.tool_calls] == ['{"city":"Zürich"']


@ways(Fault.STALE_KEEP_ALIVE)
async def test_a_stale_connection_is_told_apart(wall: Wall, way: Way) -> None:
    assert (await wall.ask(way)).text == Answer().text
    assert (await wall.fail(way)).kind is K.STALE_CONNECTION
    assert (await wall.ask(way)).text == Answer().text


@ways(Fault.LONG_LINE)
async def test_a_long_line_is_whole(wall: Wall, way: Way) -> None:
    assert len((await wall.ask(way)).text) > 64 << 10


@ways(Fault.ACCOUNTING)
async def test_the_counts_of_a_bill(wall: Wall, way: Way) -> None:
    _, wire, _ = way
    usage = (await wall.ask(way)).usage
    # The same tokens, as far as each wire can tell them apart.
    assert usage is not None
    assert (
        usage
        == {
            Wire.OPENAI: TokenCounts(1768, 4096, 0, 0, 60, 140),
            Wire.ANTHROPIC: TokenCounts(1000, 4096, 512, 256, 200, 0),
            Wire.GEMINI: TokenCounts(1768, 4096, 0, 0, 60, 140),
        }[wire]
    )
    assert (usage.input_total, usage.output_total) == (5864, 200)


@pytest.mark.parametrize("phase", ["silence", "stall", "whole"])
@pytest.mark.parametrize("wire", sorted(Wire))
async def test_cancelled_calls_leave_nothing(wall: Wall, wire: Wire, phase: str) -> None:
    wall.upstream.time_factor = 1.0
    fault = Fault.STALL if phase == "stall" else Fault.SILENCE
    ledger = wall.upstream.ledger
    await wall.ask((Fault.ORDINARY, wire, True))
    before = len(list(DESCRIPTORS.iterdir()))
    tasks = [asyncio.create_task(wall.ask((fault, wire, phase != "whole"))) for _ in range(50)]
    await ledger.until(
        lambda: sum(request.at(Moment.HELD) is not None for request in ledger.requests) == len(tasks)
    )
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    # The kept connection of the first call may have served one of them.
    await ledger.until(lambda: ledger.open_connections <= 1)
    assert ledger.count() == len(tasks) + 1
    # A closed socket's descriptor goes in a later turn of the loop.
    async with asyncio.timeout(5):
        while len(list(DESCRIPTORS.iterdir())) > before:
            await asyncio.sleep(0)


@pytest.mark.parametrize("wire", sorted(Wire))
async def test_256_streams_at_once_are_whole(wall: Wall, wire: Wire) -> None:
    found = await asyncio.gather(*(wall.ask((Fault.ORDINARY, wire, True)) for _ in range(256)))
    assert {response.text for response in found} == {Answer().text}


@ways(*(fault for fault in ERRORS if fault not in ENDLESS))
async def test_no_error_shows_key_prompt_or_body(wall: Wall, way: Way) -> None:
    if way[:2] == (Fault.CONTENT_POLICY, Wire.GEMINI):
        return
    error = await wall.fail(way)
    shown = f"{error} {error!r} {error.__cause__!r} {error.native_code} {error.field}"
    for secret in ("sk-test", "Zürich", "t01", "{", "http"):
        assert secret not in shown
