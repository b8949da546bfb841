"""A process that serves the decision port alone: no grpcio server, no completion."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from turnout_fastpath import Engine, Snapshot, StateBlock, StateError

from turnout_server.doors.decision_port.port import DecisionPort
from turnout_server.lifecycle import StartError, open_endpoint, running, settle_memory, watch_signals
from turnout_server.observability.logs import get_logger
from turnout_server.observability.metrics import Metrics, Sums, add_up
from turnout_server.reloading import ConfigurationError, Reloader, Source
from turnout_server.routing import Router, revisions_of
from turnout_server.settings import Settings


class DecisionService:
    """The parts of one process, put together."""

    def __init__(self, settings: Settings, *, shares_port: bool = False) -> None:
        """Loads policy and bundle, and assembles the port.

        Args:
            settings: everything that the operator says.
            shares_port: whether another process holds the port.

        Raises:
            StartError: policy, bundle or state cannot be used.
        """
        self.settings = settings
        self.metrics = Metrics()
        source = Source(settings.policy, settings.bundle)
        marks = source.marks()
        try:
            snapshot = source.compile(StateBlock(settings.state))
        except (ConfigurationError, StateError, OSError) as error:
            raise StartError(str(error)) from error
        self.router = Router(Engine(snapshot), self.metrics)
        outcomes = None
        if settings.ext_proc:
            # Not there where no Envoy asks: it knows of costs and of the store.
            from turnout_server.doors.ext_proc.outcomes import Outcomes

            outcomes = Outcomes(self.metrics, None, lambda: self.router.snapshot)
        self.port = DecisionPort(
            settings, self.router, self.metrics, shares_port=shares_port, ext_proc=outcomes
        )
        self.reloader = Reloader(source, marks, self, self.metrics)

    @property
    def snapshot(self) -> Snapshot:
        """What decisions are made with now."""
        return self.router.snapshot

    async def install(self, snapshot: Snapshot) -> None:
        """Swaps what decides, in Python and in every thread."""
        await self.router.install(snapshot)
        await self.port.install(snapshot)

    def sums(self) -> Sums:
        """Everything that is counted. May be called on any thread."""
        return add_up([self.metrics.sums(), self.port.sums()])

    async def run(
        self, stop: asyncio.Event, on_ready: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        """Serves until `stop` is set, then drains.

        Args:
            stop: ends the service.
            on_ready: told the port once requests are let in.

        Raises:
            StartError: a port cannot be listened on, or libnghttp2 is missing.
        """
        log = get_logger()
        async with contextlib.AsyncExitStack() as stack:
            endpoint = open_endpoint(self.settings, lambda: [self.sums()], lambda: self.port.is_serving)
            if endpoint is not None:
                stack.callback(endpoint.close)
            number = await self.port.start()
            stack.push_async_callback(self.port.stop)
            await self.port.open()
            policy, bundle, features = revisions_of(self.router.snapshot)
            log.info(
                "deciding_started",
                host=self.settings.host,
                decision_port=number,
                threads=self.settings.decision_threads,
                metrics_port=None if endpoint is None else endpoint.port,
                policy_revision=policy,
                bundle_revision=bundle,
                features_revision=features,
            )
            await stack.enter_async_context(running(self.reloader.watch(self.settings.reload_poll_s)))
            if on_ready is not None:
                await on_ready(number)
            await stop.wait()
            log.info("draining_started", connections=self.port.connections)
            await self.port.drain()
        log.info("deciding_stopped")


async def serve_decisions(settings: Settings) -> None:
    """Serves in this process until a signal ends it.

    Raises:
        StartError: the service cannot start.
    """
    service = DecisionService(settings)
    stop = asyncio.Event()
    watch_signals(stop, service.reloader.reload)

    async def settle(_: int) -> None:
        settle_memory()

    await service.run(stop, settle)
