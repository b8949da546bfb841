"""From the decision port's rings to the outcome store, on a thread of its own in the same process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from turnout_fastpath import Status, Strategy

from turnout_server.doors.decision_port.kept import KeptDecision
from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.observability.metrics import DECISIONS, Labels, Sums
from turnout_server.quality.drift.tally import MixTally
from turnout_server.quality.store.records import DecisionRecord
from turnout_server.quality.store.store import OutcomeStore

INTERVAL_S = 0.5


class KeepsDecisions(Protocol):
    """The decision port."""

    def drain_kept(self) -> Iterable[KeptDecision]:
        """Takes out what waits in the rings."""

    def sums(self) -> Sums:
        """What its threads have counted."""


class RingFeed:
    """Writes kept decisions, and how many there were in all, some times a second."""

    def __init__(
        self,
        port: KeepsDecisions,
        store: OutcomeStore,
        tally: MixTally | None = None,
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Reads from `port` every `interval_s` seconds, once started.

        Args:
            port: what decides.
            store: gets decisions and counts.
            tally: counts for the drift alarm; None: there is none.
            interval_s: between two turns.
            clock: seconds since 1970.
        """
        self._port = port
        self._tally = tally
        self._store = store
        self._interval_s = interval_s
        self._clock = clock
        self._counted: dict[Labels, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ring-feed", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Ends, with what is there written. The port must have stopped."""
        self._stopping.set()
        self._thread.join()
        self.turn()

    def turn(self) -> None:
        """Writes what has come since the last turn."""
        try:
            for kept in self._port.drain_kept():
                record = record_of(kept)
                self._store.keep_decision(record)
                if self._tally is not None:
                    self._tally.count_drawn(
                        record.policy,
                        record.tier,
                        kept.drained.status,
                        record.task,
                        record.tokens_total,
                        kept.drained.p_sufficient[0],
                    )
            self._count()
        except Exception as error:
            # The thread must live, and the next turn is soon.
            get_logger().error("ring_feed_failed", **describe_cause(error))

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.turn()

    def _count(self) -> None:
        now_ms = int(self._clock() * 1000)
        for name, labels, (total, *_) in self._port.sums().values:
            if name != DECISIONS.name:
                continue
            new = round(total - self._counted.get(labels, 0.0))
            if new > 0:
                policy, tier, status = labels
                self._store.count_decisions(now_ms, policy, tier, status, new)
                self._counted[labels] = total


def record_of(kept: KeptDecision) -> DecisionRecord:
    """What is stored of a decision from a ring."""
    one, names = kept.drained, kept.names
    policy_revision, bundle_revision, features_revision = names.revisions
    return DecisionRecord(
        decision_id=one.decision_id,
        at_ms=one.at_ms,
        policy=names.policies[one.policy],
        tier=names.tiers[one.tier],
        status=Status(one.status).name.lower(),
        deployment=names.deployments[one.deployment],
        tenant=one.tenant,
        task=names.tasks[one.task] if one.task >= 0 else "",
        strategy=Strategy(one.strategy).name.lower(),
        propensity=one.propensity,
        tokens_total=one.tokens_total,
        p_sufficient={
            tier: p for tier, p in zip(names.tiers, one.p_sufficient, strict=False) if p is not None
        },
        policy_revision=policy_revision,
        bundle_revision=bundle_revision,
        features_revision=features_revision,
        features=one.features,
        inputs_revision=names.inputs_revision if one.features is not None else "",
        prompt=one.text or None,
    )
