"""Asks, grades and notes, row by row, some at a time, until all is known or the money is spent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import orjson
from turnout_fastpath import RouteError

from turnout_server.completion.attempt import Purpose
from turnout_server.completion.judge.prompt import can_be_read
from turnout_server.labels.criteria import JUDGED, Grader
from turnout_server.labels.graders import grade_text
from turnout_server.labels.journal import CollectJournal, Key, StoredAnswer, StoredGrade
from turnout_server.labels.judge import mark_request, preference_request, read_choice, read_score
from turnout_server.labels.prompt_rows import PromptRow
from turnout_server.labels.sandbox import SandboxLimits, run_tests
from turnout_server.labels.spend import Spend, SpendLimitError
from turnout_server.labels.upstream import Plan, Reply
from turnout_server.providers.chat import ChatRequest, ChatResponse

# A judge whose answer is none is asked so often.
JUDGE_TRIES = 2
# Calls of a tier in a row without an answer, after which there is no use in going on.
HOPELESS = 20


class CollectError(RuntimeError):
    """Collecting cannot go on; what was done is in the journal."""


class Asks(Protocol):
    """Whoever asks tiers."""

    def plan(self, chat: ChatRequest, told: Sequence[Mapping[str, object]], tier: str) -> Plan:
        """Finds the deployments; raises RouteError where there are none."""

    async def ask(self, plan: Plan, purpose: Purpose) -> Reply:
        """Asks one of them."""


@dataclass
class Tally:
    """What came of a run.

    Attributes:
        asked: answers that were paid for in this run.
        known: answers that the journal had.
        graded: grades that were made in this run.
        unanswered: by tier and cause, requests that have no answer.
        ungraded: by cause, answers that have no grade.
        out_of_money: whether the run ended at its limit.
    """

    asked: int = 0
    known: int = 0
    graded: int = 0
    unanswered: Counter[tuple[str, str]] = field(default_factory=Counter)
    ungraded: Counter[str] = field(default_factory=Counter)
    out_of_money: bool = False


class Collector:
    """One run over rows."""

    def __init__(
        self,
        asker: Asks,
        journal: CollectJournal,
        spend: Spend,
        tiers: Sequence[str],
        judge: str,
        *,
        concurrency: int,
        tests_at_once: int,
        sandbox: SandboxLimits,
        advance: Callable[[int], None],
    ) -> None:
        """Asks `tiers`, the cheapest first, and has `judge`, a tier, grade what needs one.

        Args:
            asker: makes the calls.
            journal: keeps what was done.
            spend: what may be spent.
            tiers: who is asked.
            judge: who grades.
            concurrency: rows under way at once.
            tests_at_once: processes that run unit tests at once.
            sandbox: what a test may use.
            advance: told 1 for each tier of a row that is done.
        """
        self.tally = Tally()
        self._asker = asker
        self._journal = journal
        self._spend = spend
        self._tiers = tiers
        self._judge = judge
        self._concurrency = concurrency
        self._test_room = asyncio.Semaphore(tests_at_once)
        self._sandbox = sandbox
        self._advance = advance
        self._stopped = False
        self._failed_in_a_row: Counter[str] = Counter()
        # Requests under way, so that equal ones are asked once.
        self._locks: dict[Key, asyncio.Lock] = {}

    async def run(self, rows: Iterable[PromptRow], plans: Mapping[Key, Plan]) -> Tally:
        """Collects; `plans` are of requests and tiers that can be asked.

        Raises:
            CollectError: a tier does not answer at all.
            OSError: the journal cannot be written.
        """
        waiting = iter(rows)

        async def work() -> None:
            for row in waiting:
                if self._stopped:
                    return
                try:
                    await self._label(row, plans)
                except SpendLimitError:
                    self._stopped = self.tally.out_of_money = True

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(work())
        except* (CollectError, OSError) as errors:
            raise _first(errors) from None
        return self.tally

    async def _label(self, row: PromptRow, plans: Mapping[Key, Plan]) -> None:
        answers: dict[str, StoredAnswer] = {}
        for tier in self._tiers:
            key = row.digest, tier
            plan = plans.get(key)
            if plan is None and key not in self._journal.progress.answers:
                self.tally.unanswered[tier, "no deployment takes it"] += 1
            else:
                answer = await self._answer(key, plan)
                if answer is not None:
                    answers[tier] = answer
                    if row.criterion.grader is not Grader.PAIRWISE:
                        await self._grade(row, tier, answer, "")
            self._advance(1)
        if row.criterion.grader is Grader.PAIRWISE:
            top = self._tiers[-1]
            for tier in self._tiers[:-1]:
                if tier in answers and top in answers:
                    await self._grade(row, tier, answers[tier], answers[top].text)

    async def _answer(self, key: Key, plan: Plan | None) -> StoredAnswer | None:
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._journal.progress.answers.get(key)
            if known is not None or plan is None:
                self.tally.known += 1
                return known
            call, reply = await self._call(plan, Purpose.SERVE)
            _, tier = key
            if reply.response is None:
                self._journal.note_spent(call, reply.spent_nano)
                self.tally.unanswered[tier, reply.cause] += 1
                self._failed_in_a_row[tier] += 1
                if self._failed_in_a_row[tier] >= HOPELESS:
                    raise CollectError(
                        f"tier {tier}: {HOPELESS} requests in a row without an answer, the last: {reply.cause}"
                    )
                return None
            self._failed_in_a_row[tier] = 0
            answer = StoredAnswer(text_of(reply.response), reply.cost_nano)
            self._journal.note_answer(call, key, answer, reply.spent_nano)
            self.tally.asked += 1
            return answer

    async def _grade(self, row: PromptRow, tier: str, answer: StoredAnswer, beside: str) -> None:
        criterion = row.criterion
        if (row.digest, tier, criterion.digest) in self._journal.progress.grades:
            return
        if criterion.grader in JUDGED and not can_be_read(row.chat):
            self.tally.ungraded["the judge reads no pictures"] += 1
            return
        score: float | None
        if criterion.grader is Grader.TESTS:
            score = await run_tests(answer.text, criterion.tests, self._test_room, self._sandbox)
        elif criterion.grader is Grader.RUBRIC:
            score = await self._ask_judge(mark_request(row.chat, answer.text, criterion), read_score)
        elif criterion.grader is Grader.PAIRWISE:
            score = await self._compare(row, answer.text, beside)
        else:
            score = grade_text(criterion, answer.text)
        if score is None:
            self.tally.ungraded["the judge gave no verdict"] += 1
            return
        self._journal.note_grade((row.digest, tier), criterion.digest, StoredGrade(score))
        self.tally.graded += 1

    async def _compare(self, row: PromptRow, mine: str, other: str) -> float | None:
        """How an answer fares beside another, the mean over both orders."""
        points = []
        for swapped in (False, True):
            first, second = (other, mine) if swapped else (mine, other)
            chat = preference_request(row.chat, first, second, row.criterion)
            point = await self._ask_judge(chat, partial(read_choice, swapped=swapped))
            if point is None:
                return None
            points.append(point)
        return sum(points) / len(points)

    async def _ask_judge(
        self, chat: ChatRequest, read: Callable[[ChatResponse], float | None]
    ) -> float | None:
        try:
            plan = plan_judge(self._asker, chat, self._judge)
        except RouteError:
            # Question and answers together are longer than any of its windows.
            return None
        for _ in range(JUDGE_TRIES):
            call, reply = await self._call(plan, Purpose.JUDGE)
            self._journal.note_spent(call, reply.spent_nano)
            if reply.response is not None and (said := read(reply.response)) is not None:
                return said
        return None

    async def _call(self, plan: Plan, purpose: Purpose) -> tuple[int, Reply]:
        reserved_nano = plan.most_nano or 0
        await self._spend.reserve(reserved_nano)
        if self._stopped:
            await self._spend.settle(reserved_nano, 0, complete=True)
            raise SpendLimitError
        reply = None
        try:
            call = self._journal.note_call(reserved_nano)
            reply = await self._asker.ask(plan, purpose)
        finally:
            # A call that was cut off may have been billed.
            spent_nano = reserved_nano if reply is None else reply.spent_nano
            await self._spend.settle(reserved_nano, spent_nano, complete=reply is not None and reply.complete)
        return call, reply


def plan_judge(asker: Asks, chat: ChatRequest, judge: str) -> Plan:
    """The plan of a judge's call."""
    told = [{"role": str(message.role), "content": message.text} for message in chat.messages]
    return asker.plan(chat, told, judge)


def text_of(response: ChatResponse) -> str:
    """An answer as graders read it: its text or refusal, and tool calls as a line of JSON each."""
    calls = [
        orjson.dumps({"tool": c.name, "arguments": c.arguments_json}).decode() for c in response.tool_calls
    ]
    return "\n".join([*filter(None, [response.text or response.refusal]), *calls])


def is_judged(rows: Iterable[PromptRow]) -> bool:
    """Whether any row needs a judge."""
    return any(row.criterion.grader in JUDGED for row in rows)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
