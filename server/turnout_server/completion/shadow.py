"""Shadow calls: what a higher tier would have answered, asked after the caller has the answer, compared and recorded."""

from __future__ import annotations

from turnout_server.completion.agreement import compare_answers
from turnout_server.completion.answer_rules import JudgeRules, ShadowRules
from turnout_server.completion.aside import AsideCaller, NoAnswer
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.dispatcher import Answer, Run
from turnout_server.completion.grading_records import GradingRecorder
from turnout_server.completion.judge.judge import Judge

# Where neither the caller nor the deployment says how long an answer may be.
USUAL_OUTPUT_TOKENS = 1024


class Shadows:
    """Asks shadows. Belongs to one event loop."""

    def __init__(self, caller: AsideCaller, judge: Judge, recorder: GradingRecorder) -> None:
        """Asks by `caller`, and lets `judge` compare."""
        self._caller = caller
        self._judge = judge
        self._recorder = recorder

    async def shadow(
        self,
        run: Run,
        served: Answer,
        rules: ShadowRules,
        judge: JudgeRules | None,
        made: list[Attempt],
    ) -> None:
        """Asks the shadow's tier what the served answer was asked, and compares.

        Args:
            run: the request, which has ended.
            served: what its caller has.
            rules: of the policy's shadows.
            judge: of its judge; None: answers are compared without one.
            made: gets the attempts, the judge's too.
        """
        chat = run.asked.chat
        # By the engine: who fits the request, in context, tools and modalities, and what it permits.
        names = run.chain(rules.tier)
        found = await self._caller.ask(
            run,
            names,
            chat,
            Purpose.SHADOW,
            rules.limits,
            made,
            output_tokens=chat.max_output_tokens or USUAL_OUTPUT_TOKENS,
        )
        if isinstance(found, NoAnswer):
            self._recorder.lost(Purpose.SHADOW, found)
            return
        agreement = compare_answers(served.response, found.response)
        self._recorder.compared(run, served, found, agreement, rules)
        if judge is None:
            return
        mark = await self._judge.compare(run, served.response, found.response, judge, made)
        if mark is not None:
            self._recorder.preferred(run, served, found, mark, rules)
