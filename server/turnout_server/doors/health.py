"""grpc.health.v1 for the whole server and each of its services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

OVERALL = ""
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthDoor(health.aio.HealthServicer):  # type: ignore[misc]
    """The standard servicer, which lacks `List`; NOT_SERVING until told otherwise."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = (OVERALL, *services)
        self._status = NOT_SERVING
        # Before the server starts, nobody watches: no need for the coroutine that wakes watchers.
        self._server_status.update(dict.fromkeys(self._services, NOT_SERVING))

    @property
    def is_serving(self) -> bool:
        """True between `serve` and `drain`."""
        return bool(self._status == SERVING)

    async def serve(self) -> None:
        """Says SERVING from now on."""
        self._status = SERVING
        for service in self._services:
            await self.set(service, SERVING)

    async def drain(self) -> None:
        """Says NOT_SERVING for good."""
        self._status = NOT_SERVING
        await self.enter_graceful_shutdown()

    async def List(self, request: Any, context: Any) -> health_pb2.HealthListResponse:
        """The status of every service."""
        status = health_pb2.HealthCheckResponse(status=self._status)
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._services, status))

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)
