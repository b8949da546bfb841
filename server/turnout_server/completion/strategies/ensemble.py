"""`ensemble`: several tiers answer in parallel, and one answer is picked; nothing is seen of any before that.

Each member has attempts, failover within its tier and a deadline of its own. A member that fails is left out; the
request fails only if all do. The losers are cancelled or rejected, and billed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from turnout_fastpath import Strategy

from turnout_server.completion.answer_rules import ChooserKind, EnsembleRules, JudgeRules
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.dispatcher import Answer, Dispatcher, Listener, Run
from turnout_server.completion.failures import CompletionError
from turnout_server.completion.gates.chain import GateChain
from turnout_server.completion.gates.verdict import Gate, Verdict
from turnout_server.completion.grading_records import GradingRecorder, NoVerdict
from turnout_server.completion.judge.judge import Judge
from turnout_server.completion.lanes import Lanes
from turnout_server.completion.strategies.cascade import show
from turnout_server.completion.strategies.choosing import (
    REWARDS,
    Candidate,
    Choice,
    choose_by_judge,
    choose_by_reward,
    reward_by_gates,
)
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.deadline import Deadline

# Of the time that is left, for the members, where a judge compares in the rest.
SHARE_OF_MEMBERS = 0.7


class MemberRun(Run):
    """A member's part of a request: its own attempts, and no deployment of another tier."""

    def chains(self, tier: str, *, lower: bool = True) -> list[Sequence[str]]:
        """The tier's chain alone."""
        return [self.chain(tier)]


class _MemberAttempts(list[Attempt]):
    """Attempts of a member that are the request's too, from the moment in which they begin: its budgets count them."""

    def __init__(self, whole: list[Attempt]) -> None:
        self._whole = whole

    def append(self, attempt: Attempt) -> None:
        super().append(attempt)
        self._whole.append(attempt)


def _member_log(log: AttemptLog) -> AttemptLog:
    return AttemptLog(log.now_ns, _MemberAttempts(log.attempts))


def members_of(run: Run, rules: EnsembleRules) -> list[str]:
    """The tiers that answer, the cheapest first; fewer than two: the request permits no ensemble."""
    asked, tiers = run.asked, run.fleet.tiers
    low, high = run.fleet.range_of(asked.decision, asked.min_tier, asked.max_tier)
    permitted = [tier for tier in tiers[low : high + 1] if run.chain(tier)]
    if rules.members:
        return [tier for tier in permitted if tier in rules.members]
    return permitted[:1] + permitted[1:][-1:]


def members_deadline(run: Run, rules: EnsembleRules, clock: Clock, *, judged: bool) -> Deadline:
    """When the members must have answered: the policy's limit, and what leaves the judge some time."""
    left_s = run.asked.deadline.left_s(clock) * (SHARE_OF_MEMBERS if judged else 1.0)
    return Deadline(clock.monotonic_s() + min(rules.timeout_s, left_s), reserve_s=0.0)


async def ask_members(
    dispatcher: Dispatcher, run: Run, members: Sequence[str], deadline: Deadline
) -> list[Answer]:
    """The answers of the members that have one, the cheapest first; every attempt goes into the request's log.

    Raises:
        CompletionError: none has; the error of the highest tier.
    """
    asked = replace(run.asked, deadline=deadline)
    runs = [MemberRun(asked, run.fleet, _member_log(run.log), run.chat) for _ in members]
    for one in runs:
        one.access = run.access.beside(one.log, pays=True)
    tasks = [
        asyncio.ensure_future(dispatcher.answer(one, tier, Purpose.ENSEMBLE, None, lower=False))
        for one, tier in zip(runs, members, strict=True)
    ]
    try:
        found = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        # Where the caller went away: each call is aborted, and what it has cost is known once it has ended.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    errors = [one for one in found if isinstance(one, BaseException)]
    for error in errors:
        if not isinstance(error, CompletionError):
            raise error
    answers = [one for one in found if isinstance(one, Answer)]
    if not answers:
        raise errors[-1]
    return answers


class Ensembles:
    """Carries out ensembles. Belongs to one event loop."""

    def __init__(
        self, dispatcher: Dispatcher, judge: Judge, lanes: Lanes, recorder: GradingRecorder, clock: Clock
    ) -> None:
        """Asks members by `dispatcher`; a policy's `judge` takes a place of its lane in `lanes`."""
        self._dispatcher = dispatcher
        self._judge = judge
        self._lanes = lanes
        self._recorder = recorder
        self._clock = clock

    async def answer(
        self, run: Run, listener: Listener | None, gates: GateChain, members: Sequence[str]
    ) -> Answer:
        """The answer that is picked.

        Args:
            run: the request.
            listener: sees it once it is picked.
            gates: look at every answer.
            members: the tiers that are asked.

        Raises:
            CompletionError: no member has an answer.
        """
        policy = run.fleet.rules[run.asked.decision.policy]
        rules = policy.ensemble
        judge = policy.judge if rules.chooser is ChooserKind.JUDGE else None
        deadline = members_deadline(run, rules, self._clock, judged=judge is not None)
        answers = await ask_members(self._dispatcher, run, members, deadline)
        candidates = [Candidate(one, gates.check(one.response, run.asked.gates)) for one in answers]
        for one in candidates:
            one.answer.attempt.verdicts = one.found.gates
        choice = await self._choose(run, candidates, rules, judge)
        for one in candidates:
            if one is not choice.picked:
                _lose(one, judged=choice.judge is not None)
        if len(candidates) > 1:
            forced = run.asked.strategy is Strategy.ENSEMBLE
            rewards = [
                (one.answer.attempt, reward) for one, reward in zip(candidates, choice.rewards, strict=True)
            ]
            picked = choice.picked.answer.attempt
            propensity = 1.0 if forced else rules.share
            self._recorder.picked(run, rules.chooser, picked, rewards, propensity, choice.judge)
        await show(run, choice.picked.answer.response, listener)
        return choice.picked.answer

    async def _choose(
        self, run: Run, candidates: Sequence[Candidate], rules: EnsembleRules, judge: JudgeRules | None
    ) -> Choice:
        if judge is None or len(candidates) < 2:
            return choose_by_reward(candidates, REWARDS.get(rules.chooser, reward_by_gates))
        leave = self._lanes.enter(run.asked.decision.policy, Purpose.JUDGE, judge.limits)
        if leave is None:
            self._recorder.no_verdict(NoVerdict.BUSY)
            return choose_by_reward(candidates, reward_by_gates)
        try:
            return await choose_by_judge(self._judge, judge, run, candidates, run.asked.deadline)
        finally:
            leave()


def _lose(candidate: Candidate, *, judged: bool) -> None:
    """Another answer is served; a gate that rejects this one says so before the judge."""
    attempt, found = candidate.answer.attempt, candidate.found
    if found.verdict is Verdict.ESCALATE:
        attempt.reject(found.gates[-1].gate)
    elif judged:
        attempt.reject(Gate.JUDGE)
    else:
        attempt.result = AttemptResult.REJECTED
