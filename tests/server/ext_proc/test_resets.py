"""Envoy resets each stream once it has what it needs: on the decision port that is no flood, however many they are."""

# xds-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import struct
from pathlib import Path

import hpack
from envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest
from turnout_server.observability.metrics import GATEWAY_STREAMS

from tests.server.decision_port.raw_client import RawClient, framed, headers_of, raw_frame
from tests.server.ext_proc.conftest import serving
from tests.server.ext_proc.settling import until

PATH = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
# session.pxd allows a burst of 10,000 and 1,000 a second of others, nghttp2 by itself as many.
STREAMS, AT_ONCE = 24_000, 400
DATA, HEADERS, RST_STREAM, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 7, 8
END_HEADERS, CANCEL = 4, 8
HEAD_BYTES = 9


def message() -> bytes:
    """The headers of a request that is not Turnout's to decide."""
    values = [HeaderValue(key=key, raw_value=value) for key, value in ((":path", b"/"), (":method", b"GET"))]
    headers = HttpHeaders(headers=HeaderMap(headers=values), end_of_stream=True)
    return framed(ProcessingRequest(request_headers=headers).SerializeToString())


class Streams:
    """Envoy's end of one connection, in raw frames, which cost less than the server's end."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._unread = b""
        self._next = 1
        # Never indexed, so that one block serves every stream.
        block = hpack.Encoder().encode([(*pair, True) for pair in headers_of(PATH)])
        self._opening = block, message()
        client.send(raw_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1 - 65_535)))

    def open(self, n: int, *, asks: bool = True) -> list[int]:
        """Opens streams, each with its message or without."""
        block, data = self._opening
        streams = list(range(self._next, self._next + 2 * n, 2))
        self._next += 2 * n
        frames = [
            raw_frame(HEADERS, END_HEADERS, stream, block)
            + (raw_frame(DATA, 0, stream, data) if asks else b"")
            for stream in streams
        ]
        self._client.send(b"".join(frames))
        return streams

    def read_answers(self, n: int) -> None:
        """Reads until so many answers have come; the server may not hang up."""
        while n:
            data = self._client.socket.recv(1 << 20)
            assert data, "the server hung up"
            self._unread += data
            while len(self._unread) >= HEAD_BYTES:
                size = HEAD_BYTES + int.from_bytes(self._unread[:3], "big")
                if len(self._unread) < size:
                    break
                kind = self._unread[3]
                assert kind != GOAWAY, self._unread[:size]
                n -= kind == DATA
                self._unread = self._unread[size:]

    def reset(self, streams: list[int]) -> None:
        """Ends them as Envoy does."""
        code = struct.pack(">I", CANCEL)
        self._client.send(b"".join(raw_frame(RST_STREAM, 0, stream, code) for stream in streams))


async def test_answered_streams_may_be_reset_without_end(tmp_path: Path) -> None:
    async with serving(tmp_path, decision_port=True) as (service, port):
        with RawClient(port) as client:
            streams = Streams(client)
            for _ in range(STREAMS // AT_ONCE):
                opened = streams.open(AT_ONCE)
                streams.read_answers(AT_ONCE)
                streams.reset(opened)
            streams.open(1)
            streams.read_answers(1)

            def is_alone() -> bool:
                return [v[0] for name, _, v in service.sums().values if name == GATEWAY_STREAMS.name] == [1]

            await until(is_alone)


async def test_streams_that_ask_nothing_are_a_flood_all_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path, decision_port=True) as (_, port):
        with RawClient(port) as client:
            streams = Streams(client)
            for _ in range(STREAMS // AT_ONCE):
                streams.reset(streams.open(AT_ONCE, asks=False))
            assert GOAWAY in {frame[3] for frame in frames_of(client.read_to_the_end())}


def frames_of(data: bytes) -> list[bytes]:
    """The frames of bytes that begin with one."""
    found = []
    while len(data) >= HEAD_BYTES:
        size = HEAD_BYTES + int.from_bytes(data[:3], "big")
        found.append(data[:size])
        data = data[size:]
    return found
