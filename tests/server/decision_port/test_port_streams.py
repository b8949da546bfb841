"""Streams of HTTP/2 as gRPC's calls use them, which h2spec's requests, no calls of gRPC, do not reach (RFC 9113)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import h2.errors
import h2.events
import pytest
from turnout.v1.routing_pb2 import RouteRequest
from turnout_server.doors.decision_port.port import Limits
from turnout_server.settings import Settings

from tests.server.decision_port.conftest import RunningPort, started_port
from tests.server.decision_port.raw_client import RawClient, framed, headers_of, raw_frame

MESSAGE = RouteRequest(prompt="hello").SerializeToString()
DATA, HEADERS, RST_STREAM = 0, 1, 3
END_STREAM, END_HEADERS = 1, 4
Codes = h2.errors.ErrorCodes


async def run(check: Callable[[RawClient], None], running: RunningPort) -> None:
    """Runs a check on a connection of its own, and then sees that others are served as before."""

    def connect() -> None:
        with RawClient(running.number) as client:
            check(client)

    await asyncio.to_thread(connect)
    assert (await running.stub.Route(RouteRequest(prompt="hello"), timeout=20)).tier


def send_call(client: RawClient, stream: int) -> None:
    """A call on a stream that h2 would not choose."""
    block = client.http.encoder.encode(headers_of())
    client.send(raw_frame(HEADERS, END_HEADERS, stream, block))
    client.send(raw_frame(DATA, END_STREAM, stream, framed(MESSAGE)))


def goodbye(client: RawClient) -> h2.events.ConnectionTerminated:
    """What the server ends the connection with."""
    ended: h2.events.ConnectionTerminated = client.wait_for(h2.events.ConnectionTerminated)
    client.wait_closed()
    return ended


async def test_a_stream_that_was_skipped_comes_too_late(running_port: RunningPort) -> None:
    """Section 5.1.1. Passed over in silence, its caller would wait for ever."""

    def check(client: RawClient) -> None:
        assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"
        client.http.get_next_available_stream_id()
        client.http.highest_outbound_stream_id = 7
        assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"
        send_call(client, 5)
        assert goodbye(client).error_code == Codes.PROTOCOL_ERROR

    await run(check, running_port)


async def test_streams_may_be_skipped(running_port: RunningPort) -> None:
    def check(client: RawClient) -> None:
        for number in (1, 21, 23, 2001, 2**31 - 3):
            client.http.highest_outbound_stream_id = number
            assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

    await run(check, running_port)


@pytest.mark.parametrize("ends_with_reset", [False, True])
async def test_a_stream_is_used_once(running_port: RunningPort, ends_with_reset: bool) -> None:
    """Section 5.1: nothing is opened on a stream that its client has ended."""

    def check(client: RawClient) -> None:
        if ends_with_reset:
            stream = client.start()
            client.send(raw_frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
        else:
            stream = client.ask(MESSAGE)
            assert client.result(stream)[0]["grpc-status"] == "0"
        send_call(client, stream)
        assert goodbye(client).error_code == Codes.STREAM_CLOSED

    await run(check, running_port)


async def test_what_was_on_its_way_to_a_refused_call_is_passed_over(running_port: RunningPort) -> None:
    """The answer ended the stream; body and trailers may have crossed it."""

    def check(client: RawClient) -> None:
        stream = client.start(path="/no.Such/Method")
        assert client.result(stream)[0]["grpc-status"] == "12"
        for _ in range(10):
            client.send(raw_frame(DATA, 0, stream, framed(MESSAGE)))
        block = client.http.encoder.encode([("x-end", "1")])
        client.send(raw_frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
        assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

    await run(check, running_port)


async def test_trailers_end_a_request(running_port: RunningPort) -> None:
    def check(client: RawClient) -> None:
        stream = client.start()
        client.http.send_data(stream, framed(MESSAGE))
        client.http.send_headers(stream, [("x-end", "1")], end_stream=True)
        client.flush()
        assert client.result(stream)[0]["grpc-status"] == "0"

    await run(check, running_port)


async def test_headers_that_are_no_trailers_reset_the_call(running_port: RunningPort) -> None:
    """Section 8.1: a second HEADERS frame ends the stream, or the request is malformed."""

    def check(client: RawClient) -> None:
        stream = client.start()
        client.send(raw_frame(DATA, 0, stream, framed(MESSAGE)))
        block = client.http.encoder.encode([("x-more", "1")])
        client.send(raw_frame(HEADERS, END_HEADERS, stream, block))
        assert client.wait_for(h2.events.StreamReset, stream).error_code == Codes.PROTOCOL_ERROR
        assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

    await run(check, running_port)


@pytest.mark.parametrize("announced", [len(framed(MESSAGE)) - 1, len(framed(MESSAGE)) + 1])
async def test_another_length_than_announced_resets_the_call(
    running_port: RunningPort, announced: int
) -> None:
    """Section 8.1.1."""

    def check(client: RawClient) -> None:
        stream = client.start(("content-length", str(announced)))
        client.send(raw_frame(DATA, END_STREAM, stream, framed(MESSAGE)))
        assert client.wait_for(h2.events.StreamReset, stream).error_code == Codes.PROTOCOL_ERROR
        assert client.result(client.ask(MESSAGE))[0]["grpc-status"] == "0"

    await run(check, running_port)


async def test_streams_beyond_the_limit_are_refused_and_may_be_tried_again(
    port_settings: Settings, log: object
) -> None:
    """Section 5.1.2. REFUSED_STREAM tells a client that has not heard of the limit yet that nothing was done."""
    limits = dataclasses.replace(Limits.of(port_settings), max_streams=4)
    async with started_port(port_settings, limits=limits) as running:

        def check(client: RawClient) -> None:
            # Unfinished requests stay open.
            *streams, beyond = [client.start() for _ in range(5)]
            assert client.wait_for(h2.events.StreamReset, beyond).error_code == Codes.REFUSED_STREAM
            for stream in streams:
                client.http.send_data(stream, framed(MESSAGE), end_stream=True)
            client.flush()
            for stream in streams:
                assert client.result(stream)[0]["grpc-status"] == "0"

        await run(check, running)


@pytest.mark.parametrize(("method", "status"), [("POST", "415"), ("GET", "405"), ("HEAD", "405")])
async def test_what_is_no_call_is_told_so_in_plain_text(
    running_port: RunningPort, method: str, status: str
) -> None:
    def check(client: RawClient) -> None:
        stream = client.start(("content-type", "text/html"), method=method)
        # More than all windows hold: it is passed over, not kept.
        left = 16 << 20
        while left:
            room = min(left, 16_384, client.http.local_flow_control_window(stream))
            client.http.send_data(stream, b"x" * room, end_stream=room == left)
            client.flush()
            left -= room
            if room == 0:
                client.wait_for(h2.events.WindowUpdated)
        headers, body = client.result(stream)
        assert headers[":status"] == status
        assert headers["content-type"] == "text/plain"
        assert headers.get("allow") == (None if method == "POST" else "POST")
        assert body == (
            b"" if method == "HEAD" else b"this port speaks gRPC: POST with content-type application/grpc\n"
        )

    await run(check, running_port)
    assert running_port.count("grpc_server_started", "unary", "unknown", "unknown") == 0
