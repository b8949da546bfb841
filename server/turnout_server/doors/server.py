"""The main port: one grpc.aio server with decisions, completions, health and reflection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from turnout_server.completion.completer import Completer
from turnout_server.doors.admission import Admission
from turnout_server.doors.backlog import Arrivals, Backlog, count_calls, newest_server_id
from turnout_server.doors.completion_servicer import SERVICE as COMPLETION_SERVICE
from turnout_server.doors.completion_servicer import CompletionDoor
from turnout_server.doors.door import AdmittedDoor
from turnout_server.doors.health import HealthDoor
from turnout_server.doors.items import ItemDecider, RecordsRoutes
from turnout_server.doors.routing_servicer import SERVICE, RoutingDoor
from turnout_server.lifecycle import StartError
from turnout_server.observability.decision_log import DecisionLog
from turnout_server.observability.metrics import COMPLETIONS_IN_FLIGHT, IN_FLIGHT, WAITING, Metrics
from turnout_server.ports import check_free
from turnout_server.resilience.clock import SystemClock
from turnout_server.routing import Router
from turnout_server.settings import Settings

if TYPE_CHECKING:
    from turnout_server.doors.ext_proc.door import ExtProcDoor
    from turnout_server.doors.ext_proc.outcomes import Outcomes

# Idle connections are asked after this long whether they live: NATs and load balancers forget silently.
KEEPALIVE_MS = 60_000
KEEPALIVE_TIMEOUT_MS = 20_000
# Clients may ask as often; those that do more often are sent away.
MIN_CLIENT_PING_MS = 10_000
# The core queues calls before it hands them over, and ends those beyond the queue (1,000 unless told
# otherwise) with CANCELLED and no word of why: the queue must be long enough for admission to say
# RESOURCE_EXHAUSTED. One connection cannot fill it alone; its calls beyond this many wait at the client.
LEAST_PENDING = 16_384
LEAST_STREAMS = 4_096
# Time for the last answers to leave, once nothing is in flight.
FLUSH_S = 0.25
CONNECTION_AGE_GRACE_MS = 30_000


class MainPort:
    """The server of one process. `start`, `open`, then `drain`; each once."""

    def __init__(
        self,
        settings: Settings,
        router: Router,
        metrics: Metrics,
        *,
        completer: Completer | None = None,
        recorder: RecordsRoutes | None = None,
        ext_proc: Outcomes | None = None,
        shares_port: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Assembles the server; it does not listen yet.

        Args:
            settings: the limits and the address.
            router: what decides.
            metrics: what counts.
            completer: what carries decisions out; None: only decisions are served.
            recorder: what stores decisions of `Route`; None: nothing does.
            ext_proc: where Envoy's outcomes go; None: no Envoy is served.
            shares_port: whether other processes listen on the same port.
            sleep: waits out the drain's grace, in seconds.
        """
        self._sleep = sleep
        self.admission = Admission(settings.max_in_flight)
        self.completions = Admission(settings.max_completions)
        services = [SERVICE] if completer is None else [SERVICE, COMPLETION_SERVICE]
        self.health = HealthDoor(services)
        self._settings = settings
        self._router = router
        self._server = grpc.aio.server(options=_options(settings, shares_port))
        server_id = newest_server_id()
        log = DecisionLog(settings.log_sample)
        decider = ItemDecider(router, metrics, log, max_text_bytes=settings.max_text_bytes, recorder=recorder)
        door = RoutingDoor(decider, metrics, self.admission, max_batch=settings.max_batch)
        doors: list[AdmittedDoor] = [door]
        if completer is not None:
            completion_door = CompletionDoor(
                router,
                completer,
                metrics,
                self.completions,
                SystemClock(),
                max_text_bytes=settings.max_text_bytes,
            )
            doors.append(completion_door)
            metrics.watch(COMPLETIONS_IN_FLIGHT, lambda: ((), self.completions.in_flight))
        arrivals = Arrivals([path for one in doors for path in one.paths])
        self._server.add_generic_rpc_handlers((arrivals, *doors))
        self.backlog = Backlog(
            arrivals, self.admission, self.completions, partial(count_calls, server_id), time.monotonic
        )
        metrics.watch(WAITING, lambda: ((), self.backlog.waiting))
        self._watching: asyncio.Task[None] | None = None
        self._gateway: ExtProcDoor | None = None
        if ext_proc is not None:
            # Not needed, and not there, where no Envoy asks.
            from turnout_server.doors.ext_proc.door import ExtProcDoor

            self._gateway = ExtProcDoor(router, metrics, self.admission, ext_proc)
            self._server.add_generic_rpc_handlers((self._gateway,))
        metrics.watch(IN_FLIGHT, lambda: ((), self.admission.in_flight))
        lean = cast("grpc.aio.Server", _GenericHandlers(self._server))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, lean)
        if settings.reflection:
            names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, lean)

    async def start(self) -> int:
        """Listens, refusing requests as NOT_SERVING, and returns the port.

        Raises:
            StartError: the address cannot be had, or the certificate not be read.
        """
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.port}"
        credentials = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            pair = (_read_pem(settings.tls_key), _read_pem(settings.tls_cert))
            credentials = grpc.ssl_server_credentials([pair])
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            check_free(settings.host, settings.port)
            cause = "certificate or key" if credentials else "address"
            raise StartError(f"cannot listen on {address}: the {cause} cannot be used") from error
        await self.health.hold()
        await self._server.start()
        self._watching = asyncio.create_task(self.backlog.watch())
        return port

    async def open(self) -> None:
        """Makes a decision to warm up, and then lets requests in."""
        await asyncio.to_thread(self._router.warm_up)
        self.admission.is_open = self.completions.is_open = True
        await self.health.serve()

    async def drain(self) -> None:
        """Says NOT_SERVING, gives load balancers time to look away, refuses new requests, finishes others."""
        await self.health.drain()
        await self._sleep(self._settings.drain_grace_s)
        # Not by the server's own stop: what comes meanwhile it ends with CANCELLED, and no client retries.
        patience_s = self._settings.drain_s
        closing = [self.admission.close(patience_s), self.completions.close(patience_s)]
        if self._gateway is not None:
            # After the admission's, whose first step closes it.
            closing.append(self._gateway.drain(patience_s))
        await asyncio.gather(*closing)
        self.stop_watching()
        await self._server.stop(FLUSH_S)

    async def stop(self) -> None:
        """Stops at once."""
        self.admission.is_open = self.completions.is_open = False
        self.stop_watching()
        await self._server.stop(None)

    def stop_watching(self) -> None:
        """Calls that wait are no longer counted."""
        if self._watching is not None:
            self._watching.cancel()


class _GenericHandlers:
    """Adds handlers to a server by name only.

    A registered method makes grpc.aio wait for one more future at each call of any method; those of health
    and reflection would cost every decision 40 us.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Does nothing: the generic handlers answer the same methods."""


def _options(settings: Settings, shares_port: bool) -> list[tuple[str, int]]:
    pending = max(LEAST_PENDING, 4 * settings.max_in_flight)
    options = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Off where the port is ours alone: a second server on it is then an error, no thief of connections.
        ("grpc.so_reuseport", int(shares_port)),
        ("grpc.max_concurrent_streams", max(LEAST_STREAMS, settings.max_in_flight)),
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", pending),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_CLIENT_PING_MS),
    ]
    if settings.max_connection_age_s is not None:
        options += [
            ("grpc.max_connection_age_ms", round(settings.max_connection_age_s * 1000)),
            ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_MS),
        ]
    return options


def _read_pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from error
