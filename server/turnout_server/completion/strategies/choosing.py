"""Which of an ensemble's answers is served: by a reward function or by the judge; equals go to the highest tier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from turnout_server.completion.answer_rules import ChooserKind, JudgeRules
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.dispatcher import Answer, Run
from turnout_server.completion.gates.chain import ChainVerdict
from turnout_server.completion.gates.confidence import confidence_of
from turnout_server.completion.gates.verdict import Verdict
from turnout_server.completion.judge.judge import Judge
from turnout_server.resilience.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer of a member and what the gates say of it."""

    answer: Answer
    found: ChainVerdict

    @property
    def rank(self) -> int:
        """Of its tier, 0 is the cheapest."""
        return self.answer.attempt.deployment.rank


@dataclass(frozen=True, slots=True)
class Choice:
    """What was picked.

    Attributes:
        picked: which of the candidates.
        rewards: of each candidate, 0 to 1, in their order.
        judge: the last call of the judge; None: none had a say.
    """

    picked: Candidate
    rewards: tuple[float, ...]
    judge: Attempt | None = None


Reward = Callable[[Candidate], float]


def reward_by_gates(candidate: Candidate) -> float:
    """1 for an answer that the gates accept, 0.5 for one that they return, 0 for one that they reject."""
    return {Verdict.ACCEPT: 1.0, Verdict.RETURN: 0.5, Verdict.ESCALATE: 0.0}[candidate.found.verdict]


def reward_by_confidence(candidate: Candidate) -> float:
    """The mean probability of its tokens; 0 for an answer that the gates reject, or without log-probabilities."""
    if candidate.found.verdict is Verdict.ESCALATE:
        return 0.0
    return confidence_of(candidate.answer.response) or 0.0


REWARDS: Mapping[ChooserKind, Reward] = {
    ChooserKind.GATES: reward_by_gates,
    ChooserKind.CONFIDENCE: reward_by_confidence,
}
"""Reward functions by the name that a policy gives."""


def choose_by_reward(candidates: Sequence[Candidate], reward: Reward) -> Choice:
    """The greatest reward; of equals the highest tier."""
    rewards = tuple(reward(one) for one in candidates)
    best = max(range(len(candidates)), key=lambda at: (rewards[at], candidates[at].rank))
    return Choice(candidates[best], rewards)


async def choose_by_judge(
    judge: Judge, rules: JudgeRules, run: Run, candidates: Sequence[Candidate], deadline: Deadline
) -> Choice:
    """The one that the judge prefers, in both orders, of those that the gates do not reject.

    The highest tier's answer defends its place against the others; without a verdict it keeps it.
    """
    good = [one for one in candidates if one.found.verdict is not Verdict.ESCALATE] or list(candidates)
    best = max(good, key=lambda one: one.rank)
    scores = {id(one): reward_by_gates(one) for one in candidates}
    last: Attempt | None = None
    for one in sorted(good, key=lambda each: -each.rank):
        if one is best:
            continue
        mark = await judge.compare(
            run, one.answer.response, best.answer.response, rules, run.log.asides, deadline
        )
        if mark is None:
            continue
        last = mark.attempt
        scores[id(one)], scores[id(best)] = mark.score, 1 - mark.score
        if mark.score > 0.5:
            best = one
    return Choice(best, tuple(scores[id(one)] for one in candidates), last)
