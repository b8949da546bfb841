"""HTTP/2 as it should not be, and what the decision port makes of it; none of it harms another connection."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gc
import resource
import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import h2.errors
import h2.events
import h2.settings
import pytest
from turnout.v1.routing_pb2 import RouteRequest, RouteResponse
from turnout_server.doors.decision_port.port import DecisionPort, Limits
from turnout_server.settings import Settings

from tests.server.decision_port.conftest import RunningPort, started_port
from tests.server.decision_port.raw_client import ROUTE, RawClient, framed, headers_of, raw_frame

MESSAGE = RouteRequest(prompt="hello").SerializeToString()


async def run(check: Callable[[int], None], running: RunningPort) -> None:
    """Runs a blocking check beside the loop, and then sees that others are served as before."""
    await asyncio.to_thread(check, running.number)
    assert (await running.stub.Route(RouteRequest(prompt="hello"), timeout=20)).tier


def answer_of(body: bytes) -> RouteResponse:
    assert body[0] == 0
    assert struct.unpack(">I", body[1:5])[0] == len(body) - 5
    return RouteResponse.FromString(body[5:])


async def test_a_call_byte_by_byte(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port, preface=False) as client:
            client.http.initiate_connection()
            stream = client.http.get_next_available_stream_id()
            client.http.send_headers(stream, headers_of())
            client.http.send_data(stream, framed(MESSAGE), end_stream=True)
            for byte in client.http.data_to_send():
                client.send(bytes([byte]))
            headers, body = client.result(stream)
            assert headers["grpc-status"] == "0"
            assert answer_of(body).tier

    await run(check, running_port)


async def test_a_message_over_many_frames(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            stream = client.start()
            for byte in framed(MESSAGE):
                client.http.send_data(stream, bytes([byte]))
            client.http.send_data(stream, b"", end_stream=True)
            client.flush()
            headers, body = client.result(stream)
            assert headers[":status"] == "200"
            assert headers["content-type"] == "application/grpc"
            assert headers["grpc-status"] == "0"
            assert answer_of(body).tier

    await run(check, running_port)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", "13"),
        (b"\0\0\0\0", "13"),
        (framed(MESSAGE)[:-1], "13"),
        (framed(MESSAGE) + b"\0", "13"),
        (framed(MESSAGE) * 2, "13"),
        (framed(MESSAGE, compressed=1), "13"),
        (framed(MESSAGE, compressed=7), "13"),
        (b"\0\xff\xff\xff\xff", "13"),
        (framed(b""), "3"),
        (framed(b"\xff\xff"), "3"),
    ],
)
async def test_a_body_that_is_no_message_fails_its_call_alone(
    running_port: RunningPort, body: bytes, status: str
) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            stream = client.start()
            client.http.send_data(stream, body, end_stream=True)
            client.flush()
            assert client.result(stream)[0]["grpc-status"] == status
            headers, answered = client.result(client.ask(MESSAGE))
            assert headers["grpc-status"] == "0"
            assert answer_of(answered).tier

    await run(check, running_port)


@pytest.mark.parametrize(
    ("extra", "method", "expected"),
    [
        ([("content-type", "text/html")], "POST", {":status": "415"}),
        ([("content-type", "application/grpcweb")], "POST", {":status": "415"}),
        ([], "GET", {":status": "405"}),
        ([("grpc-encoding", "gzip")], "POST", {"grpc-status": "12", "grpc-accept-encoding": "identity"}),
        ([("grpc-encoding", "identity")], "POST", {"grpc-status": "0"}),
        ([("content-type", "application/grpc+proto")], "POST", {"grpc-status": "0"}),
        ([("content-type", "application/grpc;charset=utf-8")], "POST", {"grpc-status": "0"}),
        ([("grpc-timeout", "1n")], "POST", {"grpc-status": "4"}),
        ([("grpc-timeout", "20S")], "POST", {"grpc-status": "0"}),
        ([("grpc-timeout", "99999999H")], "POST", {"grpc-status": "0"}),
        ([("grpc-timeout", "soon")], "POST", {"grpc-status": "0"}),
    ],
)
async def test_headers_decide(
    running_port: RunningPort, extra: list[tuple[str, str]], method: str, expected: dict[str, str]
) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            stream = client.start(*extra, method=method)
            client.http.send_data(stream, framed(MESSAGE), end_stream=True)
            client.flush()
            headers, _ = client.result(stream)
            assert headers | expected == headers

    await run(check, running_port)


async def test_too_many_headers_end_the_call(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            stream = client.start(*[(f"x-{i}", "v" * 200) for i in range(100)])
            client.wait_for(h2.events.StreamReset, stream)
            assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

    await run(check, running_port)


async def test_no_more_streams_than_allowed(port_settings: Settings, log: object) -> None:
    limits = dataclasses.replace(Limits.of(port_settings), max_streams=3)
    async with started_port(port_settings, limits=limits) as running:

        def check(port: int) -> None:
            with RawClient(port) as client:
                settings = client.wait_for(h2.events.RemoteSettingsChanged).changed_settings
                code = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
                assert settings[code].new_value == 3
                for _ in range(3):
                    client.start()
                assert client.http.open_outbound_streams == 3

        await run(check, running)


async def test_what_is_no_http2_is_hung_up_on(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + b"\0" * 100, b"\0" * 1000):
            with RawClient(port, preface=False) as client:
                client.send(garbage)
                data = b"x"
                client.socket.settimeout(20)
                try:
                    while data:
                        data = client.socket.recv(4096)
                except ConnectionError:
                    pass

    await run(check, running_port)


async def test_rapid_resets_end_the_connection(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            for _ in range(30_000):
                if client.is_closed:
                    break
                stream = client.http.get_next_available_stream_id()
                client.http.send_headers(stream, headers_of())
                client.http.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                client.flush()
            ended = client.wait_for(h2.events.ConnectionTerminated)
            assert ended.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
            client.wait_closed()

    await run(check, running_port)


async def test_endless_continuations_end_the_connection(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            client.send(raw_frame(1, 0, 1, b"\x82"))
            for _ in range(5000):
                client.send(raw_frame(9, 0, 1))
            client.wait_closed()

    await run(check, running_port)


async def test_endless_empty_frames_end_the_connection(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            client.start()
            for _ in range(5000):
                client.send(raw_frame(0, 0, 1))
            client.wait_closed()

    await run(check, running_port)


async def test_too_many_pings_end_the_connection(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            for _ in range(10):
                client.http.ping(b"12345678")
                client.flush()
            ended = client.wait_for(h2.events.ConnectionTerminated)
            assert ended.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
            assert ended.additional_data == b"too_many_pings"

    await run(check, running_port)


async def test_a_ping_is_answered(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            client.http.ping(b"12345678")
            client.flush()
            assert client.wait_for(h2.events.PingAckReceived).ping_data == b"12345678"

    await run(check, running_port)


async def test_patience_ends(port_settings: Settings, log: object) -> None:
    """A peer that says nothing, one that never finishes a request, one that answers no PING, one that reads nothing."""
    limits = dataclasses.replace(
        Limits.of(port_settings), handshake_s=0.3, stall_s=0.5, keepalive_s=0.3, keepalive_timeout_s=0.3
    )
    async with started_port(port_settings, limits=limits) as running:

        def silent(port: int) -> None:
            with RawClient(port, preface=False) as client:
                client.wait_closed()

        def half_a_request(port: int) -> None:
            with RawClient(port) as client:
                stream = client.start()
                client.http.send_data(stream, framed(MESSAGE)[:-1])
                client.flush()
                client.wait_for(h2.events.StreamReset, stream)

        def half_of_no_grpc(port: int) -> None:
            with RawClient(port) as client:
                headers = [
                    pair for pair in headers_of(ROUTE, ("grpc-timeout", "1m")) if pair[0] != "content-type"
                ]
                client.http.send_headers(1, headers)
                client.flush()
                client.wait_for(h2.events.StreamReset, 1)

        def deaf_to_pings(port: int) -> None:
            with RawClient(port) as client:
                # Whatever h2 would answer stays unsent.
                client.flush = lambda: None  # type: ignore[method-assign]
                client.wait_closed()

        def never_reads(port: int) -> None:
            with RawClient(port) as client:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                window = 2**31 - 1 - 65_535
                client.http.increment_flow_control_window(window)
                client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
                client.flush()
                stream = client.start(path="/turnout.v1.RoutingService/RouteStream")
                item = b"\x12" + bytes([len(MESSAGE)]) + MESSAGE
                try:
                    while True:
                        client.http.send_data(stream, framed(item) * 100)
                        client.socket.settimeout(5)
                        client.socket.sendall(client.http.data_to_send())
                except (OSError, h2.exceptions.FlowControlError):
                    pass
                client.http = type(client.http)()
                # What had been sent is still to be read; behind it the server has hung up.
                client.socket.settimeout(20)
                try:
                    while client.socket.recv(1 << 20):
                        pass
                except ConnectionError:
                    pass

        checks = (silent, half_a_request, half_of_no_grpc, deaf_to_pings, never_reads)
        await asyncio.gather(*(asyncio.to_thread(check, running.number) for check in checks))
        assert (await running.stub.Route(RouteRequest(prompt="hello"), timeout=20)).tier


async def test_an_old_connection_is_sent_away_and_finishes(port_settings: Settings, log: object) -> None:
    limits = dataclasses.replace(Limits.of(port_settings), max_age_s=0.3)
    async with started_port(port_settings, limits=limits) as running:

        def check(port: int) -> None:
            with RawClient(port) as client:
                stream = client.start()
                client.wait_for(h2.events.ConnectionTerminated)
                # h2 takes no more calls after GOAWAY; the one that is open is answered all the same.
                data = raw_frame(0, 1, stream, framed(MESSAGE))
                client.send(data)
                client.read_to_the_end()

        await run(check, running)
        labels = ("unary", "turnout.v1.RoutingService", "Route")
        assert running.count("grpc_server_handled", *labels, "OK") == 2


async def test_overload_is_refused_with_a_time_to_come_back(port_settings: Settings, log: object) -> None:
    async with started_port(dataclasses.replace(port_settings, max_in_flight=5)) as running:

        def check(port: int) -> None:
            with RawClient(port) as client:
                streams = []
                for _ in range(100):
                    stream = client.http.get_next_available_stream_id()
                    client.http.send_headers(stream, headers_of())
                    client.http.send_data(stream, framed(MESSAGE), end_stream=True)
                    streams.append(stream)
                # In one piece, so that they all wait at once.
                client.flush()
                results = [client.result(stream)[0] for stream in streams]
            statuses = [result["grpc-status"] for result in results]
            assert statuses.count("0") >= 5
            assert statuses.count("8") == 100 - statuses.count("0") >= 50
            for refused in (result for result in results if result["grpc-status"] == "8"):
                assert 50 <= int(refused["grpc-retry-pushback-ms"]) <= 150
                details = refused["grpc-status-details-bin"]
                details_bytes = base64.b64decode(details + "=" * (-len(details) % 4))
                assert b"OVERLOADED" in details_bytes and b"RetryInfo" in details_bytes
            shed.append(statuses.count("8"))

        shed: list[int] = []
        await run(check, running)
        assert running.count("turnout_coverage", "shed") == shed[0]


async def test_a_full_queue_refuses_before_the_body_comes(port_settings: Settings, log: object) -> None:
    async with started_port(dataclasses.replace(port_settings, max_in_flight=5)) as running:

        def check(port: int) -> None:
            with RawClient(port) as client:
                for _ in range(5):
                    stream = client.http.get_next_available_stream_id()
                    client.http.send_headers(stream, headers_of())
                    client.http.send_data(stream, framed(MESSAGE), end_stream=True)
                bodiless = client.http.get_next_available_stream_id()
                client.http.send_headers(bodiless, headers_of())
                client.flush()
                assert client.result(bodiless)[0]["grpc-status"] == "8"

        await run(check, running)
        assert running.count("turnout_coverage", "shed") == 1


async def test_connections_beyond_the_limit_are_closed(port_settings: Settings, log: object) -> None:
    limits = dataclasses.replace(Limits.of(port_settings), max_connections=3)
    async with started_port(port_settings, limits=limits) as running:

        def check(port: int) -> None:
            clients = [RawClient(port) for _ in range(3)]
            for client in clients:
                assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"
            with RawClient(port) as extra:
                extra.wait_closed()
            for client in clients:
                client.close()

        await run(check, running)
        assert running.count("turnout_decision_port_refused_connections") == 1


async def test_out_of_descriptors_is_survived(port_settings: Settings, log: object) -> None:
    async with started_port(port_settings) as running:
        assert (await running.stub.Route(RouteRequest(prompt="hello"))).tier
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(list(Path("/proc/self/fd").iterdir()))
        waiting = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        try:
            waiting.settimeout(20)
            # The kernel accepts it; the listener cannot.
            waiting.connect(("127.0.0.1", running.number))
            assert (await running.stub.Route(RouteRequest(prompt="hello"), timeout=20)).tier
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        waiting.close()
        with RawClient(running.number) as client:
            headers, _ = await asyncio.to_thread(lambda: client.result(client.ask(MESSAGE)))
        assert headers["grpc-status"] == "0"


async def test_descriptors_are_given_back(port_settings: Settings, log: object) -> None:
    from turnout_fastpath import Engine
    from turnout_server.observability.metrics import Metrics
    from turnout_server.routing import Router

    settings = dataclasses.replace(port_settings, decision_threads=2)

    async def live() -> None:
        metrics = Metrics()
        port = DecisionPort(settings, Router(Engine.load(settings.bundle), metrics), metrics)
        number = await port.start()
        await port.open()

        def ask() -> None:
            with RawClient(number) as client:
                assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

        await asyncio.to_thread(ask)
        await port.stop()

    def descriptors() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    await live()
    before = descriptors()
    for _ in range(5):
        await live()
    assert descriptors() <= before


async def test_the_unused_rest_of_a_refused_request_is_not_wanted(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        with RawClient(port) as client:
            stream = client.start(path="/no.Such/Method")
            headers, _ = client.result(stream)
            assert headers["grpc-status"] == "12"
            assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

    await run(check, running_port)


async def test_calls_at_once_over_many_connections(running_port: RunningPort) -> None:
    def check(port: int) -> None:
        clients = [RawClient(port) for _ in range(20)]
        streams = [[client.ask(MESSAGE) for _ in range(20)] for client in clients]
        for client, own in zip(clients, streams, strict=True):
            for stream in own:
                headers, body = client.result(stream)
                assert headers["grpc-status"] == "0"
                assert answer_of(body).tier
            client.close()

    await run(check, running_port)


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, port_settings: Settings) -> None:
    from turnout_fastpath import Engine
    from turnout_server.doors.decision_port import port as module
    from turnout_server.doors.decision_port.listener import LibraryMissingError
    from turnout_server.lifecycle import UnavailableError
    from turnout_server.observability.metrics import Metrics
    from turnout_server.routing import Router

    def missing(*_: object, **__: object) -> None:
        raise LibraryMissingError("libnghttp2.so.14")

    monkeypatch.setattr(module, "Listener", missing)
    metrics = Metrics()
    port = DecisionPort(port_settings, Router(Engine.load(port_settings.bundle), metrics), metrics)
    starting: Coroutine[Any, Any, int] = port.start()
    with pytest.raises(UnavailableError, match=r"libnghttp2\.so\.14, which is not there: install Debian's"):
        asyncio.run(starting)


def test_the_path_of_route_is_the_contracts() -> None:
    from turnout.v1 import routing_pb2

    service = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"]
    assert f"/{service.full_name}/{service.methods[0].name}" == ROUTE
    assert grpc.StatusCode.UNIMPLEMENTED.value[0] == 12
