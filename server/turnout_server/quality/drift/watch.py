"""The drift alarm of a whole server: reads what its processes have counted, compares, and tells what it finds.

One process does it for all: the supervisor where there is one, so that the windows hold every worker's decisions and
outlive any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import StrEnum

from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.observability.metrics import (
    DRIFT_ALARM,
    DRIFT_ALARMS,
    DRIFT_ANCHORS,
    DRIFT_INDEX,
    DRIFT_WINDOW,
    INFO,
    MIX,
    UPSTREAM_ANSWERS,
    UPSTREAM_CHANGES,
    Labels,
    Metrics,
    Sums,
    add_up,
)
from turnout_server.quality.drift.detector import Change, Detector, DriftRules
from turnout_server.quality.drift.dimensions import Dimension
from turnout_server.quality.drift.model_versions import ModelVersions
from turnout_server.resilience.clock import Clock, SystemClock
from turnout_server.settings import Settings

INTERVAL_S = 1.0

Stream = tuple[str, str]
"""Policy and port."""


class AnchorCause(StrEnum):
    """Why the alarm began anew. The value is the name in metrics and in the log."""

    REVISION = "revision"
    SIGNAL = "signal"


class DriftWatch:
    """Follows sums that only grow, and compares the decisions between two looks at them."""

    def __init__(
        self,
        read: Callable[[], Iterable[Sums]],
        metrics: Metrics,
        rules: DriftRules,
        clock: Clock | None = None,
    ) -> None:
        """Watches every stream of decisions by `rules`.

        Args:
            read: the sums of all processes; called on any thread.
            metrics: where alarms are counted and shown.
            rules: of every stream.
            clock: of the model versions; None: the machine's.
        """
        self._read = read
        self._metrics = metrics
        self._rules = rules
        self._versions = ModelVersions(SystemClock() if clock is None else clock)
        self._detectors: dict[Stream, Detector] = {}
        self._counted: dict[Labels, float] = {}
        self._revisions: frozenset[Labels] = frozenset()
        self._is_anchored_by_hand = False
        metrics.watch_each(DRIFT_INDEX, self._show_indexes)
        metrics.watch_each(DRIFT_ALARM, self._show_alarms)
        metrics.watch_each(DRIFT_WINDOW, self._show_windows)

    @classmethod
    def of(
        cls, settings: Settings, read: Callable[[], Iterable[Sums]], metrics: Metrics
    ) -> DriftWatch | None:
        """The watch that the operator's settings ask for; None: none."""
        if settings.drift_reference is None:
            return None
        rules = DriftRules(settings.drift_reference, settings.drift_recent, settings.drift_threshold)
        return cls(read, metrics, rules)

    def anchor(self) -> None:
        """Begins anew at the next turn, as the operator's signal asks."""
        self._is_anchored_by_hand = True

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Takes a turn every `interval_s` seconds, in a thread, until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await asyncio.to_thread(self.turn)
            except Exception as error:
                # The watch must live, and the next turn is soon.
                get_logger().error("drift_watch_failed", **describe_cause(error))

    def turn(self) -> None:
        """Takes in what has been counted since the last turn. One thread at a time may call it."""
        values = add_up(self._read()).values
        mixes = self._take_mixes((labels, value) for name, labels, (value, *_) in values if name == MIX.name)
        cause = self._find_anchor(labels for name, labels, _ in values if name == INFO.name)
        if cause is not None:
            # What was decided meanwhile belongs to neither side of the change.
            self._begin_anew(cause)
        else:
            for stream, mix in mixes.items():
                detector = self._detectors.setdefault(stream, Detector(self._rules))
                for change in detector.add(mix):
                    self._tell(stream, change, detector)
        answers = ((labels, value) for name, labels, (value, *_) in values if name == UPSTREAM_ANSWERS.name)
        for one in self._versions.take(answers):
            self._metrics.count(UPSTREAM_CHANGES, one.deployment).add()
            get_logger().warning("upstream_model_changed", **one._asdict())

    def _take_mixes(
        self, counts: Iterable[tuple[Labels, float]]
    ) -> dict[Stream, dict[Dimension, dict[str, float]]]:
        """Decisions since the last turn, by stream and dimension."""
        mixes: dict[Stream, dict[Dimension, dict[str, float]]] = {}
        for labels, value in counts:
            new = value - self._counted.get(labels, 0.0)
            self._counted[labels] = value
            if new > 0:
                policy, port, dimension, category = labels
                mix = mixes.setdefault((policy, port), {each: {} for each in Dimension})
                mix[Dimension(dimension)][category] = new
        return mixes

    def _find_anchor(self, infos: Iterable[Labels]) -> AnchorCause | None:
        revisions = frozenset(infos)
        before, asked = self._revisions, self._is_anchored_by_hand
        self._is_anchored_by_hand = False
        # Where no process is there, one is being started anew.
        if revisions:
            self._revisions = revisions
        if before and revisions and revisions != before:
            return AnchorCause.REVISION
        return AnchorCause.SIGNAL if asked else None

    def _begin_anew(self, cause: AnchorCause) -> None:
        self._detectors = {}
        self._metrics.count(DRIFT_ANCHORS, cause).add()
        revisions = [
            {"policy_revision": policy, "bundle_revision": bundle}
            for _, policy, bundle, _ in sorted(self._revisions)
        ]
        get_logger().info("drift_anchored", cause=cause, revisions=revisions)

    def _tell(self, stream: Stream, change: Change, detector: Detector) -> None:
        policy, port = stream
        log = get_logger()
        if change.began:
            self._metrics.count(DRIFT_ALARMS, policy, port, change.dimension).add()
        (log.warning if change.began else log.info)(
            "drift_began" if change.began else "drift_ended",
            policy=policy,
            port=port,
            dimension=change.dimension,
            stability_index=round(change.stability_index, 4),
            threshold=self._rules.threshold,
            chance=change.chance,
            reference_decisions=int(detector.reference_decisions),
            recent_decisions=int(detector.recent_decisions),
            moved=[
                {"category": one.category, "before": round(one.before, 4), "after": round(one.after, 4)}
                for one in change.moved
            ],
        )

    def _show_indexes(self) -> list[tuple[Labels, float]]:
        return [
            ((*stream, dimension), index)
            for stream, detector in list(self._detectors.items())
            for dimension, index in list(detector.indexes.items())
        ]

    def _show_alarms(self) -> list[tuple[Labels, float]]:
        return [
            ((*stream, dimension), float(dimension in detector.alarmed))
            for stream, detector in list(self._detectors.items())
            for dimension in Dimension
        ]

    def _show_windows(self) -> list[tuple[Labels, float]]:
        return [
            ((*stream, window), decisions)
            for stream, detector in list(self._detectors.items())
            for window, decisions in (
                ("reference", detector.reference_decisions),
                ("recent", detector.recent_decisions),
            )
        ]
