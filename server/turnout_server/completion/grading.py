"""Judges and shadows of one process: who is drawn, when they are asked, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from turnout_fastpath import Strategy

from turnout_server.completion.answer_rules import JudgeRules, ShadowRules
from turnout_server.completion.aside import AsideCaller
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.dispatcher import Answer, Dispatcher, Run
from turnout_server.completion.gates.verdict import Gate, Verdict
from turnout_server.completion.judge.gate import JudgeGate
from turnout_server.completion.judge.judge import Judge
from turnout_server.completion.lanes import Lanes
from turnout_server.completion.recording import Recorder
from turnout_server.completion.sampling import is_drawn
from turnout_server.completion.shadow import Shadows
from turnout_server.providers.chat import FinishReason
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.spend_budget import Spending

Grade = Callable[[list[Attempt]], Awaitable[None]]


class Grading:
    """What is asked about answers. Belongs to one event loop.

    Attributes:
        judge: of every policy.
        lanes: what runs after callers have their answers.
    """

    def __init__(self, dispatcher: Dispatcher, spending: Spending, clock: Clock, recorder: Recorder) -> None:
        """Calls by `dispatcher`, within the budgets of `spending`."""
        self._clock = clock
        self._recorder = recorder
        caller = AsideCaller(dispatcher, spending, clock, recorder.record_costs)
        self.judge = Judge(caller, recorder.grading)
        self.lanes = Lanes(recorder.grading.lost)
        self._shadows = Shadows(caller, self.judge, recorder.grading)

    def gate(self, run: Run) -> JudgeGate | None:
        """The inline judge of a request; None: it is not drawn, skipped, or the policy has none."""
        asked = run.asked
        rules = run.fleet.rules[asked.decision.policy]
        judge = rules.judge
        if judge is None or not judge.inline or Gate.JUDGE in (*asked.skip, *rules.gates.skip):
            return None
        if not is_drawn(asked.decision.decision_id, Purpose.JUDGE, judge.share):
            return None
        return JudgeGate(self.judge, judge, self.lanes, self._recorder.grading, self._clock)

    def follow(self, run: Run, strategy: Strategy, answer: Answer) -> Callable[[], None] | None:
        """What is to be called once the caller has the answer; None: nothing is.

        An ensemble's answers were compared already.
        """
        asked = run.asked
        policy, decision_id = asked.decision.policy, asked.decision.decision_id
        rules = run.fleet.rules[policy]
        if (
            strategy is Strategy.ENSEMBLE
            or answer.attempt.deployment.tier != rules.fast_tier
            or answer.response.finish_reason is FinishReason.CONTENT_FILTER
        ):
            return None
        judge, shadow = rules.judge, rules.shadow
        judges = (
            judge is not None
            and _is_open_to_judge(answer)
            and Gate.JUDGE not in (*asked.skip, *rules.gates.skip)
            and is_drawn(decision_id, Purpose.JUDGE, judge.share)
        )
        shadows = shadow is not None and is_drawn(decision_id, Purpose.SHADOW, shadow.share)
        if not judges and not shadows:
            return None

        def begin() -> None:
            if judges and judge is not None:
                work = self._work(run, lambda made: self._grade(run, answer, judge, made))
                self.lanes.offer(policy, Purpose.JUDGE, judge.limits, work)
            if shadows and shadow is not None:
                work = self._work(run, lambda made: self._shadow(run, answer, shadow, judge, made))
                self.lanes.offer(policy, Purpose.SHADOW, shadow.limits, work)

        return begin

    async def drain(self, timeout_s: float) -> None:
        """Takes no more, waits so long for what is under way, and cancels the rest; all of it is billed."""
        await self.lanes.drain(timeout_s)

    def _work(self, run: Run, grade: Grade) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            made: list[Attempt] = []
            try:
                await grade(made)
            finally:
                # Cancelled or not: what was asked has cost something.
                self._recorder.record_asides(run, made)

        return work

    async def _grade(self, run: Run, answer: Answer, rules: JudgeRules, made: list[Attempt]) -> None:
        mark = await self.judge.grade(run, answer.response, rules, made)
        if mark is not None:
            self._recorder.grading.judged(run, answer.attempt, mark, rules, inline=False)

    async def _shadow(
        self, run: Run, answer: Answer, rules: ShadowRules, judge: JudgeRules | None, made: list[Attempt]
    ) -> None:
        await self._shadows.shadow(run, answer, rules, judge, made)


def _is_open_to_judge(answer: Answer) -> bool:
    """True for an answer that all gates accept, if any looked, and no judge has seen."""
    said = answer.attempt.verdicts
    return not said or (said[-1].verdict is Verdict.ACCEPT and said[-1].gate is not Gate.JUDGE)
