"""The HTTP transport on aiohttp: one session a process."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiohttp
from yarl import URL

from turnout_server.providers.faults import FaultKind
from turnout_server.providers.transport import Exchange, HttpRequest, TransportError

if TYPE_CHECKING:
    from aiohttp.connector import Connection

# Below the 60 s and more after which providers and balancers close idle connections, so that few are found stale.
KEEPALIVE_S = 30.0
DNS_TTL_S = 60
# Read into memory ahead of the consumer; then the socket waits.
READ_AHEAD_BYTES = 1 << 16
LARGE_BODY_BYTES = 1 << 20


@dataclass(slots=True)
class _Flight:
    """What a request knows of its connection."""

    socket: asyncio.Transport | None = None
    reused: bool = False


_flight: ContextVar[_Flight | None] = ContextVar("turnout_flight", default=None)


class _Connector(aiohttp.TCPConnector):
    """Tells a request its connection, so that it can be aborted while aiohttp still waits for the headers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp's own way to tell of reuse, a trace, costs a request more than its connection's bookkeeping.
        self._used: WeakSet[asyncio.BaseProtocol] = WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        connection = await super().connect(*args, **kwargs)
        if (flight := _flight.get()) is not None and (protocol := connection.protocol) is not None:
            flight.socket = connection.transport
            flight.reused = protocol in self._used
            self._used.add(protocol)
        return connection


class AiohttpTransport:
    """Sends requests over a pool of kept connections.

    TCP_NODELAY is aiohttp's own default. No redirect is followed, no cookie kept, no proxy taken from the
    environment, and a name is resolved once a minute.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, proxy: str | None = None) -> None:
        """Opens nothing yet.

        Args:
            tls: for https; None: the system's certificates.
            proxy: http address of a proxy that all requests go through.
        """
        self._tls = tls
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the pool; requests in flight fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def open(self, request: HttpRequest, connect_s: float) -> AsyncIterator[Exchange]:
        """See `Transport.open`."""
        flight = _Flight()
        token = _flight.set(flight)
        try:
            response = await self._send(request, connect_s)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _abort(flight.socket)
            raise _opening_error(error, flight) from None
        except BaseException:
            _abort(flight.socket)
            raise
        finally:
            _flight.reset(token)
        try:
            yield _AiohttpExchange(response)
        finally:
            # At the body's end aiohttp has given the connection back to the pool already.
            if (connection := response.connection) is not None:
                _abort(connection.transport)
            response.close()

    async def _send(self, request: HttpRequest, connect_s: float) -> aiohttp.ClientResponse:
        return await self._opened().post(
            URL(request.url, encoded=True),
            # In pieces where it is large: aiohttp would write it in one turn of the loop, and warns of that.
            data=request.body if len(request.body) <= LARGE_BODY_BYTES else io.BytesIO(request.body),
            headers=request.headers,
            allow_redirects=False,
            proxy=self._proxy,
            # From resolving the name to the end of the handshake; rounded up to whole seconds above the threshold.
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_s, ceil_threshold=3600),
        )

    def _opened(self) -> aiohttp.ClientSession:
        # Not at construction: a session belongs to a running loop.
        if self._session is None:
            connector = _Connector(
                limit=0,
                keepalive_timeout=KEEPALIVE_S,
                ttl_dns_cache=DNS_TTL_S,
                ssl=self._tls if self._tls is not None else True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                read_bufsize=READ_AHEAD_BYTES,
                # No compression: a small stream's events shall not wait in a decoder's buffer.
                headers={"Accept-Encoding": "identity", "User-Agent": "turnout"},
            )
        return self._session


class _AiohttpExchange:
    """A response of aiohttp's."""

    __slots__ = ("_response",)

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise TransportError(FaultKind.CUT, type(error).__name__) from None


def _opening_error(error: Exception, flight: _Flight) -> TransportError:
    name = type(error).__name__
    # First, for an untrusted certificate is a ValueError too.
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransportError(FaultKind.CONNECTION, name)
    # Status and headers came, or some of them, but are no HTTP.
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return TransportError(FaultKind.MALFORMED, name)
    if isinstance(error, ValueError):
        return TransportError(FaultKind.CONFIGURATION, name)
    # Closed or reset on a connection from the pool, with no header read: it was most likely closed before.
    lost = isinstance(error, aiohttp.ServerDisconnectedError | OSError)
    if lost and flight.reused:
        return TransportError(FaultKind.STALE_CONNECTION, name)
    return TransportError(FaultKind.CONNECTION, name)


def _abort(socket: asyncio.Transport | None) -> None:
    """Ends a connection at once: closing would first wait until all of a large request is written."""
    if socket is not None:
        socket.abort()
