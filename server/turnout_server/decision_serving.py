"""A process that serves the decision port alone: no grpcio server, no completion."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from turnout_fastpath import Engine, Snapshot, StateBlock, StateError

from turnout_server.doors.decision_port.port import DecisionPort
from turnout_server.lifecycle import StartError, open_endpoint, run_until_signal, running
from turnout_server.observability.logs import get_logger
from turnout_server.observability.metrics import MIX, Metrics, Sums, add_up
from turnout_server.reloading import ConfigurationError, Reloader, Source
from turnout_server.routing import Router, revisions_of
from turnout_server.settings import Settings

if TYPE_CHECKING:
    from turnout_server.quality.drift.tally import MixTally
    from turnout_server.quality.ring_feed import RingFeed
    from turnout_server.quality.route_recorder import RouteRecorder
    from turnout_server.quality.store.store import OutcomeStore

# The setting `store` that means nowhere; place.py, which knows it too, needs SQLAlchemy.
OFF = "off"


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
        self.recording = _Recording.open(settings, self.router, self.metrics)
        self.drift = None
        if self.recording is not None and not shares_port:
            # Of several processes, the supervisor watches all.
            from turnout_server.quality.drift.watch import DriftWatch

            self.drift = DriftWatch.of(settings, lambda: [self.sums()], self.metrics)
        outcomes = None
        if settings.ext_proc:
            # Not there where no Envoy asks: it knows of costs and of the store.
            from turnout_server.doors.ext_proc.outcomes import Outcomes

            store = None if self.recording is None else self.recording.store
            outcomes = Outcomes(self.metrics, store, lambda: self.router.snapshot)
        self.port = DecisionPort(
            settings,
            self.router,
            self.metrics,
            recorder=None if self.recording is None else self.recording.recorder,
            keep_share=0.0 if self.recording is None else settings.store_sample,
            shares_port=shares_port,
            ext_proc=outcomes,
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
        sums = [self.metrics.sums(), self.port.sums()]
        if self.recording is not None:
            sums.append(self.recording.sums(self.port))
        return add_up(sums)

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
            if self.recording is not None:
                # Last, when the port has stopped.
                stack.push_async_callback(asyncio.to_thread, self.recording.close)
            endpoint = open_endpoint(self.settings, lambda: [self.sums()], lambda: self.port.is_serving)
            if endpoint is not None:
                stack.callback(endpoint.close)
            number = await self.port.start()
            stack.push_async_callback(self.port.stop)
            if self.recording is not None:
                self.recording.feed(self.port)
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
            if self.drift is not None:
                await stack.enter_async_context(running(self.drift.run()))
            if on_ready is not None:
                await on_ready(number)
            await stop.wait()
            log.info("draining_started", connections=self.port.connections)
            await self.port.drain()
        log.info("deciding_stopped")


class _Recording:
    """The store of this process, and what writes to it. Only with a store is any of this imported."""

    def __init__(self, store: OutcomeStore, recorder: RouteRecorder, tally: MixTally | None) -> None:
        self.recorder = recorder
        self._tally = tally
        self.store = store
        self._feed: RingFeed | None = None

    @classmethod
    def open(cls, settings: Settings, router: Router, metrics: Metrics) -> _Recording | None:
        """None: nothing is stored."""
        if settings.store == OFF:
            return None
        from turnout_server.quality.route_recorder import RouteRecorder
        from turnout_server.quality.store.place import find_place
        from turnout_server.quality.store.redaction import redact
        from turnout_server.quality.store.store import Options, OutcomeStore

        place = find_place(settings.store)
        assert place is not None
        store = OutcomeStore(place, Options(redact=redact))
        tally = None
        if settings.drift_reference is not None:
            from turnout_server.quality.drift.tally import MixTally, Port

            # The share that the rings hold, of what Python decides too.
            tally = MixTally(Port.DECISION, settings.store_sample)
            metrics.tell_decisions(tally.count)
            metrics.watch_each(MIX, tally.read)
        return cls(store, RouteRecorder(store, router, settings.store_sample), tally)

    def feed(self, port: DecisionPort) -> None:
        """Begins to write what the port's rings hold."""
        from turnout_server.quality.ring_feed import RingFeed

        self._feed = RingFeed(port, self.store, self._tally)
        self._feed.start()

    def sums(self, port: DecisionPort) -> Sums:
        """What became of rows."""
        from turnout_server.quality.store.store_sums import store_sums

        return store_sums(self.store.counters, dropped_in_rings=port.kept_dropped)

    def close(self) -> None:
        """Writes what is left."""
        if self._feed is not None:
            self._feed.close()
        self.store.close()


async def serve_decisions(settings: Settings) -> None:
    """Serves in this process until a signal ends it.

    Raises:
        StartError: the service cannot start.
    """
    await run_until_signal(DecisionService(settings))
