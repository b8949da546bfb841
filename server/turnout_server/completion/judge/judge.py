"""The judge: grades one answer, or compares two in both orders. It may have no verdict, and then nothing changes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turnout_server.completion.answer_rules import JudgeRules
from turnout_server.completion.aside import AsideCaller, NoAnswer
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.dispatcher import Answer, Run
from turnout_server.completion.grading_records import GradingRecorder, NoVerdict
from turnout_server.completion.judge.prompt import (
    MAX_OUTPUT_TOKENS,
    ask_for_better,
    ask_for_mark,
    can_be_read,
)
from turnout_server.completion.judge.verdict import read_mark, read_preference
from turnout_server.providers.chat import ChatRequest, ChatResponse
from turnout_server.resilience.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Mark:
    """A judge's verdict.

    Attributes:
        score: of the answer, 0 to 1; of a comparison: 1 where the first is better, 0 where the second, 0.5 where neither is
            or where the verdict changed with the order.
        attempt: the call that gave it, the last one of a comparison.
        rubric: the name of what it was judged by.
        steady: False where the verdict of a comparison changed with the order.
    """

    score: float
    attempt: Attempt
    rubric: str
    steady: bool = True


class Judge:
    """Asks the policy's judge. Belongs to one event loop."""

    def __init__(
        self,
        caller: AsideCaller,
        recorder: GradingRecorder,
        new_mark: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """Asks by `caller`.

        Args:
            caller: makes the calls.
            recorder: counts verdicts that are none.
            new_mark: a text that no prompt and no answer can hold.
        """
        self._caller = caller
        self._recorder = recorder
        self._new_mark = new_mark

    async def grade(
        self,
        run: Run,
        answer: ChatResponse,
        rules: JudgeRules,
        made: list[Attempt],
        deadline: Deadline | None = None,
    ) -> Mark | None:
        """The mark of an answer to a request; None: there is none, which is counted.

        Args:
            run: the request.
            answer: what is graded.
            rules: of the policy's judge.
            made: gets the judge's attempts.
            deadline: of a caller who waits; None: nobody does.
        """
        chat = run.asked.chat
        if not can_be_read(chat):
            self._recorder.no_verdict(NoVerdict.UNREADABLE)
            return None
        rubric, words = rules.rubric_for(run.asked.decision.task or "")
        asked = ask_for_mark(chat, answer, words, self._new_mark())
        found = await self._ask(run, asked, rules, made, deadline)
        if found is None:
            return None
        score = read_mark(found.response)
        if score is None:
            self._recorder.no_verdict(NoVerdict.UNPARSEABLE)
            return None
        return Mark(score, found.attempt, rubric)

    async def compare(
        self,
        run: Run,
        first: ChatResponse,
        second: ChatResponse,
        rules: JudgeRules,
        made: list[Attempt],
        deadline: Deadline | None = None,
    ) -> Mark | None:
        """Which of two answers is better, asked in both orders at once; None unless both orders have a verdict."""
        chat = run.asked.chat
        if not can_be_read(chat):
            self._recorder.no_verdict(NoVerdict.UNREADABLE)
            return None
        rubric, words = rules.rubric_for(run.asked.decision.task or "")

        async def prefer(one: ChatResponse, other: ChatResponse) -> tuple[float, Attempt] | None:
            asked = ask_for_better(chat, one, other, words, self._new_mark())
            found = await self._ask(run, asked, rules, made, deadline)
            if found is None:
                return None
            said = read_preference(found.response)
            if said is None:
                self._recorder.no_verdict(NoVerdict.UNPARSEABLE)
                return None
            return said, found.attempt

        async with asyncio.TaskGroup() as group:
            there = group.create_task(prefer(first, second))
            back = group.create_task(prefer(second, first))
        one, other = there.result(), back.result()
        if one is None or other is None:
            return None
        steady = one[0] == 1 - other[0]
        mark = Mark(one[0] if steady else 0.5, other[1], rubric, steady)
        self._recorder.note_order(mark)
        return mark

    async def _ask(
        self,
        run: Run,
        asked: ChatRequest,
        rules: JudgeRules,
        made: list[Attempt],
        deadline: Deadline | None,
    ) -> Answer | None:
        found = await self._caller.ask(
            run,
            self._names(run, rules),
            asked,
            Purpose.JUDGE,
            rules.limits,
            made,
            deadline=deadline,
            output_tokens=MAX_OUTPUT_TOKENS,
        )
        if isinstance(found, NoAnswer):
            self._recorder.no_verdict(NoVerdict(found))
            return None
        return found

    def _names(self, run: Run, rules: JudgeRules) -> Sequence[str]:
        return [rules.deployment] if rules.deployment else run.fleet.chains[rules.tier]
