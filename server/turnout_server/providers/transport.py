"""The narrow HTTP transport that adapters stand on: one POST, its status and headers, its body in chunks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from turnout_server.providers.faults import FaultKind


class TransportError(Exception):
    """The connection failed; the message never holds an address's path, a header or a body.

    Attributes:
        kind: CONNECTION or STALE_CONNECTION before the response's headers, CUT within its body, MALFORMED for what
            is no HTTP.
        cause: the exception's class, for logs.
    """

    def __init__(self, kind: FaultKind, cause: str) -> None:
        super().__init__(f"{kind} ({cause})")
        self.kind = kind
        self.cause = cause


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST of JSON. Headers hold keys and the body a prompt: neither is shown."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Exchange(Protocol):
    """A response whose headers have come."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; keys in any case."""
        ...

    async def read(self) -> bytes:
        """The next bytes of the body as they come; none at its end.

        Raises:
            TransportError: CUT where the body ended before its end.
        """
        ...


class Transport(Protocol):
    """Sends requests."""

    def open(self, request: HttpRequest, connect_s: float) -> AbstractAsyncContextManager[Exchange]:
        """Sends and waits for the headers.

        On leaving, a connection whose body was read to its end is kept for the next request. Any other is aborted at
        once, as it is when the task is cancelled at any await.

        Args:
            request: what is sent.
            connect_s: most seconds to a connected, TLS-checked socket.

        Raises:
            TransportError: on entering.
        """
        ...
