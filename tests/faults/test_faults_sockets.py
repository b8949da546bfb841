"""What happens on the socket itself, and what the ledger says of it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.faults import Fault, FaultServer, Moment, Wire
from tests.faults.asking import HEADERS, PATIENCE_S, End, Line, ask, body_of, path_of
from tests.faults.ledger import Closer


async def begin(line: Line, fault: str, *, stream: bool = True, wire: Wire = Wire.OPENAI) -> None:
    """Sends a request without waiting for its answer."""
    await line.send(path_of(wire, fault, stream=stream), body_of(wire, fault, stream=stream), HEADERS[wire])


@pytest.mark.parametrize("wire", Wire)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reset_before_any_byte(upstream: FaultServer, wire: Wire, stream: bool) -> None:
    response = await ask(upstream.port, wire, Fault.RESET, stream=stream)
    assert (response.status, response.body, response.end) == (0, b"", End.RESET)
    (connection,) = upstream.ledger.connections
    assert (connection.closed_by, connection.requests) == (Closer.SERVER, 1)


def test_the_reset_is_one_of_tcp() -> None:
    """Read by a blocking socket: recv fails with ECONNRESET instead of an orderly end."""

    async def run() -> None:
        async with FaultServer() as server:
            await asyncio.to_thread(check, server.port)

    def check(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            body = b'{"model":"reset","messages":[{"role":"user","content":"x"}]}'
            head = f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer k\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            with pytest.raises(ConnectionResetError):
                client.recv(1)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "stream", "moment"),
    [
        (Fault.SILENCE, False, Moment.HELD),
        (Fault.SILENCE, True, Moment.HELD),
        (Fault.SILENCE_AFTER_HEAD, True, Moment.HELD),
        (Fault.SLOW_FIRST_TOKEN, True, Moment.HELD),
        (Fault.STALL, False, Moment.HELD),
        (Fault.STALL, True, Moment.HELD),
    ],
)
async def test_a_wait_ends_when_the_peer_leaves(fault: Fault, stream: bool, moment: Moment) -> None:
    async with FaultServer() as upstream:
        async with Line(upstream.port) as line:
            await begin(line, fault, stream=stream)
            await upstream.ledger.until(lambda: upstream.ledger.requests[0:1])
            (seen,) = upstream.ledger.requests
            await upstream.ledger.until(lambda: seen.at(moment))
            assert (upstream.ledger.in_flight, upstream.ledger.open_connections) == (1, 1)
        await upstream.ledger.until(lambda: seen.over)
        assert seen.left_after is not None
        what, delay_s = seen.left_after
        assert (what, delay_s >= 0) == (moment, True)
        assert (seen.connection.closed_by, upstream.ledger.open_connections) == (Closer.PEER, 0)
        assert upstream.ledger.in_flight == 0


async def test_a_peer_that_resets_is_told_apart_from_one_that_closes() -> None:
    async with FaultServer() as upstream:
        async with Line(upstream.port) as line:
            await begin(line, Fault.STALL)
            await line.receive_some(b"t40 ")
            line.reset()
            await upstream.ledger.until(lambda: upstream.ledger.requests[0].over)
        assert upstream.ledger.connections[0].reset


async def test_silence_is_bounded_and_scaled() -> None:
    async with FaultServer(time_factor=0.0001) as upstream:
        response = await ask(upstream.port, Wire.OPENAI, Fault.SILENCE, stream=True)
        assert (response.status, response.end) == (0, End.CUT)
        seen = upstream.ledger.requests[0]
        held, finished = seen.at(Moment.HELD), seen.at(Moment.FINISHED)
        assert held is not None and finished is not None
        assert finished - held >= 0.012


async def test_the_first_token_takes_its_time() -> None:
    async with FaultServer(time_factor=0.001) as upstream:
        await ask(upstream.port, Wire.ANTHROPIC, Fault.SLOW_FIRST_TOKEN, stream=True)
        seen = upstream.ledger.requests[0]
        held, token = seen.at(Moment.HELD), seen.at(Moment.FIRST_TOKEN)
        assert held is not None and token is not None
        assert token - held >= 0.02


async def test_the_test_ends_a_wait() -> None:
    async with FaultServer() as upstream, Line(upstream.port) as line:
        await begin(line, f"{Fault.SLOW_FIRST_TOKEN}.mine")
        # The head, and the event before the first token.
        assert b"t01" not in await line.receive_some(b'"role":"assistant"')
        await upstream.ledger.until(lambda: upstream.ledger.requests[0].at(Moment.HELD))
        upstream.release("another")
        assert upstream.ledger.in_flight == 1
        upstream.release(f"{Fault.SLOW_FIRST_TOKEN}.mine")
        await line.receive_some(b"t60 ")
        await upstream.ledger.until(lambda: upstream.ledger.in_flight == 0)


async def test_the_server_closes_with_waits_under_way() -> None:
    async with FaultServer() as upstream:
        lines = [await Line(upstream.port).__aenter__() for _ in range(20)]
        for line in lines:
            await begin(line, Fault.SILENCE)
        await upstream.ledger.until(lambda: upstream.ledger.count(Fault.SILENCE) == 20)
        assert upstream.ledger.peak_in_flight == upstream.ledger.peak_connections == 20
    assert upstream.ledger.open_connections == 0
    for line in lines:
        assert (await line.receive()).end in (End.CUT, End.RESET)
        await line.__aexit__()


async def test_a_stale_connection_closes_on_its_second_request(upstream: FaultServer) -> None:
    async with Line(upstream.port) as line:
        await begin(line, Fault.STALE_KEEP_ALIVE, stream=False)
        assert (await line.receive()).status == 200
        await begin(line, Fault.STALE_KEEP_ALIVE, stream=False)
        response = await line.receive()
    assert (response.status, response.end) == (0, End.CUT)
    assert (await ask(upstream.port, Wire.OPENAI, Fault.STALE_KEEP_ALIVE, stream=False)).status == 200
    assert [one.requests for one in upstream.ledger.connections] == [2, 1]


async def test_a_connection_serves_many_requests_in_turn(upstream: FaultServer) -> None:
    async with Line(upstream.port) as line:
        for wire in Wire:
            await begin(line, Fault.ORDINARY, stream=wire is not Wire.GEMINI, wire=wire)
        responses = [await line.receive() for _ in Wire]
    assert [response.status for response in responses] == [200, 200, 200]
    assert len(upstream.ledger.connections) == 1


async def test_idle_connections_are_dropped(upstream: FaultServer) -> None:
    async with Line(upstream.port) as idle, Line(upstream.port) as busy:
        await begin(idle, Fault.ORDINARY, stream=False)
        await idle.receive()
        upstream.time_factor = 1.0
        await begin(busy, Fault.SILENCE)
        await upstream.ledger.until(lambda: upstream.ledger.in_flight == 1)
        assert upstream.drop_idle() == 1
        await begin(idle, Fault.ORDINARY, stream=False)
        assert (await idle.receive()).status == 0
        assert upstream.ledger.in_flight == 1


async def test_refused_connections_and_the_same_port_again(upstream: FaultServer) -> None:
    port = upstream.port
    await upstream.refuse()
    with pytest.raises(ConnectionRefusedError):
        await ask(port, Wire.OPENAI, Fault.ORDINARY, stream=False)
    await upstream.listen()
    assert upstream.port == port
    assert (await ask(port, Wire.OPENAI, Fault.ORDINARY, stream=False)).status == 200


async def test_bytes_that_are_no_request(upstream: FaultServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    writer.write(b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    assert upstream.ledger.requests == []


async def test_a_chunked_request(upstream: FaultServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    head = "POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n"
    body = b'{"model":"ordinary","max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
    writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
    for start in range(0, len(body), 7):
        piece = body[start : start + 7]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert upstream.ledger.requests[0].body["max_tokens"] == 9


async def test_the_ledger_forgets_what_is_over(upstream: FaultServer) -> None:
    await ask(upstream.port, Wire.OPENAI, Fault.ORDINARY, stream=False)
    upstream.time_factor = 1.0
    async with Line(upstream.port) as line:
        await begin(line, Fault.SILENCE)
        await upstream.ledger.until(lambda: upstream.ledger.count() == 2)
        await upstream.ledger.until(lambda: upstream.ledger.open_connections == 1)
        upstream.ledger.clear()
        assert [seen.model for seen in upstream.ledger.requests] == [Fault.SILENCE]
        assert upstream.ledger.peak_connections == 1
