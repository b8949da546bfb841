"""One serving process: what it consists of, and its life from start to drain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random

from turnout_fastpath import Engine, Snapshot, StateBlock, StateError

from turnout_server.budget_records import BudgetRecords
from turnout_server.budget_sharing import BudgetSharing
from turnout_server.challenger import Challenger
from turnout_server.completion.completer import Completer
from turnout_server.completion.live_limits import LiveLimits
from turnout_server.completion.recording import Recorder
from turnout_server.completion.stated_limits import WorkerPlace
from turnout_server.doors.ext_proc.outcomes import Outcomes
from turnout_server.doors.server import MainPort
from turnout_server.lifecycle import StartError, open_endpoint, run_until_signal, running
from turnout_server.observability.logs import get_logger
from turnout_server.observability.metrics import MIX, Metrics, Sums, add_up
from turnout_server.providers.aiohttp_transport import AiohttpTransport
from turnout_server.providers.registry import create_providers
from turnout_server.quality.drift.tally import MixTally, Port
from turnout_server.quality.drift.watch import DriftWatch
from turnout_server.quality.route_recorder import RouteRecorder
from turnout_server.quality.store.place import find_place
from turnout_server.quality.store.redaction import redact
from turnout_server.quality.store.store import Options, OutcomeStore
from turnout_server.quality.store.store_sums import store_sums
from turnout_server.reloading import ConfigurationError, Reloader, Source
from turnout_server.resilience.clock import SystemClock
from turnout_server.routing import Router, revisions_of
from turnout_server.settings import Settings

# Most time after the drain for judges and shadows; what is left then is cancelled.
MAX_ASIDE_DRAIN_S = 5.0


class Service:
    """The parts of one process, put together."""

    def __init__(self, settings: Settings, *, shares_port: bool = False, index: int = 0) -> None:
        """Loads policy and bundle, and assembles the port; needs the running loop that will serve.

        Args:
            settings: everything that the operator says.
            shares_port: whether other processes listen on the same port.
            index: which of `settings.workers` this is, from 0.

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
        self.reloader = Reloader(source, marks, self, self.metrics)
        if settings.drift_reference is not None:
            tally = MixTally(Port.MAIN)
            self.metrics.tell_decisions(tally.count)
            self.metrics.watch_each(MIX, tally.read)
        # Of several processes, the supervisor watches all.
        self.drift = None if shares_port else DriftWatch.of(settings, lambda: [self.sums()], self.metrics)
        self.challenger = None
        if settings.challenger is not None:
            challenging = Source(settings.policy, settings.challenger)
            self.challenger = Challenger(challenging, snapshot.state, self.metrics)
            self.router.offer_to(self.challenger)
        self._transport = AiohttpTransport()
        place = find_place(settings.store)
        self.store = None if place is None else OutcomeStore(place, Options(redact=redact))
        clock, random = SystemClock(), Random()
        self.sharing = None
        try:
            if settings.shared_limits is not None:
                self.sharing = BudgetSharing(settings, snapshot.state, clock, random, self.metrics)
            self.limits = LiveLimits(
                snapshot,
                clock,
                random,
                self.metrics,
                place=WorkerPlace(index, settings.workers),
                elsewhere=None if self.sharing is None else self.sharing.spend,
            )
            self.completer = Completer(
                snapshot,
                create_providers(self._transport),
                clock,
                random,
                Recorder(self.metrics, self.store, soon=asyncio.get_running_loop().call_soon),
                first_token_s=settings.first_token_s,
                inter_token_s=settings.inter_token_s,
                max_escalations=settings.max_escalations,
                limits=self.limits,
            )
        except StateError as error:
            raise StartError(str(error)) from error
        recorder = None
        if self.store is not None:
            recorder = RouteRecorder(self.store, self.router, settings.store_sample)
        outcomes = Outcomes(self.metrics, self.store, lambda: self.router.snapshot)
        self._records = BudgetRecords(self.limits, self.store, place, clock, self.sharing)
        self._records.restore_now()
        if self.sharing is not None:
            self.sharing.start()
        self.port = MainPort(
            settings,
            self.router,
            self.metrics,
            completer=self.completer,
            recorder=recorder,
            ext_proc=outcomes if settings.ext_proc else None,
            shares_port=shares_port,
        )

    @property
    def snapshot(self) -> Snapshot:
        """What decisions are made with now."""
        return self.router.snapshot

    async def install(self, snapshot: Snapshot) -> None:
        """Swaps what decides, and what bounds completions."""
        await self.router.install(snapshot)
        self.limits.follow(snapshot)
        await self._records.restore()

    def sums(self) -> Sums:
        """Everything that is counted. May be called on any thread."""
        sums = self.metrics.sums()
        return sums if self.store is None else add_up([sums, store_sums(self.store.counters)])

    async def close(self) -> None:
        """Ends what no caller waits for, closes the connections to providers, and writes what the store still holds."""
        await self.completer.grading.drain(0)
        if self.sharing is not None:
            self.sharing.close()
        await self._transport.close()
        if self.store is not None:
            await asyncio.to_thread(self.store.close)

    async def run(
        self, stop: asyncio.Event, on_ready: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        """Serves until `stop` is set, then drains.

        Args:
            stop: ends the service.
            on_ready: told the main port once requests are let in.

        Raises:
            StartError: a port cannot be listened on.
        """
        log = get_logger()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.close)
            endpoint = open_endpoint(
                self.settings, lambda: [self.sums()], lambda: self.port.health.is_serving
            )
            if endpoint is not None:
                stack.callback(endpoint.close)
            number = await self.port.start()
            stack.push_async_callback(self.port.stop)
            await self.port.open()
            policy, bundle, features = revisions_of(self.router.snapshot)
            log.info(
                "serving_started",
                host=self.settings.host,
                port=number,
                metrics_port=None if endpoint is None else endpoint.port,
                policy_revision=policy,
                bundle_revision=bundle,
                features_revision=features,
            )
            watching = self.reloader.watch(self.settings.reload_poll_s)
            await stack.enter_async_context(running(watching, self._records.keep()))
            if self.challenger is not None:
                challenge = self.challenger.run(self.settings.reload_poll_s)
                await stack.enter_async_context(running(challenge))
            if self.drift is not None:
                await stack.enter_async_context(running(self.drift.run()))
            if on_ready is not None:
                await on_ready(number)
            await stop.wait()
            log.info("draining_started", in_flight=self.port.admission.in_flight)
            await self.port.drain()
            await self.completer.grading.drain(min(self.settings.drain_s, MAX_ASIDE_DRAIN_S))
        log.info("serving_stopped")


async def serve(settings: Settings) -> None:
    """Serves in this process until a signal ends it.

    Raises:
        StartError: the service cannot start.
    """
    await run_until_signal(Service(settings))
