"""Callers beyond what the decision port admits: each is told, with a time to come back, and counted; each comes through."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections import Counter

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from turnout.v1.routing_pb2 import DecisionStatus, RouteRequest, RouteResponse
from turnout_server.doors.admission import RETRY_AFTER_S
from turnout_server.settings import Settings

from tests.server.decision_port.conftest import RunningPort, started_port
from tests.server.decision_port.raw_client import RawClient, framed, headers_of

LIMIT = 8
CONNECTIONS = 4
# Of one that comes back at once: far more than chance needs, far fewer than a starved one would make.
MAX_ATTEMPTS = 200
OUTCOMES = ("decided", "abstained", "defaulted")
MESSAGES = [
    RouteRequest(prompt=prompt).SerializeToString()
    for prompt in ("write a function that sorts a list", "zxqv wvkjq xqzzt " * 10)
]


def send_at_once(client: RawClient, n: int) -> list[dict[str, str]]:
    """Makes `n` calls in one piece; what headers and trailers said of each, and the outcome of those that were decided."""
    streams = []
    for i in range(n):
        stream = client.http.get_next_available_stream_id()
        client.http.send_headers(stream, headers_of())
        client.http.send_data(stream, framed(MESSAGES[i % len(MESSAGES)]), end_stream=True)
        streams.append(stream)
    client.flush()
    answers = []
    for stream in streams:
        headers, body = client.result(stream)
        if headers["grpc-status"] == "0":
            headers["outcome"] = DecisionStatus.Name(RouteResponse.FromString(body[5:]).status)
        answers.append(headers)
    return answers


def check_refusal(headers: dict[str, str]) -> None:
    """A refusal says when to come back, in both ways that clients read."""
    least_s, most_s = RETRY_AFTER_S
    assert headers["grpc-status"] == "8"
    pushback_ms = int(headers["grpc-retry-pushback-ms"])
    assert least_s * 1000 <= pushback_ms <= most_s * 1000
    packed = headers["grpc-status-details-bin"]
    status = Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
    assert status.code == 8
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(retry)
    assert (info.reason, dict(info.metadata)) == ("OVERLOADED", {"limit": str(LIMIT)})
    assert retry.retry_delay.ToMilliseconds() == pushback_ms


def coverage(running: RunningPort) -> Counter[str]:
    return Counter({name: int(running.count("turnout_coverage", name)) for name in (*OUTCOMES, "shed")})


def come_through(port: int, calls: int) -> tuple[int, list[dict[str, str]]]:
    """Makes calls until each is decided, the refused ones again at once; how often it had to, and all answers."""
    answers: list[dict[str, str]] = []
    attempts = 0
    with RawClient(port) as client:
        while calls:
            attempts += 1
            assert attempts <= MAX_ATTEMPTS, "a connection is starved"
            said = send_at_once(client, calls)
            answers += said
            calls = sum(headers["grpc-status"] != "0" for headers in said)
    return attempts, answers


@pytest.mark.parametrize("times", [2, 4])
async def test_beyond_the_limit_nobody_is_left_without_an_answer(
    port_settings: Settings, log: object, times: int
) -> None:
    async with started_port(dataclasses.replace(port_settings, max_in_flight=LIMIT)) as running:
        before = coverage(running)
        each = times * LIMIT // CONNECTIONS
        calls = (
            # One connection alone goes beyond the limit by itself.
            asyncio.to_thread(come_through, running.number, times * LIMIT),
            *(asyncio.to_thread(come_through, running.number, each) for _ in range(CONNECTIONS)),
        )
        done = await asyncio.gather(*calls)
        answers = [headers for _, connection in done for headers in connection]
        refused = [headers for headers in answers if headers["grpc-status"] != "0"]
        assert refused
        for headers in refused:
            check_refusal(headers)
        assert len(answers) - len(refused) == times * LIMIT + each * CONNECTIONS
        counted = coverage(running) - before
        # What callers saw and what is counted are the same, and all of it.
        assert counted["shed"] == len(refused)
        assert sum(counted.values()) == len(answers)
        seen = Counter(
            headers["outcome"].removeprefix("DECISION_STATUS_").lower()
            for headers in answers
            if headers["grpc-status"] == "0"
        )
        assert {name: counted[name] for name in OUTCOMES if counted[name]} == dict(seen)
        labels = ("unary", "turnout.v1.RoutingService", "Route")
        assert running.count("grpc_server_handled", *labels, "RESOURCE_EXHAUSTED") == len(refused)


async def test_a_connection_beside_one_that_floods_is_served(port_settings: Settings, log: object) -> None:
    """Its share of reads and decisions does not wait for the flood's end."""
    async with started_port(dataclasses.replace(port_settings, max_in_flight=LIMIT)) as running:
        stopped = False

        def flood() -> Counter[str]:
            seen: Counter[str] = Counter()
            with RawClient(running.number) as client:
                while not stopped:
                    said = send_at_once(client, 4 * LIMIT)
                    for headers in said:
                        if headers["grpc-status"] != "0":
                            check_refusal(headers)
                    seen.update(headers["grpc-status"] for headers in said)
            return seen

        before = coverage(running)
        flooding = asyncio.create_task(asyncio.to_thread(flood))
        try:
            asked = [await asyncio.to_thread(come_through, running.number, 1) for _ in range(20)]
        finally:
            stopped = True
        seen = await flooding
        assert seen["8"] and seen["0"]
        mine = [headers for _, answers in asked for headers in answers]
        counted = coverage(running) - before
        assert sum(counted.values()) == sum(seen.values()) + len(mine)
