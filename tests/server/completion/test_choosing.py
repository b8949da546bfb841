"""Choices of ensembles against a plain reading of the rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from turnout_server.completion.gates.chain import ChainVerdict
from turnout_server.completion.gates.verdict import Verdict
from turnout_server.completion.judge.judge import Mark
from turnout_server.completion.strategies.choosing import (
    Candidate,
    choose_by_judge,
    choose_by_reward,
    reward_by_confidence,
    reward_by_gates,
)
from turnout_server.providers.chat import ChatResponse, FinishReason
from turnout_server.resilience.deadline import Deadline

VERDICTS = st.sampled_from(list(Verdict))
LOGPROBS = st.one_of(st.none(), st.floats(-3, 0))


def candidate(rank: int, verdict: Verdict, logprob: float | None = None) -> Candidate:
    attempt: Any = SimpleNamespace(deployment=SimpleNamespace(rank=rank))
    response = ChatResponse(f"answer {rank}", FinishReason.STOP, mean_logprob=logprob)
    answer: Any = SimpleNamespace(attempt=attempt, response=response)
    return Candidate(answer, ChainVerdict(verdict, ()))


@given(st.lists(st.tuples(VERDICTS, LOGPROBS), min_size=1, max_size=4))
def test_rewards(drawn: list[tuple[Verdict, float | None]]) -> None:
    candidates = [candidate(rank, *told) for rank, told in enumerate(drawn)]
    for reward in (reward_by_gates, reward_by_confidence):
        choice = choose_by_reward(candidates, reward)
        assert choice.rewards == tuple(reward(one) for one in candidates)
        best = [one for one in candidates if reward(one) == max(choice.rewards)]
        assert choice.picked is best[-1]
        assert all(0 <= value <= 1 for value in choice.rewards)


class Scripted:
    """Prefers as drawn by the pair of ranks; None: it has no verdict."""

    def __init__(self, verdicts: list[float | None]) -> None:
        self.verdicts = verdicts
        self.asked: list[tuple[str, str]] = []

    async def compare(self, _: Any, first: ChatResponse, second: ChatResponse, *rest: Any) -> Mark | None:
        self.asked.append((first.text, second.text))
        score = self.verdicts[len(self.asked) - 1]
        attempt: Any = SimpleNamespace()
        return None if score is None else Mark(score, attempt, "usual")


@given(
    st.lists(VERDICTS, min_size=2, max_size=4),
    st.lists(st.sampled_from([None, 0.0, 0.5, 1.0]), min_size=3, max_size=3),
)
async def test_a_judge_has_the_highest_tier_defend_its_place(
    verdicts: list[Verdict], said: list[float | None]
) -> None:
    candidates = [candidate(rank, verdict) for rank, verdict in enumerate(verdicts)]
    judge: Any = Scripted(said)
    run: Any = SimpleNamespace(log=SimpleNamespace(asides=[]))
    rules: Any = None
    choice = await choose_by_judge(judge, rules, run, candidates, Deadline())
    good = [one for one in candidates if one.found.verdict is not Verdict.ESCALATE] or candidates
    champion, asked = good[-1], []
    for score, challenger in zip(said, reversed(good[:-1]), strict=False):
        asked.append((challenger.answer.response.text, champion.answer.response.text))
        if score == 1.0:
            champion = challenger
    assert choice.picked is champion
    assert judge.asked == asked
    assert (choice.judge is None) == all(score is None for score in said[: len(asked)])
