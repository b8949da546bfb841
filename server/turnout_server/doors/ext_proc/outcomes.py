"""What became of requests that a gateway sent where it was told: counted, and stored beside their decisions."""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from turnout_fastpath import Decision, Snapshot

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.cost import attempt_cost
from turnout_server.completion.tokens import TokenCounts
from turnout_server.doors.ext_proc.chat_body import ChatWire
from turnout_server.observability.metrics import GATEWAY_RESPONSES, Count, Metrics
from turnout_server.planning.price_book import PriceBook
from turnout_server.providers.faults import FaultKind
from turnout_server.quality.route_recorder import decision_record
from turnout_server.quality.store.records import AttemptRecord, CostRecord
from turnout_server.quality.store.store import OutcomeStore
from turnout_server.resilience.session_affinity import AUTOMATIC_CACHES, SessionWriter, kept_session_s

# What no response is known of.
NO_STATUS = 0
LEAST_FAILED = 400
GATEWAY = "gateway"


@dataclass
class Outcome:
    """One request that was decided.

    Attributes:
        decision: what was decided.
        wire: the form of the request.
        status: HTTP status of the response; 0: none was told.
        usage: what the provider counted; None: it is not known.
        tenant: who asked, as the gateway says; empty: it does not.
        session_id: the conversation, the same.
    """

    decision: Decision
    wire: ChatWire
    status: int = NO_STATUS
    usage: TokenCounts | None = None
    tenant: str = ""
    session_id: str = ""


class Outcomes:
    """Counts and stores; nothing that it does waits."""

    def __init__(
        self,
        metrics: Metrics,
        store: OutcomeStore | None,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Counts into `metrics`, stores in `store` if there is one; `snapshot` is that of the policy in force."""
        self._metrics = metrics
        self._store = store
        self._snapshot = snapshot
        self._clock = clock
        self._read: Snapshot | None = None
        self._counters: dict[tuple[str, str, int], Count] = {}

    def note(self, outcome: Outcome) -> None:
        """A request has ended."""
        decision = outcome.decision
        key = decision.tier, decision.deployment, outcome.status
        counter = self._counters.get(key)
        if counter is None:
            labels = decision.tier, decision.deployment, str(outcome.status)
            counter = self._counters[key] = self._metrics.count(GATEWAY_RESPONSES, *labels)
        counter.add()
        if not outcome.session_id and self._store is None:
            return
        snapshot = self._snapshot()
        if self._read is not snapshot:
            self._follow(snapshot)
        if outcome.session_id and outcome.status < LEAST_FAILED:
            self._note_session(outcome)
        if self._store is not None:
            self._record(self._store, outcome)

    def _follow(self, snapshot: Snapshot) -> None:
        document = snapshot.policies.document
        self._deployments = {entry["name"]: entry for tier in document["tiers"] for entry in tier["chain"]}
        self._ranks = {tier["name"]: rank for rank, tier in enumerate(document["tiers"])}
        self._kept_s = {name: kept_session_s(policy) for name, policy in document["policies"].items()}
        self._prices = PriceBook(document["prices"])
        self._sessions = SessionWriter(snapshot.state)
        self._read = snapshot

    def _note_session(self, outcome: Outcome) -> None:
        decision = outcome.decision
        keep_s = self._kept_s.get(decision.policy)
        rank = self._ranks.get(decision.tier)
        # A reload may have taken policy or tier away.
        if keep_s is None or rank is None:
            return
        entry = self._deployments.get(decision.deployment, {})
        self._sessions.note_answer(
            outcome.session_id,
            rank,
            decision.deployment,
            outcome.usage or TokenCounts(),
            keep_s=keep_s,
            automatic_cache=entry.get("provider") in AUTOMATIC_CACHES,
        )

    def _record(self, store: OutcomeStore, outcome: Outcome) -> None:
        decision = outcome.decision
        now_s = self._clock()
        entry = self._deployments.get(decision.deployment, {})
        served = 200 <= outcome.status < 300
        result = (
            AttemptResult.SERVED if served else AttemptResult.FAILED if outcome.status else AttemptResult.LOST
        )
        attempt_id = secrets.token_hex(16)
        store.record_decision(decision_record(decision, int(now_s * 1000), outcome.tenant, strategy=GATEWAY))
        store.record_attempt(
            AttemptRecord(
                attempt_id=attempt_id,
                decision_id=decision.decision_id,
                begun_ms=int(now_s * 1000),
                deployment=decision.deployment,
                model=entry.get("model", ""),
                purpose=Purpose.SERVE,
                result=result,
                fault=None if served or not outcome.status else _fault_of(outcome.status),
            )
        )
        if outcome.usage is not None:
            today = datetime.datetime.fromtimestamp(now_s, datetime.UTC).date()
            price = self._prices.at(entry.get("price"), today)
            cost = attempt_cost(outcome.usage, price, purpose=Purpose.SERVE, result=result)
            store.record_cost(
                CostRecord(
                    attempt_id=attempt_id,
                    decision_id=decision.decision_id,
                    at_ms=int(now_s * 1000),
                    policy=decision.policy,
                    tier=decision.tier,
                    deployment=decision.deployment,
                    tokens=outcome.usage,
                    cost=cost,
                    tenant=outcome.tenant,
                ),
                price,
            )


def _fault_of(status: int) -> FaultKind:
    if status == 429:
        return FaultKind.RATE_LIMITED
    if status == 529:
        return FaultKind.OVERLOADED
    if status >= 500:
        return FaultKind.SERVER_ERROR
    return FaultKind.CONFIGURATION if status in (401, 403, 404) else FaultKind.BAD_REQUEST
