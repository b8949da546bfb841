"""Several workers on one port: started before any gRPC object exists, watched, restarted, drained."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import orjson

from turnout_server.lifecycle import StartError, open_endpoint, running, watch_signals
from turnout_server.observability.logs import get_logger
from turnout_server.observability.metrics import RESTARTS, Metrics, Sums, add_up
from turnout_server.ports import reserve_port
from turnout_server.quality.drift.watch import DriftWatch
from turnout_server.settings import Settings
from turnout_server.state_file import create_state_file
from turnout_server.worker import write_settings

# Beyond the drain's own times, until a worker that does not end is killed.
KILL_MARGIN_S = 5.0
# A line of metrics; one of 1,000 rows takes 0.1 MB.
MAX_LINE_BYTES = 64 << 20


class Backoff:
    """How long to wait before a worker is started anew: twice as long each time, until one has lived long."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        first_s: float = 0.1,
        most_s: float = 10.0,
        stable_s: float = 60.0,
    ) -> None:
        """Starts at `first_s` again once a worker has lived for `stable_s`."""
        self._clock = clock
        self._first_s = first_s
        self._most_s = most_s
        self._stable_s = stable_s
        self._next_s = first_s
        self._began = clock()

    def note_start(self) -> None:
        """The worker has been started."""
        self._began = self._clock()

    def next_s(self) -> float:
        """Seconds to wait, now that it has ended."""
        if self._clock() - self._began >= self._stable_s:
            self._next_s = self._first_s
        delay = self._next_s
        self._next_s = min(self._most_s, 2 * delay)
        return delay


class Worker:
    """One worker's process and the line to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.is_ready = False
        self.was_ready = False
        self.failure = ""
        self.is_unavailable = False
        self.sums = Sums([])
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, settings: Settings, module: str, name: str) -> Worker:
        """Starts a process that runs `module` under a name, and sends it its settings."""
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                name,
                stdin=theirs.fileno(),
                # Ctrl-C in a terminal reaches the supervisor alone, which drains its workers.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        worker = cls(process, reader, writer)
        await worker.send(write_settings(settings))
        return worker

    async def send(self, line: bytes) -> None:
        """Sends a line; a worker that is gone hears nothing."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(line)
            await self._writer.drain()

    async def command(self, name: str) -> None:
        """Sends a command: reload or drain."""
        if name == "drain":
            self.is_ready = False
        await self.send(orjson.dumps({"do": name}) + b"\n")

    async def wait(self) -> int:
        """Hears the worker out, and returns its exit code; negative is a signal's number."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                self._hear(orjson.loads(line))
        self.is_ready = False
        code = await self.process.wait()
        self._writer.close()
        return code

    def _hear(self, message: dict[str, object]) -> None:
        match message:
            case {"sums": list(rows)}:
                self.sums = Sums.from_json(rows)
            case {"ready": _}:
                self.is_ready = self.was_ready = True
            case {"unavailable": str(failure)}:
                self.failure = failure
                self.is_unavailable = True
            case {"failed": str(failure)}:
                self.failure = failure


@dataclasses.dataclass(frozen=True)
class Place:
    """A worker that is to be kept alive.

    Attributes:
        name: in the log; a number from 0 for those of the main port.
        module: what it runs.
        settings: what it is told.
    """

    name: str
    module: str
    settings: Settings


MAIN, DECISION = "turnout_server.worker", "turnout_server.decision_worker"


class _Counted(NamedTuple):
    """Whose sums are told: each worker's once, in one of the two."""

    living: Mapping[Place, Worker]
    retired: Sums


class Supervisor:
    """Keeps `settings.workers` workers of the main port, and one of the decision port, alive until it is to stop."""

    def __init__(self, settings: Settings, new_backoff: Callable[[], Backoff] = Backoff) -> None:
        self._settings = settings
        self._new_backoff = new_backoff
        # Replaced as a whole, since the metrics are read on threads of their own.
        self._counted = _Counted({}, Sums([]))
        self._metrics = Metrics()
        self._restarts = self._metrics.count(RESTARTS)
        self._drift = DriftWatch.of(settings, self._sums, self._metrics)
        self._stop = asyncio.Event()
        self._failure: StartError | None = None

    async def run(self) -> None:
        """Runs until a signal or `stop`, then drains.

        Raises:
            StartError: a worker could not start at all, or a port cannot be listened on.
        """
        log = get_logger()
        with contextlib.ExitStack() as stack:
            reserved = stack.enter_context(reserve_port(self._settings.host, self._settings.port))
            port = reserved.getsockname()[1]
            state = create_state_file(self._settings)
            if state is not None and self._settings.state is None:
                stack.callback(state.unlink, missing_ok=True)
            each = dataclasses.replace(
                self._settings, port=port, metrics_port=None, decision_port=None, state=state
            )
            places = [Place(str(index), MAIN, each) for index in range(self._settings.workers)]
            decision_port = None
            if self._settings.decision_port is not None:
                held = stack.enter_context(reserve_port(self._settings.host, self._settings.decision_port))
                decision_port = held.getsockname()[1]
                places.append(
                    Place("decision", DECISION, dataclasses.replace(each, decision_port=decision_port))
                )
            endpoint = open_endpoint(self._settings, self._sums, self._is_ready)
            if endpoint is not None:
                stack.callback(endpoint.close)
            watch_signals(self._stop, self._reload, self._drift)
            log.info(
                "supervising_started",
                workers=self._settings.workers,
                port=port,
                decision_port=decision_port,
                metrics_port=None if endpoint is None else endpoint.port,
            )
            watching = [] if self._drift is None else [self._drift.run()]
            async with running(*watching):
                await asyncio.gather(*(self._keep(place) for place in places))
        if self._failure is not None:
            raise self._failure
        log.info("supervising_stopped")

    def stop(self) -> None:
        """Ends `run`, as a signal does."""
        self._stop.set()

    async def _keep(self, place: Place) -> None:
        """Keeps one worker alive."""
        backoff = self._new_backoff()
        while not self._stop.is_set():
            backoff.note_start()
            worker = await Worker.start(place.settings, place.module, place.name)
            self._enter(place, worker)
            code = await self._live(worker)
            self._retire(place, worker)
            if self._stop.is_set():
                return
            if worker.is_unavailable:
                # The main port serves all the same.
                get_logger().error("worker_unavailable", worker=place.name, cause=worker.failure)
                return
            if not worker.was_ready and self._restarts.value == 0:
                # At the start, what one cannot do none can: say so instead of trying for ever.
                cause = worker.failure or f"a worker ended with code {code} before it was ready"
                self._failure = self._failure or StartError(cause)
                self._stop.set()
                return
            delay_s = backoff.next_s()
            self._restarts.add()
            get_logger().error(
                "worker_ended",
                worker=place.name,
                exit_code=code,
                failure=worker.failure,
                restart_in_s=delay_s,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay_s)

    async def _live(self, worker: Worker) -> int:
        """Waits for a worker's end, its own or the one that `stop` brings; returns the exit code."""
        ended = asyncio.create_task(worker.wait())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if ended.done():
            return ended.result()
        await worker.command("drain")
        patience_s = self._settings.drain_grace_s + self._settings.drain_s + KILL_MARGIN_S
        await asyncio.wait((ended,), timeout=patience_s)
        if not ended.done():
            get_logger().error("worker_killed", pid=worker.process.pid, waited_s=patience_s)
            worker.process.kill()
        return await ended

    def _enter(self, place: Place, worker: Worker) -> None:
        self._counted = self._counted._replace(living={**self._counted.living, place: worker})

    def _retire(self, place: Place, worker: Worker) -> None:
        living = dict(self._counted.living)
        del living[place]
        self._counted = _Counted(living, add_up([self._counted.retired, worker.sums.without_gauges()]))

    async def _reload(self) -> None:
        for worker in self._counted.living.values():
            await worker.command("reload")

    def _sums(self) -> Iterable[Sums]:
        living, retired = self._counted
        return [self._metrics.sums(), retired, *(worker.sums for worker in living.values())]

    def _is_ready(self) -> bool:
        return any(worker.is_ready for place, worker in self._counted.living.items() if place.module == MAIN)
