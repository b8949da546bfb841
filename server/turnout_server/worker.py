"""A worker: one serving process under a supervisor, which it hears on its standard input.

Standard input is one end of a socket pair. On it come the settings, then commands; on it go what the worker
has become and its metrics. Lines of JSON both ways. When it closes, the supervisor is gone, and it drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from turnout_server.settings import KNOBS, Settings, load_settings

if TYPE_CHECKING:
    from turnout_server.observability.metrics import Sums
    from turnout_server.reloading import Reloader

# How often the supervisor hears a worker's metrics.
PUSH_S = 1.0


def write_settings(settings: Settings) -> bytes:
    """The first line that a worker is sent."""
    shown = {knob.name: knob.meaning.kind.show(getattr(settings, knob.name)) for knob in KNOBS}
    return orjson.dumps(shown) + b"\n"


def read_settings(line: bytes) -> Settings:
    """The inverse of `write_settings`."""
    return load_settings(orjson.loads(line), {}).settings


class Control:
    """The worker's end of the line to its supervisor."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def tell(self, **message: Any) -> None:
        """Sends one line; a supervisor that is gone does not keep the worker from draining."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(orjson.dumps(message) + b"\n")
            await self._writer.drain()

    async def hear(self) -> str | None:
        """The next command; None when the supervisor is gone."""
        line = b""
        # A write that failed before says so here.
        with contextlib.suppress(ConnectionError):
            line = await self._reader.readline()
        return orjson.loads(line)["do"] if line else None

    async def close(self) -> None:
        """Hangs up, once all is sent."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class WorkerService(Protocol):
    """What a worker runs."""

    reloader: Reloader

    def sums(self) -> Sums:
        """Everything that is counted."""

    async def run(self, stop: asyncio.Event, on_ready: Callable[[int], Awaitable[None]]) -> None:
        """Serves until `stop` is set."""


class MakeService(Protocol):
    """The class of such a service."""

    def __call__(self, settings: Settings, *, shares_port: bool) -> WorkerService:
        """Assembles it."""


async def _work(settings: Settings, end: socket.socket, make: MakeService) -> int:
    # Imported here: the supervisor reads this file too, and needs neither grpc nor the engine.
    from turnout_server.lifecycle import StartError, UnavailableError, running, settle_memory, watch_signals

    control = Control(*await asyncio.open_unix_connection(sock=end))
    stop = asyncio.Event()
    try:
        service = make(settings, shares_port=True)
        watch_signals(stop, service.reloader.reload)

        async def obey() -> None:
            try:
                while await control.hear() == "reload":
                    await service.reloader.reload()
            finally:
                stop.set()

        async def push() -> None:
            while True:
                await control.tell(sums=service.sums().values)
                await asyncio.sleep(PUSH_S)

        async def begin(port: int) -> None:
            settle_memory()
            await control.tell(ready=port)

        async with running(obey(), push()):
            await service.run(stop, begin)
        await control.tell(sums=service.sums().values)
    except UnavailableError as error:
        await control.tell(unavailable=str(error))
        return 1
    except StartError as error:
        await control.tell(failed=str(error))
        return 1
    finally:
        await control.close()
    return 0


def main(make: MakeService) -> int:
    """Runs a worker and returns the process's exit code."""
    end = socket.socket(fileno=0)
    with end.makefile("rb", buffering=0) as lines:
        settings = read_settings(lines.readline())
    end.setblocking(False)
    import uvloop

    from turnout_server.observability.logs import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    return uvloop.run(_work(settings, end, make))


if __name__ == "__main__":
    from turnout_server.serving import Service

    # The supervisor's name for it: a number from 0.
    sys.exit(main(functools.partial(Service, index=int(sys.argv[1]))))
