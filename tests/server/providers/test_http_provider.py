"""One upstream call: its timers, its faults, what came before them, and that nothing stays open."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers import event_stream, http_provider
from turnout_server.providers.aiohttp_transport import AiohttpTransport
from turnout_server.providers.call_timer import CallTimer
from turnout_server.providers.chat import (
    ChatRequest,
    Finished,
    FinishReason,
    MediaKind,
    MediaPart,
    Message,
    Role,
    StreamEvent,
    TextDelta,
)
from turnout_server.providers.credentials import KeySource
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.http_provider import HttpProvider
from turnout_server.providers.openai import OpenAiWire
from turnout_server.providers.protocol import Limits, ProviderCall, Target, UpstreamError
from turnout_server.providers.transport import TransportError

from tests.server.providers.calls import ask, call_of
from tests.server.providers.loopback import Peer, loopback
from tests.server.providers.scripted import CUT, Chunk, Response, ScriptedTransport, Silence

K = FaultKind
SHORT = Limits(first_token_s=0.03, inter_token_s=0.03)


def chunk(text: str = "", finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "1", "model": "m", "choices": [choice]}) + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
STOP = chunk(finish="stop")
ERROR = b'data: {"error":{"type":"server_error","message":"the prompt was: Zurich"}}\n\n'


def provider(transport: ScriptedTransport) -> HttpProvider:
    return HttpProvider(OpenAiWire(), transport)


async def drive(
    *chunks: Chunk, limits: Limits | None = None
) -> tuple[list[StreamEvent], UpstreamError | None]:
    """All events of a stream, and the error that ended it."""
    transport = ScriptedTransport(Response(list(chunks)))
    events: list[StreamEvent] = []
    error: UpstreamError | None = None
    try:
        async for event in provider(transport).stream(call_of(limits=limits)):
            events.append(event)
    except UpstreamError as caught:
        error = caught
    assert transport.closed == 1
    return events, error


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    "tail",
    [
        [STOP, USAGE, DONE],
        [STOP + USAGE + DONE],
        [STOP, USAGE],
        [STOP],
        [STOP, CUT],
        [STOP, USAGE, DONE, CUT],
    ],
    ids=["usual", "at_once", "no_done", "no_usage", "cut_after_finish", "cut_after_done"],
)
async def test_a_finish_reason_makes_the_answer_whole(tail: list[Chunk]) -> None:
    events, error = await drive(chunk("Hel"), chunk("lo"), *tail)
    assert error is None
    assert text_of(events) == "Hello"
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.finish_reason is FinishReason.STOP
    told = any(isinstance(part, bytes) and b"usage" in part for part in tail)
    assert last.usage == (TokenCounts(input_uncached=3, output_text=2) if told else None)


async def test_the_end_of_the_body_is_read_so_that_the_connection_is_kept() -> None:
    response = Response([chunk("Hello"), STOP, DONE, b"", b""])
    stream = provider(ScriptedTransport(response)).stream(call_of())
    async for event in stream:
        if isinstance(event, Finished):
            assert len(response.chunks) == 2
    assert len(response.chunks) == 1


async def test_a_tail_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "TAIL_S", 0.01)
    events, error = await drive(chunk("Hello"), STOP, Silence())
    assert error is None
    assert isinstance(events[-1], Finished)


async def test_an_end_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_provider, "DRAIN_S", 0.01)
    events, error = await drive(chunk("Hello"), STOP, DONE, Silence())
    assert error is None
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([], K.CUT),
        ([CUT], K.CUT),
        ([DONE], K.CUT),
        ([DONE + chunk("late")], K.CUT),
        ([b": ping\n\n", USAGE], K.CUT),
        ([ERROR], K.SERVER_ERROR),
        ([b"data: {nonsense\n\n"], K.MALFORMED),
        ([b"data: 7\n\n"], K.MALFORMED),
        ([b"data: " + b"x" * (1 << 20)], K.MALFORMED),
        ([Silence()], K.FIRST_TOKEN_TIMEOUT),
        ([b": ping\n\n", Silence()], K.FIRST_TOKEN_TIMEOUT),
        ([chunk(""), Silence()], K.FIRST_TOKEN_TIMEOUT),
    ],
)
async def test_a_fault_before_content(chunks: list[Chunk], kind: FaultKind) -> None:
    events, error = await drive(*chunks, limits=SHORT)
    assert error is not None
    assert error.kind is kind
    assert text_of(events) == ""
    assert not error.content_seen
    assert error.bytes_seen


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([], K.CUT),
        ([CUT], K.CUT),
        ([DONE], K.CUT),
        ([ERROR], K.SERVER_ERROR),
        ([b"data: {nonsense\n\n" + STOP + DONE], K.MALFORMED),
        ([Silence()], K.STALLED),
    ],
)
@pytest.mark.parametrize("joined", [True, False])
async def test_a_fault_after_content_gives_what_came_before(
    chunks: list[Chunk], kind: FaultKind, joined: bool
) -> None:
    came: list[Chunk] = [USAGE, chunk("Hel"), chunk("lo")]
    if joined and chunks and isinstance(chunks[0], bytes):
        chunks = [USAGE + chunk("Hel") + chunk("lo") + chunks[0]]
    else:
        chunks = [*came, *chunks]
    events, error = await drive(*chunks, limits=SHORT)
    assert text_of(events) == "Hello"
    assert error is not None
    assert error.kind is kind
    assert error.partial_text == "Hello"
    assert error.content_seen
    assert error.usage == TokenCounts(input_uncached=3, output_text=2)
    assert "Zurich" not in f"{error} {error!r}"


@pytest.mark.parametrize("text", ["", "more "])
async def test_pings_are_no_tokens(text: str) -> None:
    clock = FakeClock()

    def ticking() -> float:
        clock.now += 0.01
        return clock.now

    beats: list[Chunk] = [chunk(text) if text else b": ping\n\n" for _ in range(100)]
    transport = ScriptedTransport(Response([chunk("Hello "), *beats, STOP]))
    stream = HttpProvider(OpenAiWire(), transport, ticking).stream(call_of(limits=Limits(inter_token_s=0.5)))
    if text:
        assert text_of([event async for event in stream]) == "Hello " + text * 100
    else:
        with pytest.raises(UpstreamError) as caught:
            [event async for event in stream]
        assert caught.value.kind is K.STALLED


@pytest.mark.parametrize("content_type", ["application/json", "text/html; charset=utf-8"])
async def test_a_success_that_is_no_stream(content_type: str) -> None:
    headers = {"content-type": content_type}
    told = Response([b'{"error":{"type":"overloaded"}}'], headers=headers)
    other = Response([b"<html>"], headers=headers)
    for response, kind in ((told, K.OVERLOADED), (other, K.MALFORMED)):
        with pytest.raises(UpstreamError) as caught:
            await anext(provider(ScriptedTransport(response)).stream(call_of()))
        assert caught.value.kind is kind
        assert caught.value.http_status == 200


async def test_an_error_of_http() -> None:
    body = b'{"error":{"code":"rate_limit_exceeded","message":"the prompt was: Zurich"}}'
    headers = {"retry-after": "2", "x-request-id": "req-1"}
    for way in ("stream", "whole"):
        transport = ScriptedTransport(Response([body], 429, headers))
        with pytest.raises(UpstreamError) as caught:
            if way == "stream":
                await anext(provider(transport).stream(call_of()))
            else:
                await provider(transport).complete(call_of())
        error = caught.value
        assert (error.kind, error.http_status, error.retry_after_s) == (K.RATE_LIMITED, 429, 2.0)
        assert (error.native_code, error.request_id) == ("rate_limit_exceeded", "req-1")
        assert str(error) == "rate_limited (HTTP 429, rate_limit_exceeded)"
        assert transport.closed == 1


@pytest.mark.parametrize("last", [CUT, Silence()])
async def test_the_status_is_enough_where_an_errors_body_fails(
    last: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_provider, "ERROR_BODY_S", 0.01)
    with pytest.raises(UpstreamError) as caught:
        await provider(ScriptedTransport(Response([b"{", last], 503))).complete(call_of())
    assert (caught.value.kind, caught.value.http_status) == (K.SERVER_ERROR, 503)


async def test_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_provider, "MAX_BODY_BYTES", 1000)
    many: list[Chunk] = [b" " * 100] * 20
    with pytest.raises(UpstreamError) as caught:
        await provider(ScriptedTransport(Response([*many]))).complete(call_of())
    assert caught.value.kind is K.MALFORMED
    events, error = await drive(*[chunk("x" * 100)] * 20)
    assert error is not None
    assert error.kind is K.MALFORMED
    assert 0 < len(text_of(events)) <= 1000
    monkeypatch.setattr(http_provider, "MAX_ERROR_BYTES", 1000)
    with pytest.raises(UpstreamError) as caught:
        await provider(ScriptedTransport(Response([*many], 500))).complete(call_of())
    assert caught.value.kind is K.SERVER_ERROR


@pytest.mark.parametrize("kind", [K.CONNECTION, K.STALE_CONNECTION, K.MALFORMED, K.CONFIGURATION])
async def test_a_fault_of_the_transport(kind: FaultKind) -> None:
    with pytest.raises(UpstreamError) as caught:
        await provider(ScriptedTransport(TransportError(kind, "ClientOSError"))).complete(call_of())
    assert caught.value.kind is kind
    assert caught.value.native_code == "ClientOSError"
    assert caught.value.bytes_seen == (kind is K.MALFORMED)


async def test_silence_before_the_headers() -> None:
    for limits in (SHORT, Limits(response_s=0.01)):
        with pytest.raises(UpstreamError) as caught:
            await provider(ScriptedTransport(Silence())).complete(call_of(limits=limits))
        assert caught.value.kind is K.FIRST_TOKEN_TIMEOUT
        assert not caught.value.bytes_seen


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(connect_s=0.03), K.CONNECTION),
        (Limits(first_token_s=0.03), K.FIRST_TOKEN_TIMEOUT),
        (Limits(deadline=0.03), K.DEADLINE),
    ],
)
async def test_a_handshake_that_takes_too_long(limits: Limits, kind: FaultKind) -> None:
    async def silent(peer: Peer) -> None:
        await peer.gone()

    if limits.deadline is not None:
        limits = replace(limits, deadline=time.monotonic() + limits.deadline)
    transport = AiohttpTransport()
    async with loopback(silent) as upstream:
        call = call_of(endpoint=upstream.url.replace("http:", "https:"), limits=limits)
        with pytest.raises(UpstreamError) as caught:
            await HttpProvider(OpenAiWire(), transport).complete(call)
        await transport.close()
    assert caught.value.kind is kind


def file_call(path: Path) -> ProviderCall:
    target = Target("d", "openai", "m", key=KeySource(f"file:{path}", lambda: 0.0))
    return ProviderCall(target, ask())


async def test_a_rejected_key_is_read_again_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-old")
    call = file_call(path)
    assert call.target.key is not None
    call.target.key.key()
    path.write_text("sk-new")
    transport = ScriptedTransport(Response(status=401), Response([chunk("Hello"), STOP, DONE]))
    events = [event async for event in provider(transport).stream(call)]
    assert text_of(events) == "Hello"
    sent = [request.headers["Authorization"] for request in transport.requests]
    assert sent == ["Bearer sk-old", "Bearer sk-new"]
    assert transport.closed == 2
    # The same key again is not sent again.
    transport = ScriptedTransport(Response(status=401))
    with pytest.raises(UpstreamError) as caught:
        await provider(transport).complete(call)
    assert caught.value.kind is K.CONFIGURATION
    assert len(transport.requests) == 1


async def test_what_cannot_be_sent_is_not_sent(tmp_path: Path) -> None:
    audio = Message(Role.USER, (MediaPart(MediaKind.AUDIO, "audio/ogg", data=b""),))
    late = Limits(deadline=-1.0)
    for call, kind, field in (
        (file_call(tmp_path / "none"), K.CONFIGURATION, "credentials"),
        (call_of(ChatRequest((audio,))), K.BAD_REQUEST, "messages[0].parts[0].media_type"),
        (call_of(limits=late), K.DEADLINE, ""),
    ):
        transport = ScriptedTransport()
        for way in ("stream", "whole"):
            with pytest.raises(UpstreamError) as caught:
                if way == "stream":
                    await anext(provider(transport).stream(call))
                else:
                    await provider(transport).complete(call)
            assert (caught.value.kind, caught.value.field) == (kind, field)
        assert transport.requests == []


@pytest.mark.parametrize("events", [1, 2, 3])
async def test_closing_the_stream_closes_the_exchange(events: int) -> None:
    transport = ScriptedTransport(Response([chunk("Hel"), chunk("lo"), STOP, DONE]))
    async with aclosing(provider(transport).stream(call_of())) as stream:
        for _ in range(events):
            await anext(stream)
        assert transport.closed == 0
    assert transport.closed == 1


@pytest.mark.parametrize("response", [Silence(), Response([chunk("Hel"), Silence()])])
@pytest.mark.parametrize("way", ["stream", "whole"])
async def test_cancelling_closes_the_exchange(response: Response | Silence, way: str) -> None:
    if isinstance(response, Response):
        response = Response([chunk("Hel"), Silence()])
    transport = ScriptedTransport(response)

    async def run() -> None:
        if way == "whole":
            await provider(transport).complete(call_of())
        async for _ in provider(transport).stream(call_of()):
            pass

    task = asyncio.create_task(run())
    while not transport.requests:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert transport.closed == 1


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def left(timeout: asyncio.Timeout) -> float | None:
    """Seconds that a timer which was not entered yet would wait."""
    when = timeout.when()
    return None if when is None else when - asyncio.get_running_loop().time()


async def test_each_timer_is_the_lesser_of_its_limit_and_the_deadline() -> None:
    clock = FakeClock()
    limits = Limits(deadline=1012.0, first_token_s=10.0, inter_token_s=4.0)
    timer = CallTimer(limits, clock, stream=True)
    assert left(timer.waiting()) == pytest.approx(10.0, abs=0.5)
    assert timer.expired() is K.FIRST_TOKEN_TIMEOUT
    clock.now += 3
    assert left(timer.waiting()) == pytest.approx(7.0, abs=0.5)
    timer.content()
    assert left(timer.waiting()) == pytest.approx(4.0, abs=0.5)
    assert timer.expired() is K.STALLED
    assert left(timer.waiting(1.0)) == pytest.approx(1.0, abs=0.5)
    clock.now += 3
    assert left(timer.waiting()) == pytest.approx(1.0, abs=0.5)
    # What the consumer takes is not the provider's.
    timer.hold()
    clock.now += 3
    timer.resume()
    assert left(timer.waiting()) == pytest.approx(1.0, abs=0.5)
    timer.content()
    assert left(timer.waiting()) == pytest.approx(3.0, abs=0.5)
    assert timer.expired() is K.DEADLINE
    assert timer.clip(5.0) == pytest.approx(3.0)
    clock.now += 4
    assert left(timer.waiting()) == pytest.approx(0.0, abs=0.5)


async def test_a_whole_answer_may_have_a_limit_of_its_own() -> None:
    limits = Limits(response_s=60.0)
    assert left(CallTimer(limits, FakeClock(), stream=False).waiting()) == pytest.approx(60.0, abs=0.5)
    assert left(CallTimer(limits, FakeClock(), stream=True).waiting()) == pytest.approx(10.0, abs=0.5)
    endless = Limits(first_token_s=float("inf"), inter_token_s=float("inf"))
    assert left(CallTimer(endless, FakeClock(), stream=True).waiting()) is None
