"""Decisions of `Route` that Python makes, into the outcome store: all are counted, a share is kept in detail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from turnout_fastpath import Decision, Engine, Request, Snapshot, Status
from turnout_fastpath.bundle import inputs_revision

from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.quality.store.records import DecisionRecord
from turnout_server.quality.store.sampling import is_drawn
from turnout_server.quality.store.store import DecisionCount, OutcomeStore
from turnout_server.routing import Router


class RouteRecorder:
    """Stores decisions of `Route`. One thread at a time may call it; it neither raises nor waits."""

    def __init__(
        self, store: OutcomeStore, router: Router, share: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Keeps a share, 0 to 1, of the detail of decisions that `router` makes; `clock` in seconds since 1970."""
        self._store = store
        self._router = router
        self._share = share
        self._clock = clock
        self._inputs = InputsReader()
        # Sums that only grow, each in a list of one: adding to one costs a decision next to nothing, and what has been
        # told of each is the store's thread's own.
        self._sums: dict[tuple[str, str, Status], list[int]] = {}
        self._told: dict[tuple[str, str, Status], int] = {}
        store.add_source(self._untold)

    def count(self, decision: Decision) -> bool:
        """Counts a decision; True: its detail is to be kept too."""
        key = decision.policy, decision.tier, decision.status
        total = self._sums.get(key)
        if total is None:
            total = self._sums[key] = [0]
        total[0] += 1
        return is_drawn(decision.decision_id, self._share)

    def keep(self, decision: Decision, request: Request, tenant: str, question: str) -> None:
        """Keeps the detail; text and features as the policy says."""
        try:
            snapshot = self._router.snapshot
            keeps_text, keeps_features = kept_of(snapshot, decision.policy)
            features, revision = None, ""
            # A reload between the decision and now leaves the vector out: it would be of another revision.
            if keeps_features and decision.bundle_revision == snapshot.bundle.revision.hex():
                features, revision = self._inputs.read(snapshot, request)
            record = decision_record(
                decision,
                self._now_ms(),
                tenant,
                features=features,
                inputs_revision=revision,
                prompt=question if keeps_text and question else None,
            )
        except Exception as error:
            get_logger().error("route_not_recorded", **describe_cause(error))
            return
        self._store.keep_decision(record)

    def _untold(self) -> Iterator[DecisionCount]:
        """What has been counted since the last call; called by the store's thread."""
        now_ms = self._now_ms()
        for key, total in list(self._sums.items()):
            policy, tier, status = key
            counted = total[0]
            if decisions := counted - self._told.get(key, 0):
                self._told[key] = counted
                yield DecisionCount(now_ms, policy, tier, status.name.lower(), decisions)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def kept_of(snapshot: Snapshot, policy: str) -> tuple[bool, bool]:
    """Whether a policy has text kept, and features."""
    policies = snapshot.policies.document["policies"]
    # A reload may have taken the policy away.
    record = policies.get(policy, {}).get("record") or {}
    return bool(record.get("text")), bool(record.get("features"))


class InputsReader:
    """Reads what the classifier reads of a request, with the memory of one engine a snapshot."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def read(self, snapshot: Snapshot, request: Request) -> tuple[bytes | None, str]:
        """The row, little-endian float32, and its revision; None and empty: rules alone decided."""
        engine = self._engine
        if engine is None or engine.snapshot is not snapshot:
            self._engine = engine = Engine(snapshot)
        try:
            row = engine.classifier_inputs(request).astype("<f4").tobytes()
        except ValueError:
            return None, ""
        return row, inputs_revision(snapshot.bundle)


def decision_record(
    decision: Decision,
    now_ms: int,
    tenant: str,
    *,
    strategy: str | None = None,
    features: bytes | None = None,
    inputs_revision: str = "",
    prompt: str | None = None,
    answer: str | None = None,
) -> DecisionRecord:
    """What is stored of a decision; `strategy` where it was carried out in another way than decided."""
    return DecisionRecord(
        decision_id=decision.decision_id,
        at_ms=now_ms,
        policy=decision.policy,
        tier=decision.tier,
        status=decision.status.name.lower(),
        deployment=decision.deployment,
        tenant=tenant,
        task=decision.task or "",
        strategy=decision.strategy.name.lower() if strategy is None else strategy,
        propensity=decision.propensity,
        tokens_total=decision.tokens_total,
        p_sufficient={c.tier: c.p_sufficient for c in decision.candidates if c.p_sufficient is not None},
        policy_revision=decision.policy_revision,
        bundle_revision=decision.bundle_revision,
        features_revision=decision.features_revision,
        features=features,
        inputs_revision=inputs_revision,
        prompt=prompt,
        answer=answer,
    )
