"""What both clients have in common: their arguments, their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Generic, TypeVar

import grpc
import grpc.aio

from turnout.bearer_token import token_metadata
from turnout.connection import DEFAULT_TARGET, Option, TlsConfig, plan_connection
from turnout.fail_open import DEFAULT_TIMEOUT_S, FailOpen, OnFailOpen
from turnout.timeouts import plan_timeouts

ChannelT = TypeVar("ChannelT", grpc.Channel, grpc.aio.Channel)


class ClientBase(Generic[ChannelT]):
    """A client that is not connected."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: TlsConfig | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        timeout_s: float | None = None,
        route_or_timeout_s: float = DEFAULT_TIMEOUT_S,
        on_fail_open: OnFailOpen | None = None,
        connections: int = 1,
        user_agent: str = "",
        options: Sequence[Option] = (),
        channel: ChannelT | None = None,
    ) -> None:
        """Prepares a client; it connects at the first call.

        Args:
            target: a gRPC target, such as "router.internal:50051" or "unix:/run/turnout.sock".
            tls: TLS; neither this nor `credentials`: clear text.
            credentials: gRPC's own credentials instead of `tls`.
            token: sent as a bearer token with every call; beyond this machine `tls` or `credentials` must
                protect it.
            timeout_s: deadline of `route`, `route_batch` and `check_health` in seconds; None is 1, 5 and 1.
            route_or_timeout_s: deadline of `route_or`, in seconds.
            on_fail_open: called with the error each time that `route_or` falls back.
            connections: HTTP/2 connections, 1 to 256, used in turn; for where one is the limit.
            user_agent: what to add to the user agent `turnout-python/<version>`.
            options: gRPC channel options; they replace the client's own of the same name.
            channel: a channel of the caller's. The client does not close it, and its options are its own:
                retries, message limits and keepalive too. Excludes the other arguments about the connection.

        Raises:
            ValueError: an argument breaks its limit, or two exclude each other.
        """
        if channel is not None and (tls or credentials or user_agent or options or connections != 1):
            raise ValueError("channel: excludes tls, credentials, user_agent, options and connections")
        self._connection = plan_connection(
            target,
            tls=tls,
            credentials=credentials,
            user_agent=user_agent,
            connections=connections,
            options=options,
        )
        self._metadata = token_metadata(
            token, target=target, encrypted=channel is not None or self._connection.credentials is not None
        )
        self._timeouts = plan_timeouts(timeout_s, route_or_timeout_s)
        self._fail_open = FailOpen(on_fail_open)
        self._given_channel: ChannelT | None = channel
        self._closed = False
        self._prepare()

    def _prepare(self) -> None:
        """Called once, when the arguments are checked."""

    @property
    def fail_open_count(self) -> Counter[str]:
        """How often `route_or` fell back, by `TurnoutError.label`; `.total()` is all of it. A copy."""
        return self._fail_open.counts
