"""How a client connects: checked once, and turned into gRPC's terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import grpc.aio

from turnout.service_config import load_service_config
from turnout.version import __version__

Option: TypeAlias = tuple[str, str | int]

DEFAULT_TARGET = "localhost:50051"
# Of a message, both ways; the server's own default.
MAX_MESSAGE_BYTES = 16 << 20
MAX_CONNECTIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """TLS by PEM bytes; `TlsConfig()` trusts the public authorities that gRPC ships.

    Attributes:
        root_certificates: authorities to trust instead.
        private_key: the client's key, for mutual TLS; with `certificate_chain`.
        certificate_chain: the client's certificate and those between it and an authority.
        server_name: the name that the server's certificate must bear, where it is not the target's host.
    """

    root_certificates: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)
    certificate_chain: bytes | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.private_key is None) != (self.certificate_chain is None):
            raise ValueError("private_key and certificate_chain: both or neither")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to connect, and how. Made by `plan_connection`.

    Attributes:
        target: a gRPC target.
        credentials: None for clear text.
        options: channel options.
        count: HTTP/2 connections.
    """

    target: str
    credentials: grpc.ChannelCredentials | None
    options: tuple[Option, ...]
    count: int

    def open_channels(self) -> list[grpc.Channel]:
        """Channels; nothing is connected yet."""
        return [self._open_channel() for _ in range(self.count)]

    def open_aio_channels(self) -> list[grpc.aio.Channel]:
        """Channels of the running event loop; nothing is connected yet."""
        return [self._open_aio_channel() for _ in range(self.count)]

    def _open_channel(self) -> grpc.Channel:
        if self.credentials is None:
            return grpc.insecure_channel(self.target, self.options)
        return grpc.secure_channel(self.target, self.credentials, self.options)

    def _open_aio_channel(self) -> grpc.aio.Channel:
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.target, self.options)
        return grpc.aio.secure_channel(self.target, self.credentials, self.options)


def plan_connection(
    target: str,
    *,
    tls: TlsConfig | None,
    credentials: grpc.ChannelCredentials | None,
    user_agent: str,
    connections: int,
    options: Sequence[Option],
) -> Connection:
    """Checks a constructor's arguments, which `Client` describes.

    Raises:
        ValueError: an argument breaks its limit, or two exclude each other.
    """
    if tls is not None and credentials is not None:
        raise ValueError("tls and credentials: one or neither")
    if not 1 <= connections <= MAX_CONNECTIONS:
        raise ValueError(f"connections: {connections} breaks the limit: 1 to {MAX_CONNECTIONS}")
    if not user_agent.isascii() or not user_agent.isprintable():
        raise ValueError("user_agent: printable ASCII is needed")
    planned: dict[str, str | int] = {
        "grpc.primary_user_agent": f"turnout-python/{__version__} {user_agent}".rstrip(),
        "grpc.service_config": load_service_config().channel_json,
        # A request larger than the buffer would be sent once only.
        "grpc.per_rpc_retry_buffer_size": MAX_MESSAGE_BYTES,
        "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
        "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
        # A peer that vanished is noticed while calls wait for it; an idle connection is left alone.
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.keepalive_permit_without_calls": 0,
        # gRPC's own ceiling of 120 s would keep clients away for two minutes after an outage.
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 5_000,
    }
    if connections > 1:
        # Else gRPC lets channels of equal options share one connection.
        planned["grpc.use_local_subchannel_pool"] = 1
    if tls is not None:
        credentials = grpc.ssl_channel_credentials(
            tls.root_certificates, tls.private_key, tls.certificate_chain
        )
        if tls.server_name is not None:
            planned["grpc.ssl_target_name_override"] = tls.server_name
    # gRPC does not say which of two equal keys counts.
    planned.update(options)
    return Connection(target, credentials, tuple(planned.items()), connections)
