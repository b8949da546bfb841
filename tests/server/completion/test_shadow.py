"""Shadow calls before the real service and the fake upstream."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from turnout.v1.completion_pb2 import CompleteRequest
from turnout_server.completion.attempt import Purpose
from turnout_server.quality.store.records import Agreement

from tests.faults import Answer, Fault, Moment
from tests.server.completion.graded import (
    CHEAP,
    DEAR,
    FRONTIER,
    JUDGE,
    better,
    calm,
    counted,
    judged,
    material,
    settled,
    stored,
)
from tests.server.completion.wall import Wall, invoice
from tests.server.completion.wall_scenarios import is_whole


def shadowed(share: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"shadow": {"share": share, **more}}


async def test_a_shadow_is_asked_afterwards_compared_and_billed(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    path = tmp_path / "outcomes.db"
    async with calm(tmp_path, bundle, [CHEAP], policy=shadowed(0.5), store=str(path)) as wall:
        wall.upstream.play(DEAR, answer=Answer.of("Elsewhere, I think."))
        ids = [f"{number:032x}" for number in range(12)]
        for one in ids:
            outcome = await wall.ask(CompleteRequest(prompt="Where?", decision_id=one, max_output_tokens=99))
            is_whole(outcome, CHEAP)
            assert len(outcome.response.attempts) == 1
            await settled(wall)
        drawn = 0
        for one in ids:
            found, costs = await stored(wall, path, one)
            assert found.scores == ()
            bill = {cost.purpose: cost.cost_nano for cost in costs}
            if not found.comparisons:
                assert bill.keys() == {Purpose.SERVE}
                continue
            drawn += 1
            [compared] = found.comparisons
            assert (compared.tier, compared.other_tier) == ("small", "frontier")
            assert (compared.agreement, compared.propensity) == (Agreement.NONE, 0.5)
            assert (compared.chars, compared.other_chars) == (len(outcome.text), 19)
            assert (compared.finish_reason, compared.other_finish_reason) == ("stop", "stop")
            by_purpose = {cost.purpose: cost for cost in costs}
            assert bill == {
                Purpose.SERVE: invoice("small", by_purpose[Purpose.SERVE].tokens),
                Purpose.SHADOW: invoice("frontier", by_purpose[Purpose.SHADOW].tokens),
            }
        assert 0 < drawn < len(ids)
        assert wall.count(DEAR) == drawn
        assert counted(wall, "turnout_shadow_agreements") == {("small", "frontier", "none"): drawn}
        # The shadow is asked what the caller asked.
        mine, its = (wall.upstream.ledger.of(model)[0].body for model in (CHEAP, DEAR))
        assert {**mine, "model": DEAR} == its


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shadow_that_hangs_keeps_nobody_waiting_and_is_cancelled_at_the_end(
    stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    path = tmp_path / "outcomes.db"
    sections = shadowed(timeout_s=3600, concurrency=1, queue=1)
    async with calm(tmp_path, bundle, [CHEAP], [Fault.SILENCE], policy=sections, store=str(path)) as wall:
        ids = [f"{number:032x}" for number in range(4)]
        for one in ids:
            request = CompleteRequest(prompt="Where?", decision_id=one)
            is_whole(await wall.ask(request, stream=stream), CHEAP)
            await wall.upstream.ledger.until(lambda: wall.count(Fault.SILENCE) == 1)
        [held] = wall.upstream.ledger.of(Fault.SILENCE)
        assert not held.over
        await _until_lost(wall, "queue_full", 2)
        await wall.service.completer.grading.drain(0)
        await wall.upstream.ledger.until(partial(held.at, Moment.LEFT))
        assert counted(wall, "turnout_asides_lost") == {
            ("shadow", "queue_full"): 2,
            ("shadow", "shutdown"): 2,
        }
        # What the cancelled one has cost is an estimate, and on the bill.
        _, costs = await stored(wall, path, ids[0])
        shadow = next(one for one in costs if one.purpose is Purpose.SHADOW)
        assert (shadow.result, shadow.estimated) == ("cancelled", True)
        assert shadow.cost_nano == invoice("frontier", shadow.tokens) > 0


async def _until_lost(wall: Wall, cause: str, count: int) -> None:
    async with asyncio.timeout(5):
        while counted(wall, "turnout_asides_lost").get(("shadow", cause)) != count:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("verdicts", "score", "preferred", "detail"),
    [
        (("first", "second"), 1.0, "served", "usual"),
        (("second", "first"), 0.0, "shadow", "usual"),
        (("neither", "neither"), 0.5, "neither", "usual"),
        # Whatever stands first is better: the judge contradicts itself.
        (("first", "first"), 0.5, "neither", "usual, changed with the order"),
    ],
)
async def test_a_judge_compares_in_both_orders(
    verdicts: tuple[str, str],
    score: float,
    preferred: str,
    detail: str,
    tmp_path: Path,
    bundle: Path,
    log: object,
) -> None:
    path = tmp_path / "outcomes.db"
    sections = {**judged(0.0), **shadowed()}
    async with calm(tmp_path, bundle, [CHEAP], FRONTIER, policy=sections, store=str(path)) as wall:
        wall.upstream.play(DEAR, answer=Answer.of("There."))
        await _say_by_order(wall, verdicts)
        outcome = await wall.ask()
        await settled(wall)
        shown = [material(wall, number) for number in (0, 1)]
        texts = {one["first"]["text"]: one["second"]["text"] for one in shown}
        assert texts == {outcome.text: "There.", "There.": outcome.text}
        assert counted(wall, "turnout_shadow_preferences") == {("small", "frontier", preferred): 1}
        disagreed = {("order",): 1.0} if verdicts[0] == verdicts[1] != "neither" else {}
        assert counted(wall, "turnout_judge_disagreements") == disagreed
        found, costs = await stored(wall, path, outcome.response.decision.decision_id)
        [one] = found.scores
        [comparison] = found.comparisons
        assert (one.source, one.tier, one.other_tier) == (Purpose.SHADOW, "small", "frontier")
        assert (one.score, one.other_score, one.detail) == (score, 1 - score, detail)
        assert one.attempt_id == comparison.attempt_id
        assert one.judge == JUDGE
        bill = sorted((cost.purpose, cost.cost_nano) for cost in costs)
        tokens = {cost.purpose: cost.tokens for cost in costs}
        judging = invoice("frontier", tokens[Purpose.JUDGE])
        assert bill == [
            (Purpose.JUDGE, judging),
            (Purpose.JUDGE, judging),
            (Purpose.SERVE, invoice("small", tokens[Purpose.SERVE])),
            (Purpose.SHADOW, invoice("frontier", tokens[Purpose.SHADOW])),
        ]


async def _say_by_order(wall: Wall, verdicts: tuple[str, str]) -> None:
    """The judge answers by which answer it is shown first: the served one, then the shadow's."""
    judge = wall.service.completer.grading.judge
    ask, lock = judge._ask, asyncio.Lock()

    async def ask_in_turn(run: Any, asked: Any, *rest: Any) -> Any:
        shown = json.loads(asked.messages[-1].text.split("\n")[1])
        async with lock:
            wall.upstream.play(JUDGE, answer=better(verdicts[shown["first"]["text"] == "There."]))
            return await ask(run, asked, *rest)

    judge._ask = ask_in_turn  # type: ignore[method-assign, assignment]


async def test_a_judge_without_verdict_leaves_the_comparison(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    path = tmp_path / "outcomes.db"
    sections = {**judged(0.0), **shadowed()}
    async with calm(tmp_path, bundle, [CHEAP], FRONTIER, policy=sections, store=str(path)) as wall:
        wall.upstream.play(JUDGE, answer=Answer.of("The first one, clearly."))
        outcome = await wall.ask()
        await settled(wall)
        found, _ = await stored(wall, path, outcome.response.decision.decision_id)
        assert found.scores == ()
        assert [one.agreement for one in found.comparisons] == [Agreement.EXACT]
        assert counted(wall, "turnout_judge_no_verdicts") == {("unparseable",): 2}


@pytest.mark.parametrize(
    ("fault", "cause"), [(Fault.UNAVAILABLE, "upstream"), (Fault.CONTEXT_EXCEEDED, "upstream")]
)
async def test_a_shadow_that_fails_is_counted(
    fault: Fault, cause: str, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with calm(tmp_path, bundle, [CHEAP], [fault], policy=shadowed()) as wall:
        is_whole(await wall.ask(), CHEAP)
        await settled(wall)
        assert counted(wall, "turnout_asides_lost") == {("shadow", cause): 1}
        # One attempt: nobody waits, so nothing is tried again.
        assert wall.count(fault) == 1


async def test_a_closed_breaker_is_left_to_those_who_wait(tmp_path: Path, bundle: Path, log: object) -> None:
    """No probe and no last resort is spent on a shadow."""
    async with calm(tmp_path, bundle, [CHEAP], [Fault.UNAUTHORIZED], policy=shadowed()) as wall:
        for _ in range(3):
            is_whole(await wall.ask(), CHEAP)
            await settled(wall)
        assert wall.count(Fault.UNAUTHORIZED) == 1
        assert counted(wall, "turnout_asides_lost")["shadow", "no_deployment"] == 2


async def test_a_shadow_has_a_budget_of_its_own(tmp_path: Path, bundle: Path, log: object) -> None:
    async with calm(tmp_path, bundle, [CHEAP], policy=shadowed(budget={"day_usd": 0.001})) as wall:
        is_whole(await wall.ask(), CHEAP)
        await settled(wall)
        assert wall.count(DEAR) == 0
        assert counted(wall, "turnout_asides_lost") == {("shadow", "budget"): 1}


async def test_answers_of_other_tiers_have_no_shadow(tmp_path: Path, bundle: Path, log: object) -> None:
    async with calm(tmp_path, bundle, [CHEAP], policy=shadowed()) as wall:
        request = CompleteRequest(prompt="Where?")
        request.constraints.min_tier = "frontier"
        is_whole(await wall.ask(request), DEAR)
        await settled(wall)
        assert wall.count(DEAR) == 1
