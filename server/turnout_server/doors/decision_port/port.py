"""The decision port as the service sees it: sockets, threads, reloads, drain and counts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from turnout_fastpath import Snapshot

from turnout_server.doors.admission import RETRY_AFTER_S
from turnout_server.doors.decision_port.decider import Decider
from turnout_server.doors.decision_port.kept import KeptDecision, SnapshotNames
from turnout_server.doors.decision_port.listener import LibraryMissingError, Listener
from turnout_server.doors.decision_port.longer_way import (
    LongerWay,
    Processing,
    WordedFailure,
    unworded,
    word_failure,
)
from turnout_server.doors.decision_port.ring import Ring
from turnout_server.doors.errors import (
    DeadlineExceededError,
    NotServingError,
    OverloadedError,
    describe_failure,
)
from turnout_server.doors.items import ItemDecider, RecordsRoutes
from turnout_server.doors.status_code import StatusCode
from turnout_server.lifecycle import StartError, UnavailableError
from turnout_server.observability.decision_log import DecisionLog
from turnout_server.observability.metrics import (
    CONNECTIONS,
    COVERAGE,
    HANDLED,
    HANDLING,
    REFUSED_CONNECTIONS,
    STARTED,
    Labels,
    Metrics,
    Sums,
    add_up,
)
from turnout_server.ports import Address, check_free, find_address
from turnout_server.routing import Router
from turnout_server.settings import Settings

if TYPE_CHECKING:
    from turnout_server.doors.ext_proc.outcomes import Outcomes

BACKLOG = 1024
# Between looks whether drained connections are gone.
LOOK_S = 0.02
# Time for the last of Envoy's streams to end: some ticks of the listener's clock.
LET_GO_S = 0.5
ROUTING, HEALTH = "turnout.v1.RoutingService", "grpc.health.v1.Health"
# A second of kept decisions at full load, without text.
RING_BYTES = 1 << 20
DRAINED_AT_ONCE = 1024
# By the number of the call in model.pxd.
METHODS: tuple[Labels, ...] = (
    ("unary", "unknown", "unknown"),
    ("unary", ROUTING, "Route"),
    ("unary", ROUTING, "RouteBatch"),
    ("bidi_stream", ROUTING, "RouteStream"),
    ("unary", HEALTH, "Check"),
    ("server_stream", HEALTH, "Watch"),
    ("bidi_stream", "envoy.service.ext_proc.v3.ExternalProcessor", "Process"),
)
CODE_NAMES = {code.value: code.name for code in StatusCode}
MISSING_LIBRARY = (
    "the decision port needs {library}, which is not there: install Debian's libnghttp2-14, Fedora's libnghttp2 or "
    "Alpine's nghttp2-libs, or set --decision-port off"
)


@dataclass(frozen=True)
class Limits:
    """What one thread of the port bears; model.pxd says what each is."""

    max_message_bytes: int
    max_pending: int
    max_batch: int
    processes: bool = False
    max_age_s: float | None = None
    max_buffered_bytes: int = 256 << 20
    max_streams: int = 1024
    max_connections: int = 16_384
    handshake_s: float = 10.0
    stall_s: float = 30.0
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 20.0
    min_ping_s: float = 10.0
    age_grace_s: float = 30.0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those that the operator's settings name."""
        return cls(
            max_message_bytes=settings.max_message_bytes,
            max_pending=settings.max_in_flight,
            max_batch=settings.max_batch,
            processes=settings.ext_proc,
            max_age_s=settings.max_connection_age_s,
        )


def processing(router: Router, metrics: Metrics, outcomes: Outcomes, limit: int) -> Processing:
    """Envoy's messages answered as on the main port."""
    # Not needed, and not there, where no Envoy asks.
    from turnout_server.doors.ext_proc.streams import Streams

    return Streams(router, metrics, outcomes, limit)


def word_failures(limit: int, source: random.Random) -> list[WordedFailure]:
    """The failures that the listener sends without Python, in the order of FAIL_ in model.pxd."""

    def delay_s() -> float:
        return source.uniform(*RETRY_AFTER_S)

    overloaded = [word_failure(describe_failure(OverloadedError(limit, delay_s()))) for _ in range(8)]
    return [
        *overloaded,
        word_failure(describe_failure(NotServingError(delay_s()))),
        word_failure(describe_failure(DeadlineExceededError())),
        unworded(12, "no such method on this port"),
        unworded(12, "compressed messages are not read; grpc-accept-encoding says what is"),
        unworded(8, "the message is larger than the limit"),
        unworded(13, "the body is not one whole message, or its framing is broken"),
        unworded(5, "no such service"),
        unworded(13, "internal error"),
    ]


class DecisionPort:
    """The listener's threads. `start`, `open`, then `drain` or `stop`; each once."""

    def __init__(
        self,
        settings: Settings,
        router: Router,
        metrics: Metrics,
        *,
        shares_port: bool = False,
        ext_proc: Outcomes | None = None,
        limits: Limits | None = None,
        recorder: RecordsRoutes | None = None,
        keep_share: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        source: random.Random | None = None,
    ) -> None:
        """Decides as `router` does.

        Args:
            settings: addresses and limits.
            router: what decides what is left to Python, and whose snapshot is decided with.
            metrics: counts what Python decides.
            shares_port: whether another process holds the port.
            ext_proc: where Envoy's outcomes go; None: no Envoy is served.
            limits: of each thread; those of the settings unless given.
            recorder: of what Python decides; None: nothing is stored.
            keep_share: share of the decisions, 0 to 1, that wait in rings for `drain_kept`.
            sleep: waits out the drain's grace, in seconds.
            source: of retry times.
        """
        self._settings = settings
        self._shares_port = shares_port
        self._router = router
        self._sleep = sleep
        self._limits = limits or Limits.of(settings)
        self._source = source or random.Random()
        sampling, logging = (
            ItemDecider(
                router, metrics, DecisionLog(share), max_text_bytes=settings.max_text_bytes, recorder=recorder
            )
            for share in (settings.log_sample, 1.0)
        )
        self._longer_way = LongerWay(
            sampling,
            logging,
            metrics,
            max_batch=settings.max_batch,
            processing=None
            if ext_proc is None
            else processing(router, metrics, ext_proc, settings.max_in_flight),
        )
        self._keep_share = keep_share
        # By thread. They outlive snapshots, whose names stay by their number.
        self._rings: list[Ring] = []
        self._names: list[SnapshotNames] = []
        self._sockets: list[socket.socket] = []
        self._listeners: list[Listener] = []
        self._threads: list[threading.Thread] = []
        self._retired = Sums([])
        # Of whoever moves counts from listeners to `_retired`.
        self._summing = threading.Lock()
        self.is_serving = False

    async def start(self) -> int:
        """Listens, refusing requests as NOT_SERVING, and returns the TCP port.

        Raises:
            StartError: an address cannot be had.
            UnavailableError: libnghttp2 is missing.
        """
        settings = self._settings
        assert settings.decision_port is not None
        address = find_address(settings.host, settings.decision_port)
        if not self._shares_port:
            address = check_free(settings.host, settings.decision_port)
        try:
            number = self._open_listeners(address)
        except LibraryMissingError as error:
            self._close_sockets()
            raise UnavailableError(MISSING_LIBRARY.format(library=error)) from error
        except OSError as error:
            self._close_sockets()
            raise StartError(
                f"cannot listen on {settings.host}:{settings.decision_port}: {error.strerror}"
            ) from error
        for index, listener in enumerate(self._listeners):
            thread = threading.Thread(target=listener.run, name=f"decision-{index}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return number

    async def open(self) -> None:
        """Makes a decision to warm up, and then lets requests in."""
        await asyncio.to_thread(self._router.warm_up)
        self._set_state(admits=True, serving=True)
        self.is_serving = True

    async def install(self, snapshot: Snapshot) -> None:
        """Swaps what decides. Each thread takes the new snapshot between two decisions."""
        self._name(snapshot)
        for index, listener in enumerate(self._listeners):
            listener.install(await asyncio.to_thread(self._new_decider, snapshot, index))

    async def drain(self) -> None:
        """Says NOT_SERVING, gives load balancers time to look away, refuses new requests, finishes others."""
        self.is_serving = False
        self._set_state(serving=False)
        await self._sleep(self._settings.drain_grace_s)
        self._set_state(admits=False, drains=True)
        await self._wait_for_connections(self._settings.drain_s)
        if self.connections:
            # Envoy's streams live as long as its requests: those that are left go on, unobserved.
            self._set_state(lets_go=True)
            await self._wait_for_connections(LET_GO_S)
        await self.stop()

    async def stop(self) -> None:
        """Stops at once."""
        self.is_serving = False
        self._set_state(admits=False, stops=True)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        # What was counted stays; sockets and memory go.
        with self._summing:
            self._retired = self._add_up()
            self._listeners.clear()
        self._threads.clear()
        self._close_sockets()
        path = self._settings.decision_socket
        if path is not None:
            path.unlink(missing_ok=True)

    async def _wait_for_connections(self, patience_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self.connections:
                    await asyncio.sleep(LOOK_S)

    @property
    def connections(self) -> int:
        """Open now, over all threads."""
        return sum(listener.connections for listener in self._listeners)

    def sums(self) -> Sums:
        """What the threads have counted. May be called on any thread."""
        with self._summing:
            return self._add_up()

    def drain_kept(self) -> Iterator[KeptDecision]:
        """Takes out what waits in the rings. For one thread at a time."""
        for ring in self._rings:
            while drained := ring.drain(DRAINED_AT_ONCE):
                for one in drained:
                    yield KeptDecision(one, self._names[one.generation])

    @property
    def kept_dropped(self) -> int:
        """Decisions to be kept that found their ring full."""
        return sum(ring.dropped for ring in self._rings)

    def _add_up(self) -> Sums:
        for listener in self._listeners:
            done = [Sums(decider.sums()) for decider in listener.collect_retired()]
            if done:
                self._retired = add_up([self._retired, *done])
        parts = [self._retired]
        for listener in self._listeners:
            parts += [Sums(decider.sums()) for decider in listener.deciders]
            parts.append(_sums_of_calls(listener))
        return add_up(parts)

    def _open_listeners(self, address: Address) -> int:
        """Makes the threads' sockets and listeners; returns the TCP port."""
        settings = self._settings
        failures = word_failures(self._limits.max_pending, self._source)
        shared: list[socket.socket] = []
        self._name(self._router.snapshot)
        if settings.decision_socket is not None:
            shared.append(_listen_unix(settings.decision_socket))
            self._sockets.extend(shared)
        if self._keep_share > 0:
            self._rings = [Ring(RING_BYTES) for _ in range(settings.decision_threads)]
        for index in range(settings.decision_threads):
            # Each thread accepts for itself: the kernel spreads connections over the sockets of a port.
            own = _listen_tcp(address)
            self._sockets.append(own)
            address = address[0], own.getsockname()
            decider = self._new_decider(self._router.snapshot, index)
            sockets = [own, *shared]
            self._listeners.append(
                Listener(decider, self._longer_way, failures, sockets=sockets, limits=self._limits)
            )
        port: int = address[1][1]
        return port

    def _close_sockets(self) -> None:
        self._listeners.clear()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def _name(self, snapshot: Snapshot) -> None:
        names = SnapshotNames.of(snapshot) if self._keep_share > 0 else None
        # Equal ones, as after a change of rules alone, share their number.
        if names is not None and names not in self._names[-1:]:
            self._names.append(names)

    def _new_decider(self, snapshot: Snapshot, index: int) -> Decider:
        return Decider(
            snapshot,
            self._settings.max_text_bytes,
            self._settings.log_sample,
            ring=self._rings[index] if self._rings else None,
            generation=max(len(self._names) - 1, 0),
            keep_share=self._keep_share,
        )

    def _set_state(self, **flags: bool) -> None:
        for listener in self._listeners:
            listener.set_state(**flags)


def _sums_of_calls(listener: Listener) -> Sums:
    counts = listener.counts()
    rows: list[tuple[str, Labels, list[float]]] = [
        (COVERAGE.name, ("shed",), [counts["shed"]]),
        (REFUSED_CONNECTIONS.name, (), [counts["refused_connections"]]),
        (CONNECTIONS.name, (), [listener.connections]),
    ]
    for number, labels in enumerate(METHODS):
        if counts["started"][number]:
            rows.append((STARTED.name, labels, [counts["started"][number]]))
            seconds = [*counts["handling"][number], counts["handling_ns"][number] * 1e-9]
            rows.append((HANDLING.name, labels, seconds))
        for code, n in enumerate(counts["handled"][number]):
            if n:
                rows.append((HANDLED.name, (*labels, CODE_NAMES[code]), [n]))
    return Sums(rows)


def _listen_tcp(address: Address) -> socket.socket:
    family, name = address
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(name)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


def _listen_unix(path: Path) -> socket.socket:
    """A socket in the file system, for its owner and group; one that nobody listens on any more is replaced."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with probe:
            probe.connect(os.fspath(path))
        raise StartError(f"cannot listen on {path}: another process does")
    path.unlink(missing_ok=True)
    listening.bind(os.fspath(path))
    path.chmod(0o660)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening
