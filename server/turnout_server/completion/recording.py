"""What is counted and stored of a completion: the decision, its attempts, what they cost, what the gates said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from turnout_fastpath import Strategy

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.grading_records import GradingRecorder
from turnout_server.observability.logs import get_logger
from turnout_server.observability.metrics import (
    ATTEMPTS,
    COMPLETIONS,
    COST_NANO,
    ESCALATIONS,
    FAILOVERS,
    GATES,
    UNPRICED,
    UPSTREAM_ANSWERS,
    Metrics,
)
from turnout_server.providers.chat import ChatRequest, Role
from turnout_server.providers.faults import FaultKind
from turnout_server.quality.route_recorder import InputsReader, decision_record, kept_of
from turnout_server.quality.store.records import AttemptRecord, CostRecord, GateRecord
from turnout_server.quality.store.store import OutcomeStore

if TYPE_CHECKING:
    from turnout_server.completion.completer import Completed
    from turnout_server.completion.dispatcher import Run

NOT_SERVED = "none"
# Model versions of a deployment that are told apart; an upstream could name a new one in each answer.
MOST_VERSIONS = 16
MAX_VERSION_CHARS = 128
OTHER_VERSION = "other"
# Faults that are logged as errors: an account that is used up, a deployment that is set up wrongly.
FOR_THE_OPERATOR = frozenset({FaultKind.QUOTA_EXHAUSTED, FaultKind.CONFIGURATION})


class Recorder:
    """Counts and stores; nothing that it does waits.

    Attributes:
        grading: the same, of judges, shadows and ensembles.
    """

    def __init__(
        self,
        metrics: Metrics,
        store: OutcomeStore | None,
        clock: Callable[[], float] = time.time,
        soon: Callable[[Callable[[], None]], object] = lambda work: work(),
    ) -> None:
        """Counts into `metrics` and stores in `store`, if there is one.

        Args:
            metrics: of the process.
            store: None: nothing is stored.
            clock: seconds since 1970.
            soon: does what no answer has to wait for.
        """
        self._soon = soon
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._inputs = InputsReader()
        self._versions: dict[str, set[str]] = {}
        self.grading = GradingRecorder(metrics, store, clock)

    def record(self, run: Run, strategy: Strategy, completed: Completed | None) -> None:
        """A request has ended; without `completed`, without a whole answer.

        What its attempts to answer have cost is kept before this returns, since no kill may lose it; the rest follows
        soon. What others have cost was kept as they ended.
        """
        self.record_costs(run, run.log.attempts)
        self._soon(lambda: self._record_rest(run, strategy, completed))

    def _record_rest(self, run: Run, strategy: Strategy, completed: Completed | None) -> None:
        decision, attempts = run.asked.decision, run.log.attempts
        how = strategy.name.lower()
        served = NOT_SERVED if completed is None else completed.answer.attempt.deployment.tier
        status = "failed"
        ended = [one for one in run.log.made if not one.outrun]
        if completed is not None:
            status = "degraded" if completed.degraded else "served"
        elif ended and ended[-1].result is AttemptResult.CANCELLED:
            status = "cancelled"
        self._metrics.count(COMPLETIONS, decision.tier, served, how, status).add()
        if any(one.purpose is Purpose.ESCALATE for one in attempts):
            self._metrics.count(ESCALATIONS, decision.tier).add()
        if completed is not None:
            self._count_failover(completed.answer.attempt, attempts)
            self.grading.finished(run)
        for attempt in run.log.made:
            self._count(attempt)
        if self._store is not None:
            self._store_decision(self._store, run, how, completed)
            self._store_attempts(self._store, run, run.log.made)

    def record_asides(self, run: Run, made: Sequence[Attempt]) -> None:
        """Calls about a request that has been recorded have ended; their costs were kept as each ended."""
        for attempt in made:
            self._count(attempt)
        if self._store is not None:
            self._store_attempts(self._store, run, made)

    def record_costs(self, run: Run, attempts: Sequence[Attempt]) -> None:
        """Keeps what calls have cost, in the same turn of the loop in which budgets count it."""
        if self._store is None:
            return
        asked, decision = run.asked, run.asked.decision
        for attempt in attempts:
            cost = CostRecord(
                attempt_id=attempt.attempt_id,
                decision_id=decision.decision_id,
                at_ms=attempt.begun_ms,
                policy=decision.policy,
                tier=attempt.deployment.tier,
                deployment=attempt.deployment.target.name,
                tokens=attempt.tokens,
                cost=attempt.cost,
                tenant=asked.tenant,
                settled_ns=attempt.settled_ns,
            )
            self._store.record_cost(cost, attempt.price)

    def _count_failover(self, served: Attempt, attempts: list[Attempt]) -> None:
        """Served by another deployment of the same tier after a fault."""
        tier = served.deployment.tier
        if any(
            one.result is AttemptResult.FAILED
            and one.deployment.tier == tier
            and one.deployment is not served.deployment
            for one in attempts
        ):
            self._metrics.count(FAILOVERS, tier).add()

    def _count(self, attempt: Attempt) -> None:
        name = attempt.deployment.target.name
        fault = "" if attempt.fault is None else str(attempt.fault)
        self._metrics.count(ATTEMPTS, name, attempt.purpose, attempt.result, fault).add()
        if attempt.fault in FOR_THE_OPERATOR:
            self._alert(attempt)
        if attempt.model_version:
            self._count_version(attempt)
        cost = attempt.cost
        self._metrics.count(COST_NANO, name, attempt.purpose, attempt.result).value += cost.cost_nano or 0
        if not cost.complete:
            self._metrics.count(UNPRICED, name).add()
        for verdict in attempt.verdicts:
            self._metrics.count(GATES, verdict.gate, verdict.verdict, verdict.reason).add()

    def _count_version(self, attempt: Attempt) -> None:
        target, version = attempt.deployment.target, attempt.model_version[:MAX_VERSION_CHARS]
        known = self._versions.setdefault(target.name, set())
        if version not in known:
            if len(known) >= MOST_VERSIONS:
                version = OTHER_VERSION
            known.add(version)
        self._metrics.count(UPSTREAM_ANSWERS, target.name, target.model, version).add()

    def _store_decision(
        self, store: OutcomeStore, run: Run, strategy: str, completed: Completed | None
    ) -> None:
        asked, snapshot = run.asked, run.fleet.snapshot
        keeps_text, keeps_features = kept_of(snapshot, asked.decision.policy)
        features, revision = None, ""
        if keeps_features and asked.request is not None:
            features, revision = self._inputs.read(snapshot, asked.request)
        record = decision_record(
            asked.decision,
            int(self._clock() * 1000),
            asked.tenant,
            strategy=strategy,
            features=features,
            inputs_revision=revision,
            prompt=_last_question(asked.chat) if keeps_text else None,
            answer=completed.answer.response.text if keeps_text and completed is not None else None,
        )
        store.record_decision(record)

    def _alert(self, attempt: Attempt) -> None:
        """The deployment's breaker, or its account's, is open for minutes now: nothing mends it but the operator."""
        error = attempt.error
        get_logger().error(
            "upstream_needs_operator",
            deployment=attempt.deployment.target.name,
            fault=attempt.fault,
            http_status=None if error is None else error.http_status,
            native_code="" if error is None else error.native_code,
        )

    def _store_attempts(self, store: OutcomeStore, run: Run, attempts: Sequence[Attempt]) -> None:
        decision = run.asked.decision
        now_ms = int(self._clock() * 1000)
        for attempt in attempts:
            store.record_attempt(_attempt_record(decision.decision_id, attempt))
            if attempt.verdicts:
                gates = GateRecord(decision.decision_id, attempt.attempt_id, now_ms, attempt.verdicts)
                store.record_gates(gates)


def _last_question(chat: ChatRequest) -> str | None:
    """The text of the last user turn."""
    return next((turn.text for turn in reversed(chat.messages) if turn.role is Role.USER), None)


def _attempt_record(decision_id: str, attempt: Attempt) -> AttemptRecord:
    first_ns = attempt.first_token_ns
    return AttemptRecord(
        attempt_id=attempt.attempt_id,
        decision_id=decision_id,
        begun_ms=attempt.begun_ms,
        deployment=attempt.deployment.target.name,
        model=attempt.deployment.target.model,
        purpose=attempt.purpose,
        result=attempt.result,
        model_version=attempt.model_version,
        fault=attempt.fault,
        first_token_ms=None if first_ns is None else (first_ns - attempt.started_ns) / 1e6,
        total_ms=(attempt.ended_ns - attempt.started_ns) / 1e6,
        finish_reason="" if attempt.finish_reason is None else str(attempt.finish_reason),
    )
