"""What is counted and stored of judges, shadows and ensembles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from turnout_server.completion.answer_rules import ChooserKind, JudgeRules, ShadowRules
from turnout_server.completion.aside import NoAnswer
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.observability.metrics import (
    ASIDES_LOST,
    ENSEMBLES,
    FAST_TIER,
    GATE_ESCALATIONS,
    JUDGE_DISAGREEMENTS,
    JUDGE_NO_VERDICTS,
    JUDGED,
    SHADOW_AGREEMENTS,
    SHADOW_PREFERENCES,
    Metrics,
)
from turnout_server.quality.store.records import Agreement, ComparisonRecord, ScoreRecord
from turnout_server.quality.store.store import OutcomeStore

if TYPE_CHECKING:
    from turnout_server.completion.dispatcher import Answer, Run
    from turnout_server.completion.judge.judge import Mark
    from turnout_server.completion.lanes import Loss


class NoVerdict(StrEnum):
    """Why a judge has no verdict. The value is the name in metrics."""

    UNPARSEABLE = "unparseable"
    """It answered, and not in the form of a verdict."""
    UNREADABLE = "unreadable"
    """The conversation holds what is no text."""
    BUSY = "busy"
    """An inline judge has as many answers as it may at once."""
    NOT_PERMITTED = NoAnswer.NOT_PERMITTED.value
    NO_DEPLOYMENT = NoAnswer.NO_DEPLOYMENT.value
    TOO_LONG = NoAnswer.TOO_LONG.value
    BUDGET = NoAnswer.BUDGET.value
    NO_TIME = NoAnswer.NO_TIME.value
    UPSTREAM = NoAnswer.UPSTREAM.value


class GradingRecorder:
    """Counts and stores; nothing that it does waits."""

    def __init__(self, metrics: Metrics, store: OutcomeStore | None, clock: Callable[[], float]) -> None:
        """As `Recorder`, which has one."""
        self._metrics = metrics
        self._store = store
        self._clock = clock

    def lost(self, purpose: Purpose, cause: Loss | NoAnswer) -> None:
        """A call was drawn and is not made, or has no answer."""
        self._metrics.count(ASIDES_LOST, purpose, cause).add()

    def no_verdict(self, cause: NoVerdict) -> None:
        """A judge was to be asked, and there is no verdict."""
        self._metrics.count(JUDGE_NO_VERDICTS, cause).add()

    def judged(self, run: Run, judged: Attempt, mark: Mark, rules: JudgeRules, *, inline: bool) -> None:
        """An answer that the gates accept has a mark."""
        tier = judged.deployment.tier
        sufficient = mark.score >= rules.threshold
        mode = "inline" if inline else "asynchronous"
        self._metrics.count(JUDGED, tier, mode, "sufficient" if sufficient else "insufficient").add()
        if not sufficient:
            self._metrics.count(JUDGE_DISAGREEMENTS, "gates").add()
        self._store_score(run, mark.attempt, Purpose.JUDGE, tier, mark.score, rules.share, mark)

    def compared(
        self, run: Run, served: Answer, shadow: Answer, agreement: Agreement, rules: ShadowRules
    ) -> None:
        """A served answer has a shadow."""
        tier, other = served.attempt.deployment.tier, shadow.attempt.deployment.tier
        self._metrics.count(SHADOW_AGREEMENTS, tier, other, agreement).add()
        if self._store is None:
            return
        ours, its = served.response, shadow.response
        self._store.record_comparison(
            ComparisonRecord(
                decision_id=run.asked.decision.decision_id,
                attempt_id=shadow.attempt.attempt_id,
                at_ms=self._now_ms(),
                tier=tier,
                other_tier=other,
                agreement=agreement,
                chars=len(ours.text),
                other_chars=len(its.text),
                finish_reason=str(ours.finish_reason),
                other_finish_reason=str(its.finish_reason),
                propensity=rules.share,
            )
        )

    def preferred(self, run: Run, served: Answer, shadow: Answer, mark: Mark, rules: ShadowRules) -> None:
        """A judge compared a served answer with its shadow; the score is the served one's."""
        tier, other = served.attempt.deployment.tier, shadow.attempt.deployment.tier
        preferred = {1.0: "served", 0.0: "shadow"}.get(mark.score, "neither")
        self._metrics.count(SHADOW_PREFERENCES, tier, other, preferred).add()
        self._store_score(run, shadow.attempt, Purpose.SHADOW, tier, mark.score, rules.share, mark, other)

    def note_order(self, mark: Mark) -> None:
        """A comparison has a verdict; one that changed with the order is a disagreement of the judge with itself."""
        if not mark.steady:
            self._metrics.count(JUDGE_DISAGREEMENTS, "order").add()

    def picked(
        self,
        run: Run,
        chooser: ChooserKind,
        picked: Attempt,
        rewards: Sequence[tuple[Attempt, float]],
        propensity: float,
        judge: Attempt | None,
    ) -> None:
        """An ensemble's answer is picked.

        Args:
            run: the request.
            chooser: what picked.
            picked: whose answer it is.
            rewards: every answer's attempt and reward.
            propensity: the probability with which there was an ensemble.
            judge: the last call of the judge; None: none chose.
        """
        self._metrics.count(ENSEMBLES, chooser, picked.deployment.tier).add()
        if self._store is None:
            return
        for attempt, reward in rewards:
            self._store.record_score(
                ScoreRecord(
                    decision_id=run.asked.decision.decision_id,
                    attempt_id=attempt.attempt_id,
                    at_ms=self._now_ms(),
                    source=Purpose.ENSEMBLE,
                    tier=attempt.deployment.tier,
                    score=reward,
                    propensity=propensity,
                    detail=str(chooser),
                    judge="" if judge is None else judge.deployment.target.name,
                    judge_version="" if judge is None else judge.model_version,
                )
            )

    def finished(self, run: Run) -> None:
        """A request has an answer: who of the fast tier was replaced, and by which gate."""
        decision = run.asked.decision
        rejected = [
            one
            for one in run.log.attempts
            if one.result is AttemptResult.REJECTED and one.purpose is not Purpose.ENSEMBLE
        ]
        for one in rejected:
            if one.rejected_by is not None:
                self._metrics.count(GATE_ESCALATIONS, one.deployment.tier, one.rejected_by).add()
        if decision.tier == run.fleet.rules[decision.policy].fast_tier:
            what = "replaced" if rejected else "kept"
            self._metrics.count(FAST_TIER, decision.policy, what).add()

    def _store_score(
        self,
        run: Run,
        attempt: Attempt,
        source: Purpose,
        tier: str,
        score: float,
        propensity: float,
        mark: Mark,
        other_tier: str = "",
    ) -> None:
        if self._store is None:
            return
        self._store.record_score(
            ScoreRecord(
                decision_id=run.asked.decision.decision_id,
                attempt_id=attempt.attempt_id,
                at_ms=self._now_ms(),
                source=source,
                tier=tier,
                score=score,
                other_score=1 - score if other_tier else None,
                propensity=propensity,
                detail=mark.rubric if mark.steady else f"{mark.rubric}, changed with the order",
                other_tier=other_tier,
                judge=mark.attempt.deployment.target.name,
                judge_version=mark.attempt.model_version,
            )
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
