"""Bounds that a caller meets at the decision port: of messages, of memory, of patience; and what is counted then."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import struct
import time

import grpc
import h2.events
import h2.settings
import pytest
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteStreamRequest, RouteStreamResponse
from turnout_server.doors.decision_port.port import Limits
from turnout_server.settings import Settings

from tests.server.decision_port.conftest import RunningPort, started_port
from tests.server.decision_port.raw_client import RawClient, framed, headers_of, raw_frame

MESSAGE = RouteRequest(prompt="hello").SerializeToString()
STREAM = "/turnout.v1.RoutingService/RouteStream"
BATCH = "/turnout.v1.RoutingService/RouteBatch"


async def run(check: object, running: RunningPort) -> None:
    await asyncio.to_thread(check, running.number)  # type: ignore[arg-type]
    assert (await running.stub.Route(RouteRequest(prompt="hello"), timeout=20)).tier


async def test_a_streams_item_may_be_larger_than_the_window(running_port: RunningPort) -> None:
    """A window that opened only as items are decided would never let such an item in."""
    items = [
        RouteStreamRequest(correlation_id=str(size), request=RouteRequest(prompt="word " * (size // 5)))
        for size in (10, 2 << 20, 10, 3 << 20, 3 << 20, 10)
    ]
    async with asyncio.timeout(30):
        answers = [answer async for answer in running_port.stub.RouteStream(iter(items))]
    assert [answer.correlation_id for answer in answers] == [item.correlation_id for item in items]
    assert all(answer.result.response.tier for answer in answers)


async def test_the_limit_of_a_message_is_no_limit_of_what_waits(port_settings: Settings, log: object) -> None:
    limits = dataclasses.replace(Limits.of(port_settings), max_message_bytes=1000)
    async with started_port(port_settings, limits=limits) as running:
        item = RouteStreamRequest(request=RouteRequest(prompt="x" * 500)).SerializeToString()

        def in_one_piece(port: int) -> None:
            with RawClient(port) as client:
                stream = client.start(path=STREAM)
                body = framed(item) * 25
                client.http.send_data(stream, body, end_stream=True)
                client.flush()
                headers, answered = client.result(stream)
                assert headers["grpc-status"] == "0"
                assert len(messages_of(answered)) == 25

        def too_large(port: int) -> None:
            with RawClient(port) as client:
                stream = client.start(path=STREAM)
                client.http.send_data(stream, framed(item) + b"\0" + struct.pack(">I", 1001))
                client.flush()
                headers, _ = client.result(stream)
                assert headers["grpc-status"] == "8"

        await run(in_one_piece, running)
        await run(too_large, running)


def messages_of(body: bytes) -> list[RouteStreamResponse]:
    found = []
    while body:
        size = 5 + int(struct.unpack(">I", body[1:5])[0])
        found.append(RouteStreamResponse.FromString(body[5:size]))
        body = body[size:]
    return found


async def test_padding_costs_no_window(running_port: RunningPort) -> None:
    """Padding counts for flow control (RFC 9113, section 6.1), of open streams and of those that are over."""

    def check(port: int) -> None:
        with RawClient(port) as client:
            open_stream = client.start(path=STREAM)
            over = client.start(path="/no.Such/Method")
            client.result(over)
            # Twice the connection's window, and of the stream's far more.
            padded = raw_frame(0, 8, open_stream, b"\xff" + b"\0" * 255)
            ended = raw_frame(0, 8, over, b"\xff" + b"\0" * 255)
            for _ in range((16 << 20) // (256 * 1000)):
                client.send(padded * 500 + ended * 500)
                # One request and its answer: no more is on its way than the windows hold.
                assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

    await run(check, running_port)


async def test_a_caller_that_reads_nothing_is_not_read_either(port_settings: Settings, log: object) -> None:
    """What a connection makes the server say is bounded: refused streams, answers, acknowledgements."""
    async with started_port(port_settings) as running:

        def check(port: int) -> None:
            with RawClient(port) as client:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                # Settings are never acknowledged: streams beyond the limit are refused one by one.
                block = client.http.encoder.encode(headers_of())
                sent, number = 0, 1
                client.socket.settimeout(2)
                try:
                    while sent < 64 << 20:
                        frames = b"".join(raw_frame(1, 4, number + 2 * i, block) for i in range(1000))
                        number += 2000
                        client.socket.sendall(frames)
                        sent += len(frames)
                except TimeoutError:
                    pass
                assert sent < 64 << 20

        await run(check, running)


async def test_answers_that_nobody_reads_are_bounded(port_settings: Settings, log: object) -> None:
    limits = dataclasses.replace(Limits.of(port_settings), max_buffered_bytes=1 << 18)
    async with started_port(port_settings, limits=limits) as running:
        batch = RouteBatchRequest(requests=[RouteRequest(prompt="x")] * 256).SerializeToString()

        def check(port: int) -> None:
            with RawClient(port) as client:
                client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
                client.flush()
                streams = [client.ask(batch, BATCH) for _ in range(40)]
                for stream in streams:
                    client.wait_for(h2.events.ResponseReceived, stream)
                # An answer that waits to be read has not ended; a refusal has.
                refused = sum(isinstance(event, h2.events.StreamEnded) for event in client.events)
                assert 0 < refused < len(streams)

        await run(check, running)


async def test_pings_between_answers_are_no_flood(running_port: RunningPort) -> None:
    """Clients of gRPC measure the connection by PINGs while answers arrive."""

    def check(port: int) -> None:
        with RawClient(port) as client:
            client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 100})
            client.flush()
            stream = client.start(path=STREAM)
            item = RouteStreamRequest(request=RouteRequest(prompt="x")).SerializeToString()
            client.http.send_data(stream, framed(item) * 10)
            client.flush()
            for _ in range(10):
                client.wait_for(h2.events.DataReceived, stream)
                client.http.increment_flow_control_window(100, stream)
                client.http.ping(b"12345678")
                client.flush()
                client.wait_for(h2.events.PingAckReceived)
            assert not [e for e in client.events if isinstance(e, h2.events.ConnectionTerminated)]

    await run(check, running_port)


async def test_more_pings_do_not_put_off_the_end(port_settings: Settings, log: object) -> None:
    limits = dataclasses.replace(Limits.of(port_settings), age_grace_s=0.5)
    async with started_port(port_settings, limits=limits) as running:

        def check(port: int) -> None:
            with RawClient(port) as client:
                client.start(path=STREAM)
                deadline = time.monotonic() + 10
                client.socket.settimeout(0.05)
                while time.monotonic() < deadline:
                    client.send(raw_frame(6, 0, 0, b"12345678"))
                    try:
                        if not client.socket.recv(65_536):
                            return
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        return
                pytest.fail("the connection outlives its end")

        await run(check, running)


async def test_what_a_child_process_holds_open_is_forgotten(running_port: RunningPort) -> None:
    """A socket that a forked child shares stays in epoll when its number is closed."""

    def check(port: int) -> None:
        with RawClient(port) as client:
            assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(write_end)
                os.read(read_end, 1)
                os._exit(0)
            os.close(read_end)
            try:
                # A frame on stream 0 that may not be there: the server hangs up.
                client.send(raw_frame(0, 0, 0, b"x"))
                time.sleep(0.3)
                for _ in range(50):
                    client.send(b"\0" * 100)
                    time.sleep(0.01)
            finally:
                os.close(write_end)
                os.waitpid(child, 0)

    await run(check, running_port)


async def test_what_a_stop_cuts_off_is_counted(port_settings: Settings, log: object) -> None:
    async with started_port(port_settings) as running:
        stream = running.stub.RouteStream()
        await stream.write(RouteStreamRequest(request=RouteRequest(prompt="x")))
        assert (await stream.read()).result.response.tier
        await running.port.stop()
        labels = ("bidi_stream", "turnout.v1.RoutingService", "RouteStream")
        assert running.count("grpc_server_started", *labels) == 1
        assert running.count("grpc_server_handled", *labels, "CANCELLED") == 1
        assert running.count("turnout_decision_port_connections") == 0
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stub.Route(RouteRequest(prompt="x"), timeout=5)
        stream.cancel()
