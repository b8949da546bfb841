"""What collecting will cost, told before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from turnout_server.completion.estimates import BYTES_PER_TOKEN
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.judge.prompt import MAX_OUTPUT_TOKENS
from turnout_server.labels import judge
from turnout_server.labels.criteria import JUDGED, Grader
from turnout_server.labels.journal import Key, Progress
from turnout_server.labels.prompt_rows import PromptRow
from turnout_server.labels.upstream import Plan

# An answer as a judge may expect it, in provider tokens.
USUAL_ANSWER_TOKENS = 300


@dataclass
class Estimate:
    """Calls that are left to make, of one tier or of the judge.

    Attributes:
        calls: how many.
        usual_nano: nano-dollars if answers are as long as usual.
        most_nano: if each is as long as it may be and no call is repeated.
        unpriced: calls that have no known price and stand in neither sum.
    """

    calls: int = 0
    usual_nano: int = 0
    most_nano: int = 0
    unpriced: int = 0

    def add(self, usual_nano: int | None, most_nano: int | None, calls: int = 1) -> None:
        """Adds equal calls."""
        self.calls += calls
        if usual_nano is None or most_nano is None:
            self.unpriced += calls
        else:
            self.usual_nano += usual_nano * calls
            self.most_nano += most_nano * calls


def estimate_answers(
    rows: Iterable[PromptRow], tiers: Sequence[str], plans: Mapping[Key, Plan], progress: Progress
) -> dict[str, Estimate]:
    """By tier, the answers that the journal does not have; equal requests are asked once."""
    found = {tier: Estimate() for tier in tiers}
    for digest in {row.digest for row in rows}:
        for tier in tiers:
            plan = plans.get((digest, tier))
            if plan is not None and (digest, tier) not in progress.answers:
                found[tier].add(plan.usual_nano, plan.most_nano)
    return found


def estimate_judging(
    rows: Iterable[PromptRow],
    tiers: Sequence[str],
    fleet: Fleet,
    deployment: str,
    progress: Progress,
    max_output_tokens: int,
) -> Estimate:
    """The judge's calls, at the price of its first deployment."""
    estimate = Estimate()
    price = fleet.price(fleet[deployment])
    for row in rows:
        criterion = row.criterion
        if criterion.grader not in JUDGED:
            continue
        pairwise = criterion.grader is Grader.PAIRWISE
        left = [
            tier
            for tier in (tiers[:-1] if pairwise else tiers)
            if (row.digest, tier, criterion.digest) not in progress.grades
        ]
        # Of a pair, both orders.
        calls, answers = len(left) * (2 if pairwise else 1), 2 if pairwise else 1
        frame = judge.mark_request(row.chat, "", criterion)
        frame_tokens = -(-sum(len(m.text.encode()) for m in frame.messages) // BYTES_PER_TOKEN)
        usual, most = (
            None
            if price is None or (rates := price.rates(frame_tokens)) is None
            else -(-((frame_tokens + answers * tokens) * rates.input + out * rates.output) // 1_000_000)
            for tokens, out in (
                (USUAL_ANSWER_TOKENS, judge.USUAL_OUTPUT_TOKENS),
                (max_output_tokens, MAX_OUTPUT_TOKENS),
            )
        )
        estimate.add(usual, most, calls)
    return estimate
