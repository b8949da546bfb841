"""grpc.health.v1 for the whole server and each of its services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc_health.v1 import health, health_pb2

OVERALL = ""
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthDoor(health.aio.HealthServicer):  # type: ignore[misc,name-defined]
    """The standard servicer, which lacks `List`, with one status for all services."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = (OVERALL, *services)
        self._status = NOT_SERVING

    @property
    def is_serving(self) -> bool:
        """True between `serve` and `drain`."""
        return bool(self._status == SERVING)

    async def hold(self) -> None:
        """Says NOT_SERVING, until `serve`."""
        await self._say(NOT_SERVING)

    async def serve(self) -> None:
        """Says SERVING, until `drain`."""
        await self._say(SERVING)

    async def drain(self) -> None:
        """Says NOT_SERVING for good."""
        self._status = NOT_SERVING
        await self.enter_graceful_shutdown()

    async def List(self, request: Any, context: Any) -> health_pb2.HealthListResponse:
        """The status of every service."""
        status = health_pb2.HealthCheckResponse(status=self._status)
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._services, status))

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        self._status = status
        for service in self._services:
            await self.set(service, status)
