"""An HTTP/2 client that does as it is told, right or wrong, over a blocking socket."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Any

import h2.config
import h2.connection
import h2.events

PATIENCE_S = 20.0
ROUTE = "/turnout.v1.RoutingService/Route"


def framed(message: bytes, *, compressed: int = 0) -> bytes:
    """A gRPC message in its frame."""
    return struct.pack(">BI", compressed, len(message)) + message


def raw_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2, legal or not."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers_of(path: str = ROUTE, *extra: tuple[str, str], method: str = "POST") -> list[tuple[str, str]]:
    """A request's headers."""
    return [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *extra,
    ]


class RawClient:
    """One connection. Events are kept in the order in which they came."""

    def __init__(self, port: int, *, preface: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.http = h2.connection.H2Connection(config)
        self.events: list[Any] = []
        self.is_closed = False
        if preface:
            self.http.initiate_connection()
            self.flush()

    def flush(self) -> None:
        """Sends what HTTP/2 has to send."""
        self.send(self.http.data_to_send())

    def send(self, data: bytes) -> None:
        """Sends bytes as they are; a server that has hung up hears nothing."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def start(
        self, *extra: tuple[str, str], path: str = ROUTE, method: str = "POST", end: bool = False
    ) -> int:
        """Begins a call and returns its stream."""
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, headers_of(path, *extra, method=method), end_stream=end)
        self.flush()
        return stream

    def ask(self, message: bytes, path: str = ROUTE) -> int:
        """Makes a unary call and returns its stream."""
        stream = self.start(path=path)
        self.http.send_data(stream, framed(message), end_stream=True)
        self.flush()
        return stream

    def read(self, timeout_s: float = PATIENCE_S) -> bool:
        """Reads once; False when the server has hung up or nothing came."""
        self.socket.settimeout(timeout_s)
        try:
            data = self.socket.recv(65_536)
        except TimeoutError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        self.events += self.http.receive_data(data)
        self.flush()
        return True

    def wait_for(self, kind: type[Any], stream: int | None = None) -> Any:
        """The next event of a kind, taken out."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for event in self.events:
                if isinstance(event, kind) and (stream is None or event.stream_id == stream):
                    self.events.remove(event)
                    return event
            assert time.monotonic() < deadline and self.read(), (kind, self.events)

    def result(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Headers and trailers of a call, and its body."""
        found: dict[str, str] = {}
        body = b""
        while True:
            self.wait_for_any(stream)
            for event in [e for e in self.events if getattr(e, "stream_id", None) == stream]:
                self.events.remove(event)
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    found |= {_text(k): _text(v) for k, v in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.http.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    self.flush()
                    return found, body

    def wait_for_any(self, stream: int) -> None:
        """Reads until there is an event of a stream."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(getattr(event, "stream_id", None) == stream for event in self.events):
            assert time.monotonic() < deadline and self.read(), self.events

    def wait_closed(self) -> None:
        """Reads until the server has hung up."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_closed:
            self.read(1.0)
            assert time.monotonic() < deadline, "the server does not hang up"

    def read_to_the_end(self) -> bytes:
        """Reads bytes, whatever they say, until the server has hung up."""
        data = b""
        self.socket.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            while more := self.socket.recv(65_536):
                data += more
        return data

    def close(self) -> None:
        """Hangs up."""
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
