"""The last gate of a cascade: an inline judge, for the share of answers that is drawn. Without a verdict it accepts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from turnout_server.completion.answer_rules import JudgeRules
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.gates.chain import ChainVerdict
from turnout_server.completion.gates.verdict import Gate, GateReason, Verdict, accept, escalate
from turnout_server.completion.grading_records import GradingRecorder, NoVerdict
from turnout_server.completion.judge.judge import Judge, Mark
from turnout_server.completion.lanes import Lanes
from turnout_server.completion.run import Answer, Run
from turnout_server.completion.search import SHARE_OF_DEADLINE
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.deadline import Deadline


class JudgeGate:
    """Looks at the answers of one request that all other gates accept."""

    def __init__(
        self,
        judge: Judge,
        rules: JudgeRules,
        lanes: Lanes,
        recorder: GradingRecorder,
        clock: Clock,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Asks `judge` by `rules`; its place is one of the judge's own lane in `lanes`."""
        self._judge = judge
        self._rules = rules
        self._lanes = lanes
        self._recorder = recorder
        self._clock = clock
        self._clock_ns = clock_ns

    async def look(self, run: Run, answer: Answer, found: ChainVerdict) -> ChainVerdict:
        """The verdict of the gates with the judge's behind it; as it is for an answer that is not of the fast tier."""
        policy = run.asked.decision.policy
        if answer.attempt.deployment.tier != run.fleet.rules[policy].fast_tier:
            return found
        begun_ns = self._clock_ns()
        leave = self._lanes.enter(policy, Purpose.JUDGE, self._rules.limits)
        mark: Mark | None = None
        if leave is None:
            self._recorder.no_verdict(NoVerdict.BUSY)
        else:
            try:
                made = run.log.asides
                mark = await self._judge.grade(
                    run, answer.response, self._rules, made, _half(run, self._clock)
                )
            finally:
                leave()
        if mark is None:
            said = accept(Gate.JUDGE, GateReason.NOT_KNOWN)
        else:
            self._recorder.judged(run, answer.attempt, mark, self._rules, inline=True)
            if mark.score >= self._rules.threshold:
                said = accept(Gate.JUDGE, score=mark.score)
            else:
                said = escalate(Gate.JUDGE, GateReason.JUDGED_INSUFFICIENT, mark.score)
        said = replace(said, time_ns=self._clock_ns() - begun_ns)
        verdict = found.verdict if said.verdict is Verdict.ACCEPT else said.verdict
        return ChainVerdict(verdict, (*found.gates, said))


def _half(run: Run, clock: Clock) -> Deadline:
    """Of the time that is left, so that a higher tier could still answer in the rest."""
    return Deadline(clock.monotonic_s() + run.asked.deadline.left_s(clock) * SHARE_OF_DEADLINE, reserve_s=0.0)
