"""Hostile HTTP/2: sequences of frames drawn at random, and valid ones that are then mutated."""

from __future__ import annotations

import struct
from random import Random

import hpack
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteStreamRequest

from tests.server.decision_port.raw_client import framed, headers_of, raw_frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY = 1, 4, 8, 32
HEADER_BYTES = 9

_SERVICE = "/turnout.v1.RoutingService/"
_REQUEST = RouteRequest(prompt="write a function that sorts a list")
# Paths, and bodies of one message that each takes.
_CALLS: tuple[tuple[str, bytes], ...] = (
    (_SERVICE + "Route", _REQUEST.SerializeToString()),
    (_SERVICE + "Route", RouteRequest(prompt="x", explain=True).SerializeToString()),
    (_SERVICE + "RouteBatch", RouteBatchRequest(requests=[_REQUEST] * 40).SerializeToString()),
    (_SERVICE + "RouteStream", RouteStreamRequest(correlation_id="a", request=_REQUEST).SerializeToString()),
    ("/grpc.health.v1.Health/Check", b""),
    ("/grpc.health.v1.Health/Watch", b""),
    ("/no.Such/Method", b"x"),
)
_EXTRA: tuple[tuple[str, str], ...] = (
    ("grpc-timeout", "1m"),
    ("grpc-timeout", "99999999H"),
    ("grpc-encoding", "gzip"),
    ("content-type", "text/html"),
    (":path", "/twice"),
    ("Upper", "case"),
    ("x", "v" * 3000),
)


class HostileConnection:
    """What one connection sends, frame by frame; equal sources draw equal frames."""

    def __init__(self, source: Random) -> None:
        """Draws all from `source`."""
        self._source = source
        self._encoder = hpack.Encoder()
        self._next_stream = 1
        self._open: list[tuple[int, bytes]] = []
        # Of those whose frames are all legal, the most are answered.
        self._mutation_share = source.choice((0.0, 0.02, 0.2))

    def opening(self) -> bytes:
        """The preface and settings; sometimes broken, sometimes absent."""
        kind = self._source.random()
        if kind < 0.03:
            return self._source.randbytes(self._source.randrange(100))
        window = self._source.choice((0, 1, 1000, 65_535, 2**31 - 1))
        settings = raw_frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window))
        return PREFACE + (b"" if kind < 0.05 else settings)

    def frames(self, n: int) -> bytes:
        """The next `n` frames."""
        return b"".join(self._mutated(self._frame()) for _ in range(n))

    def _frame(self) -> bytes:
        draw = self._source.random()
        if draw < 0.35 or not self._open:
            return self._start()
        at = self._source.randrange(len(self._open))
        stream, body = self._open[at]
        if draw < 0.8:
            return self._data(at, stream, body)
        if draw < 0.86:
            self._open.pop(at)
            return raw_frame(RST_STREAM, 0, stream, struct.pack(">I", self._source.randrange(14)))
        if draw < 0.88:
            # A request's trailers.
            self._open.pop(at)
            return raw_frame(
                HEADERS, END_HEADERS | END_STREAM, stream, self._encoder.encode([("x-end", "1")])
            )
        return self._other(stream) if draw < 0.99 else self._noise()

    def _other(self, stream: int) -> bytes:
        draw = self._source.random()
        if draw < 0.6:
            target = self._source.choice((0, stream))
            return raw_frame(
                WINDOW_UPDATE, 0, target, struct.pack(">I", self._source.choice((1, 100, 60_000)))
            )
        if draw < 0.75:
            return raw_frame(SETTINGS, self._source.choice((0, 1)), 0)
        if draw < 0.9:
            return raw_frame(PRIORITY, 0, stream, struct.pack(">IB", self._source.choice((0, stream, 7)), 9))
        return raw_frame(PING, self._source.choice((0, 1)), 0, b"12345678")

    def _start(self) -> bytes:
        path, message = self._source.choice(_CALLS)
        headers = headers_of(path)
        if self._source.random() < 0.1:
            headers.append(self._source.choice(_EXTRA))
        block = self._encoder.encode(headers)
        stream = self._next_stream
        self._next_stream += 2
        body = framed(message) * self._source.choice((1, 1, 1, 2, 5))
        ends = self._source.random() < 0.05
        if not ends:
            self._open.append((stream, body))
        if self._source.random() < 0.2:
            cut = self._source.randrange(len(block) + 1)
            first = raw_frame(HEADERS, END_STREAM * ends, stream, block[:cut])
            return first + raw_frame(CONTINUATION, END_HEADERS, stream, block[cut:])
        return raw_frame(HEADERS, END_HEADERS | END_STREAM * ends, stream, block)

    def _data(self, at: int, stream: int, body: bytes) -> bytes:
        n = len(body) if self._source.random() < 0.6 else self._source.randrange(len(body) + 1)
        part, rest = body[:n], body[n:]
        ends = not rest and self._source.random() < 0.8
        if ends:
            self._open.pop(at)
        else:
            self._open[at] = stream, rest
        if self._source.random() < 0.2:
            padding = self._source.randrange(256)
            return raw_frame(
                DATA, PADDED | END_STREAM * ends, stream, bytes([padding]) + part + bytes(padding)
            )
        return raw_frame(DATA, END_STREAM * ends, stream, part)

    def _noise(self) -> bytes:
        stream = self._source.choice((0, 1, 2, self._next_stream, self._source.getrandbits(31)))
        payload = self._source.randbytes(self._source.choice((0, 1, 4, 8, 100)))
        return raw_frame(self._source.randrange(12), self._source.randrange(256), stream, payload)

    def _mutated(self, frame: bytes) -> bytes:
        if self._source.random() >= self._mutation_share:
            return frame
        changed = bytearray(frame)
        kind = self._source.randrange(5)
        at = self._source.randrange(len(changed))
        if kind == 0:
            changed[at] ^= 1 << self._source.randrange(8)
        elif kind == 1:
            changed[4] = self._source.randrange(256)
        elif kind == 2 and len(changed) > HEADER_BYTES:
            changed[self._source.randrange(HEADER_BYTES, len(changed))] = self._source.randrange(256)
        elif kind == 3:
            del changed[at:]
        else:
            changed += frame
        return bytes(changed)
