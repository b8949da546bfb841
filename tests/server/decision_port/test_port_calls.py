"""The decision port answers a stock gRPC client as the main port does."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from turnout.v1.routing_pb2 import (
    RouteBatchRequest,
    RouteRequest,
    RouteResponse,
    RouteStreamRequest,
)
from turnout_fastpath import Snapshot, StateBlock, compile_snapshot, load_policy
from turnout_server.doors.decision_port.port import Limits
from turnout_server.settings import Settings

from tests.server.compiled.wire_soup import ordinary_request
from tests.server.conftest import Running, read_log, started
from tests.server.decision_port.conftest import RunningPort, started_port

PROMPT = "write a python function that sorts a list"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def both(port_settings: Settings, log: object) -> AsyncIterator[tuple[RunningPort, Running]]:
    async with started_port(port_settings) as port, started(port_settings) as main:
        yield port, main


async def outcome(call: Any) -> tuple[Any, ...]:
    """An answer, or how a call failed: all that a caller sees of it but times, identifiers and retry delays."""
    try:
        return (_comparable(await call),)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details(), trailers(error).get("grpc-status-details-bin")


def trailers(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    found: Any = error.trailing_metadata() or ()
    return dict(found)


def _comparable(response: RouteResponse) -> str:
    copy = RouteResponse()
    copy.CopyFrom(response)
    copy.decision_ns = 0
    return str(copy)


async def test_any_request_has_the_main_ports_answer(both: tuple[RunningPort, Running]) -> None:
    port, main = both
    seen = set()
    for case in range(300):
        request = ordinary_request(Random(f"both {case}"))
        request.decision_id = Random(case).randbytes(16).hex()
        request.explain = case % 10 == 0
        mine, other = await asyncio.gather(
            outcome(port.stub.Route(request)), outcome(main.stub.Route(request))
        )
        assert mine == other, request
        seen.add(type(mine[0]))
    assert seen == {str, grpc.StatusCode}


async def test_broken_bytes_have_the_main_ports_answer(both: tuple[RunningPort, Running]) -> None:
    port, main = both
    for data in (b"", b"\xff", b"\x0a\x02\xff\xfe", b"\x0b\x0c", b"\x0a\x05ab"):
        results = [
            await outcome(channel.unary_unary("/turnout.v1.RoutingService/Route", None, None)(data))
            for channel in (port.channel, main.channel)
        ]
        assert results[0] == results[1]
        assert results[0][0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_batch_has_the_main_ports_answers(both: tuple[RunningPort, Running]) -> None:
    port, main = both
    requests = [ordinary_request(Random(f"batch {case}")) for case in range(200)]
    for number, request in enumerate(requests):
        request.decision_id = Random(number).randbytes(16).hex()
    batch = RouteBatchRequest(requests=requests)
    mine, other = await asyncio.gather(port.stub.RouteBatch(batch), main.stub.RouteBatch(batch))
    for results in (mine.results, other.results):
        for result in results:
            if result.HasField("response"):
                result.response.decision_ns = 0
    assert mine == other
    assert {result.WhichOneof("result") for result in mine.results} == {"response", "error"}
    for wrong in (RouteBatchRequest(), RouteBatchRequest(requests=[RouteRequest(prompt="x")] * 1025)):
        assert await outcome(port.stub.RouteBatch(wrong)) == await outcome(main.stub.RouteBatch(wrong))


async def test_a_batch_of_the_most_requests(running_port: RunningPort) -> None:
    batch = RouteBatchRequest(requests=[RouteRequest(prompt=f"question {i}") for i in range(1024)])
    results = (await running_port.stub.RouteBatch(batch)).results
    assert [result.response.digest for result in results] == [
        running_port.engine.route(f"question {i}").digest for i in range(1024)
    ]
    assert running_port.count("turnout_coverage", "decided") == 1024


async def test_a_stream_answers_in_order_as_items_come(running_port: RunningPort) -> None:
    stream = running_port.stub.RouteStream()
    for number in range(50):
        await stream.write(
            RouteStreamRequest(correlation_id=f"c{number}", request=RouteRequest(prompt=str(number)))
        )
        answer = await stream.read()
        assert answer.correlation_id == f"c{number}"
        assert answer.result.response.digest == running_port.engine.route(str(number)).digest
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF  # type: ignore[attr-defined]
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_stream_far_ahead_of_its_reader_is_all_answered(running_port: RunningPort) -> None:
    n = 5000
    stream = running_port.stub.RouteStream()

    async def send() -> None:
        for number in range(n):
            request = RouteRequest(prompt=f"{number} " * 20)
            await stream.write(RouteStreamRequest(correlation_id=str(number), request=request))
        await stream.done_writing()

    sending = asyncio.create_task(send())
    # The answers' window fills meanwhile.
    await asyncio.sleep(0.2)
    got = [answer.correlation_id async for answer in stream]
    await sending
    assert got == [str(number) for number in range(n)]


async def test_items_of_a_stream_fail_alone(both: tuple[RunningPort, Running]) -> None:
    items = [
        RouteStreamRequest(correlation_id="a", request=RouteRequest(prompt="x")),
        RouteStreamRequest(correlation_id="b"),
        RouteStreamRequest(correlation_id="c" * 129, request=RouteRequest(prompt="x")),
        RouteStreamRequest(correlation_id="d" * 128, request=RouteRequest(prompt="x")),
        RouteStreamRequest(request=RouteRequest(prompt="y", policy="unknown")),
        RouteStreamRequest(request=RouteRequest(prompt="z", explain=True)),
    ]
    answers = []
    for server in both:
        stream = server.stub.RouteStream(iter(items))
        answers.append([(a.correlation_id, a.result.error, a.result.response.digest) async for a in stream])
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(items)


async def test_an_empty_stream_is_no_error(running_port: RunningPort) -> None:
    assert [answer async for answer in running_port.stub.RouteStream(iter([]))] == []


async def test_a_passed_deadline_is_told(running_port: RunningPort) -> None:
    channel = running_port.channel
    # Set by hand: a client gives up by itself.
    call = channel.unary_unary("/turnout.v1.RoutingService/Route", None, None)
    code, message, _ = await outcome(call(b"\n\x01x", metadata=[("grpc-timeout", "1n")]))
    assert (code, message) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "the deadline passed before a decision was made",
    )


async def test_too_little_time_leaves_rules_only(running_port: RunningPort) -> None:
    response = await running_port.stub.Route(RouteRequest(prompt="x", policy="hasty"), timeout=30)
    assert response.status == 3
    response = await running_port.stub.Route(RouteRequest(prompt="x"), timeout=30)
    assert response.status != 3
    assert running_port.count("turnout_coverage", "defaulted") == 1


async def test_health_is_told_and_watched(port_settings: Settings, log: object) -> None:
    async with started_port(port_settings, opened=False) as running:
        service = HealthCheckRequest(service="turnout.v1.RoutingService")
        watch = running.health.Watch(service)
        assert (await watch.read()).status == NOT_SERVING
        assert (await running.health.Check(HealthCheckRequest())).status == NOT_SERVING
        code, _, details = await outcome(running.stub.Route(RouteRequest(prompt="x")))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert details
        await running.port.open()
        assert (await watch.read()).status == SERVING
        assert (await running.health.Check(service)).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.health.Check(HealthCheckRequest(service="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        unknown = running.health.Watch(HealthCheckRequest(service="other"))
        assert (await unknown.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()
        draining = asyncio.create_task(running.port.drain())
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        await draining


async def test_a_drain_finishes_what_is_under_way(port_settings: Settings, log: object) -> None:
    async with started_port(port_settings) as running:
        stream = running.stub.RouteStream()
        await stream.write(RouteStreamRequest(request=RouteRequest(prompt="before")))
        assert (await stream.read()).result.response.tier
        draining = asyncio.create_task(running.port.drain())
        await asyncio.sleep(0.3)
        await stream.write(RouteStreamRequest(request=RouteRequest(prompt="meanwhile")))
        assert (await stream.read()).result.response.tier
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
        await draining


async def test_overload_is_refused_with_a_time_to_come_back(port_settings: Settings, log: object) -> None:
    settings = dataclasses.replace(port_settings, max_in_flight=1)
    async with started_port(settings) as running:
        request = RouteRequest(prompt="why " * 100_000)
        results = await asyncio.gather(*(outcome(running.stub.Route(request)) for _ in range(50)))
        codes = [result[0] for result in results]
        shed = codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert 0 < shed < 50
        assert all(isinstance(code, str) or code is grpc.StatusCode.RESOURCE_EXHAUSTED for code in codes)
        assert running.count("turnout_coverage", "shed") == shed
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.gather(*(running.stub.Route(request) for _ in range(50)))
        metadata = trailers(caught.value)
        assert 50 <= int(metadata["grpc-retry-pushback-ms"]) <= 150
        assert b"OVERLOADED" in metadata["grpc-status-details-bin"]
        assert b"RetryInfo" in metadata["grpc-status-details-bin"]


async def test_compressed_messages_are_refused(running_port: RunningPort) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running_port.stub.Route(RouteRequest(prompt="x" * 5000), compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_unknown_method_is_unimplemented(running_port: RunningPort) -> None:
    for path in ("/turnout.v1.RoutingService/Other", "/x.Y/Z"):
        code, _, _ = await outcome(running_port.channel.unary_unary(path, None, None)(b""))
        assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_above_the_limit_is_refused(port_settings: Settings, log: object) -> None:
    limits = dataclasses.replace(Limits.of(port_settings), max_message_bytes=10_000)
    async with started_port(port_settings, limits=limits) as running:
        code, message, _ = await outcome(running.stub.Route(RouteRequest(prompt="x" * 20_000)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than the limit" in message
        assert (await running.stub.Route(RouteRequest(prompt="x" * 9000))).tier


async def test_the_longest_text_is_decided(running_port: RunningPort) -> None:
    text = "word " * ((4 << 20) // 5)
    response = await running_port.stub.Route(RouteRequest(prompt=text))
    assert response.truncated
    assert response.digest == running_port.engine.route(text).digest


async def test_decisions_and_calls_are_counted(running_port: RunningPort) -> None:
    for _ in range(20):
        await running_port.stub.Route(RouteRequest(prompt=PROMPT))
    with contextlib.suppress(grpc.aio.AioRpcError):
        await running_port.stub.Route(RouteRequest(prompt=PROMPT, policy="unknown"))
    labels = ("unary", "turnout.v1.RoutingService", "Route")
    assert running_port.count("grpc_server_started", *labels) == 21
    assert running_port.count("grpc_server_handled", *labels, "OK") == 20
    assert running_port.count("grpc_server_handled", *labels, "INVALID_ARGUMENT") == 1
    assert running_port.count("grpc_server_handling_seconds", *labels) == 21
    assert running_port.count("turnout_coverage", "decided") == 20
    assert running_port.count("turnout_decision_seconds") == 20
    assert running_port.count("turnout_errors", "UNKNOWN_POLICY") == 1
    decision = running_port.engine.route(PROMPT)
    assert running_port.count("turnout_decisions", "default", decision.tier, "decided") == 20
    for reason in decision.reasons:
        assert running_port.count("turnout_reasons", reason.kind.name.lower(), reason.id) == 20


async def test_sampled_decisions_are_logged(port_settings: Settings, log: io.TextIOWrapper) -> None:
    async with started_port(dataclasses.replace(port_settings, log_sample=0.5)) as running:
        for number in range(200):
            await running.stub.Route(RouteRequest(prompt=f"{number} secret"))
        assert running.count("turnout_coverage", "decided") == 200
    lines = [line for line in read_log(log) if line["event"] == "decision_made"]
    # 200 draws of a half: outside these bounds once in 10^8 runs.
    assert 60 < len(lines) < 140
    assert b"secret" not in log.buffer.getvalue()  # type: ignore[attr-defined]


async def test_a_new_snapshot_is_used_without_a_failed_call(
    port_settings: Settings, log: object, bundle: Path
) -> None:
    document = load_policy()
    document["tiers"][0]["name"] = "tiny"
    document["policies"]["default"]["bars"] = {**document["policies"]["default"]["bars"], "tiers": {}}

    def renamed() -> Snapshot:
        return compile_snapshot(bundle, document, StateBlock())

    async with started_port(dataclasses.replace(port_settings, decision_threads=2)) as running:
        stop = asyncio.Event()
        tiers: list[str] = []

        async def ask() -> None:
            while not stop.is_set():
                response = await running.stub.Route(RouteRequest(prompt=PROMPT))
                tiers.append(response.candidates[0].tier)

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for _ in range(10):
            await running.port.install(renamed())
            await asyncio.sleep(0.02)
            running.port.sums()
        stop.set()
        await asyncio.gather(*asking)
        assert tiers[-1] == "tiny"
        assert running.count("turnout_coverage", "decided") == len(tiers)


async def test_a_unix_socket_serves_as_well(port_settings: Settings, log: object, tmp_path: Path) -> None:
    path = tmp_path / "decide.sock"
    settings = dataclasses.replace(port_settings, decision_socket=path)
    async with started_port(settings) as running, grpc.aio.insecure_channel(f"unix:{path}") as channel:
        call = channel.unary_unary(
            "/turnout.v1.RoutingService/Route", RouteRequest.SerializeToString, RouteResponse.FromString
        )
        assert (await call(RouteRequest(prompt=PROMPT))).digest == running.engine.route(PROMPT).digest
    assert not path.exists()


async def test_cancelled_calls_leave_nothing(running_port: RunningPort) -> None:
    for number in range(300):
        stream = running_port.stub.RouteStream()
        await stream.write(RouteStreamRequest(request=RouteRequest(prompt=f"{number} " * 50)))
        stream.cancel()
    assert (await running_port.stub.Route(RouteRequest(prompt=PROMPT))).tier
    del stream
    await running_port.hang_up()
    deadline = time.monotonic() + 20
    while running_port.port.connections and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert running_port.port.connections == 0
    labels = ("bidi_stream", "turnout.v1.RoutingService", "RouteStream")
    ended = sum(running_port.count("grpc_server_handled", *labels, code) for code in ("OK", "CANCELLED"))
    assert ended == running_port.count("grpc_server_started", *labels)


async def test_descriptors_are_given_back(port_settings: Settings, log: object) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with started_port(port_settings) as warm:
        await warm.stub.Route(RouteRequest(prompt="x"))
        await warm.hang_up()
    before = descriptors()
    for _ in range(5):
        async with started_port(dataclasses.replace(port_settings, decision_threads=2)) as running:
            await running.stub.Route(RouteRequest(prompt="x"))
            await running.hang_up()
    assert descriptors() <= before + 2
