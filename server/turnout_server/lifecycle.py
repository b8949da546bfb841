"""What every process of the service does at its start and end, whether it serves or supervises."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from turnout_server.observability.endpoint import Endpoint, watch_app
from turnout_server.observability.metrics import Sums, make_registry
from turnout_server.settings import Settings

if TYPE_CHECKING:
    from turnout_server.quality.drift.watch import DriftWatch
    from turnout_server.reloading import Reloader


class StartError(Exception):
    """The service cannot start; one line per defect."""


class UnavailableError(StartError):
    """A part that the rest of the service can do without cannot start."""


def watch_signals(
    stop: asyncio.Event,
    reload: Callable[[], Coroutine[Any, Any, object]],
    drift: DriftWatch | None = None,
) -> None:
    """SIGTERM and SIGINT set `stop`; SIGHUP calls `reload`; SIGUSR1 anchors `drift`, if it is there.

    For the running loop of the main thread.
    """
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[object]] = set()

    def start_reload() -> None:
        task = loop.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, start_reload)
    # Without a watch too: unhandled, the signal would end the process.
    loop.add_signal_handler(signal.SIGUSR1, _do_nothing if drift is None else drift.anchor)


def _do_nothing() -> None:
    pass


class Serves(Protocol):
    """What serves in a process of its own."""

    reloader: Reloader
    drift: DriftWatch | None

    async def run(self, stop: asyncio.Event, on_ready: Callable[[int], Awaitable[None]]) -> None:
        """Serves until `stop` is set, then drains; tells the port once requests are let in."""


async def run_until_signal(service: Serves) -> None:
    """Runs a service in this process, without a supervisor, until a signal ends it.

    Raises:
        StartError: a port cannot be listened on.
    """
    stop = asyncio.Event()
    watch_signals(stop, service.reloader.reload, service.drift)

    async def settle(_: int) -> None:
        settle_memory()

    await service.run(stop, settle)


def open_endpoint(
    settings: Settings, read: Callable[[], Iterable[Sums]], is_ready: Callable[[], bool]
) -> Endpoint | None:
    """Opens the metrics port, if the settings have one.

    Args:
        settings: host and port.
        read: the sums of every process that the port speaks for.
        is_ready: what /readyz says.

    Raises:
        StartError: the address cannot be had.
    """
    if settings.metrics_port is None:
        return None
    try:
        return Endpoint(settings.host, settings.metrics_port, watch_app(make_registry(read), is_ready))
    except OSError as error:
        address = f"{settings.host}:{settings.metrics_port}"
        raise StartError(f"cannot listen on {address} for metrics: {error.strerror}") from error


def settle_memory() -> None:
    """Leaves what is there now out of garbage collection, and collects the rest less often.

    A call makes hundreds of objects and almost no cycles: at Python's own thresholds collections cost 5 to
    10% of a call, and a full one holds the loop for tens of milliseconds. What reading policy and bundle has freed goes
    back to the system, where the C library can (glibc): 2 MB and more.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


@contextlib.asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs coroutines in the background of a block, and cancels them at its end."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
