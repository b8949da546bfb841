"""One face for both clients, so that one test holds for either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from turnout import AsyncClient, Client, Decision, HealthStatus

from tests.clients.fake_routing import PATIENCE_S


class SyncFace:
    """The synchronous client, called from a thread."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def route(self, *args: Any, **kwargs: Any) -> Decision:
        """As Client.route."""
        return await asyncio.to_thread(self.client.route, *args, **kwargs)

    async def route_or(self, *args: Any, **kwargs: Any) -> Decision:
        """As Client.route_or."""
        return await asyncio.to_thread(self.client.route_or, *args, **kwargs)

    async def route_batch(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As Client.route_batch."""
        return await asyncio.to_thread(self.client.route_batch, *args, **kwargs)

    async def check_health(self, *args: Any, **kwargs: Any) -> HealthStatus:
        """As Client.check_health."""
        return await asyncio.to_thread(self.client.check_health, *args, **kwargs)

    async def stream(
        self, requests: Any, found: list[Any] | None = None, most: int | None = None, **kwargs: Any
    ) -> list[Any]:
        """The results of Client.route_stream, put into `found`; it is closed after `most` of them."""
        found = [] if found is None else found

        def collect() -> list[Any]:
            results = self.client.route_stream(requests, **kwargs)
            for result in results:
                found.append(result)
                if len(found) == most:
                    results.close()
            return found

        return await asyncio.to_thread(collect)

    async def close(self) -> None:
        """As Client.close."""
        await asyncio.to_thread(self.client.close)


class AsyncFace:
    """The asyncio client."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.route = client.route
        self.route_or = client.route_or
        self.route_batch = client.route_batch
        self.check_health = client.check_health
        self.close = client.close

    async def stream(
        self, requests: Any, found: list[Any] | None = None, most: int | None = None, **kwargs: Any
    ) -> list[Any]:
        """The results of AsyncClient.route_stream, put into `found`; it is closed after `most` of them."""
        found = [] if found is None else found
        results = self.client.route_stream(requests, **kwargs)
        async for result in results:
            found.append(result)
            if len(found) == most:
                await results.aclose()
        return found


# The defaults are short for a machine that does much else; what tests them asks for them.
PATIENT: dict[str, Any] = {"timeout_s": PATIENCE_S, "route_or_timeout_s": PATIENCE_S}

Face: TypeAlias = SyncFace | AsyncFace
Opener: TypeAlias = Callable[..., Any]


@asynccontextmanager
async def open_sync(target: str, **kwargs: Any) -> AsyncIterator[Face]:
    """The synchronous client, patient unless told otherwise, closed at the end."""
    face = SyncFace(Client(target, **(PATIENT | kwargs)))
    try:
        yield face
    finally:
        await face.close()


@asynccontextmanager
async def open_async(target: str, **kwargs: Any) -> AsyncIterator[Face]:
    """The asyncio client, patient unless told otherwise, closed at the end."""
    face = AsyncFace(AsyncClient(target, **(PATIENT | kwargs)))
    try:
        yield face
    finally:
        await face.close()
