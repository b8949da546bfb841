"""Ensembles before the real service and the fake upstream: one answer is picked, the others are billed."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from turnout.v1 import completion_pb2 as contract
from turnout.v1.completion_pb2 import CompleteRequest, CompleteStreamRequest
from turnout.v1.routing_pb2 import STRATEGY_CASCADE, STRATEGY_ENSEMBLE, STRATEGY_SINGLE
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.sampling import is_drawn
from turnout_server.resilience.budgets import Scope, ScopeKind

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
    mark,
    settled,
    stored,
)
from tests.server.completion.wall import Outcome, invoice
from tests.server.completion.wall_scenarios import is_whole


def forced() -> CompleteRequest:
    return CompleteRequest(prompt="Where?", strategy=STRATEGY_ENSEMBLE)


def attempts_of(outcome: Outcome) -> list[tuple[str, str, str]]:
    made = outcome.response.attempts or outcome.failure.attempts
    return sorted(
        (
            one.deployment,
            contract.AttemptPurpose.Name(one.purpose).removeprefix("ATTEMPT_PURPOSE_").lower(),
            contract.AttemptResult.Name(one.result).removeprefix("ATTEMPT_RESULT_").lower(),
        )
        for one in made
    )


def by_hand(outcome: Outcome) -> int:
    tiers = {CHEAP: "small"}
    return sum(
        invoice(tiers.get(one.deployment, "frontier"), one.tokens) for one in outcome.response.attempts
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_may_force_one_and_pays_for_both(
    stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    path = tmp_path / "outcomes.db"
    async with calm(tmp_path, bundle, [CHEAP], store=str(path)) as wall:
        outcome = await wall.ask(forced(), stream=stream)
        # The gates accept both, and equals go to the highest tier.
        is_whole(outcome, DEAR)
        assert outcome.response.strategy == STRATEGY_ENSEMBLE
        assert not outcome.response.degraded
        assert attempts_of(outcome) == [
            (DEAR, "ensemble", "served"),
            (CHEAP, "ensemble", "rejected"),
        ]
        assert outcome.response.cost.nano_usd == by_hand(outcome)
        assert counted(wall, "turnout_ensembles") == {("gates", "frontier"): 1}
        found, costs = await stored(wall, path, outcome.response.decision.decision_id)
        assert sum(one.cost_nano or 0 for one in costs) == by_hand(outcome)
        assert {one.purpose for one in costs} == {Purpose.ENSEMBLE}
        assert sorted((one.tier, one.score, one.propensity) for one in found.scores) == [
            ("frontier", 1.0, 1.0),
            ("small", 1.0, 1.0),
        ]
        assert {one.attempt_id for one in found.scores} == {one.attempt_id for one in costs}


async def test_the_gates_pick(tmp_path: Path, bundle: Path, log: object) -> None:
    async with calm(tmp_path, bundle, [CHEAP], [Fault.REFUSAL_IN_WORDS]) as wall:
        outcome = await wall.ask(forced())
        is_whole(outcome, CHEAP)
        assert not outcome.response.degraded
        loser = next(one for one in outcome.response.attempts if one.deployment != CHEAP)
        assert (loser.result, loser.rejected_by) == (
            contract.ATTEMPT_RESULT_REJECTED,
            contract.GATE_REFUSAL,
        )


@pytest.mark.parametrize(("verdict", "served"), [("first", CHEAP), ("second", DEAR), ("neither", DEAR)])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_judge_picks_in_both_orders(
    verdict: str, served: str, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    import json

    path = tmp_path / "outcomes.db"
    async with calm(tmp_path, bundle, [CHEAP], FRONTIER, policy=judged(0.0), store=str(path)) as wall:
        wall.upstream.play(DEAR, answer=Answer.of("There."))
        judge = wall.service.completer.grading.judge
        ask, lock = judge._ask, asyncio.Lock()

        async def ask_in_turn(run: Any, asked: Any, *rest: Any) -> Any:
            swapped = json.loads(asked.messages[-1].text.split("\n")[1])["first"]["text"] == "There."
            other = {"first": "second", "second": "first"}.get(verdict, verdict)
            async with lock:
                wall.upstream.play(JUDGE, answer=better(other if swapped else verdict))
                return await ask(run, asked, *rest)

        judge._ask = ask_in_turn  # type: ignore[method-assign, assignment]
        outcome = await wall.ask(forced(), stream=stream)
        assert outcome.response.deployment == served
        assert outcome.text == (Answer().text if served == CHEAP else "There.")
        loser = DEAR if served == CHEAP else CHEAP
        assert attempts_of(outcome) == sorted(
            [
                (served, "ensemble", "served"),
                (loser, "ensemble", "rejected"),
                (JUDGE, "judge", "served"),
                (JUDGE, "judge", "served"),
            ]
        )
        assert outcome.response.cost.nano_usd == by_hand(outcome)
        found, costs = await stored(wall, path, outcome.response.decision.decision_id)
        assert sum(one.cost_nano or 0 for one in costs) == by_hand(outcome)
        scores = {one.tier: one.score for one in found.scores}
        wins = {"first": 1.0, "second": 0.0, "neither": 0.5}[verdict]
        assert scores == {"small": wins, "frontier": 1 - wins}
        assert {one.judge for one in found.scores} == {JUDGE}


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.UNAVAILABLE, Fault.RESET])
async def test_a_judge_that_is_down_leaves_the_choice_to_the_gates(
    fault: Fault, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with calm(tmp_path, bundle, [CHEAP], FRONTIER, policy=judged(0.0, timeout_s=60)) as wall:
        wall.upstream.play(JUDGE, fault)
        outcome = await wall.ask(forced(), timeout_s=1.0)
        is_whole(outcome, DEAR)
        assert counted(wall, "turnout_judge_no_verdicts") == {("upstream",): 2}


@pytest.mark.parametrize(
    ("small", "frontier", "served"),
    [(CHEAP, Fault.UNAVAILABLE, CHEAP), (Fault.UNAVAILABLE, DEAR, DEAR), (CHEAP, Fault.CUT_CLEANLY, CHEAP)],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_member_that_is_down_does_not_fail_the_request(
    small: str, frontier: str, served: str, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    async with calm(tmp_path, bundle, [small], [frontier]) as wall:
        outcome = await wall.ask(forced(), stream=stream)
        is_whole(outcome, served)
        made = attempts_of(outcome)
        assert (served, "ensemble", "served") in made
        assert {result for name, _, result in made if name != served} == {"failed"}
        assert "restarted" not in outcome.events


async def test_a_member_that_hangs_is_left_out_at_its_limit(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    sections = {"ensemble": {"timeout_s": 0.3}}
    async with calm(tmp_path, bundle, [CHEAP], [Fault.SILENCE], first_token_s=60.0, policy=sections) as wall:
        outcome = await wall.ask(forced(), timeout_s=None)
        is_whole(outcome, CHEAP)
        [held] = wall.upstream.ledger.of(Fault.SILENCE)
        await wall.upstream.ledger.until(partial(held.at, Moment.LEFT))


async def test_with_all_members_down_there_is_an_error(tmp_path: Path, bundle: Path, log: object) -> None:
    async with calm(tmp_path, bundle, [Fault.UNAVAILABLE], ["unavailable.frontier"]) as wall:
        outcome = await wall.ask(forced())
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert {one[0] for one in attempts_of(outcome)} == {Fault.UNAVAILABLE, "unavailable.frontier"}


async def test_a_member_fails_over_within_its_tier(tmp_path: Path, bundle: Path, log: object) -> None:
    async with calm(tmp_path, bundle, [Fault.OVERLOADED, CHEAP], ["unavailable.frontier"]) as wall:
        is_whole(await wall.ask(forced()), CHEAP)


async def test_a_stream_is_held_until_one_is_picked(tmp_path: Path, bundle: Path, log: object) -> None:
    """The cheap answer is whole, and nothing of it is seen while the other one is still to come."""
    async with calm(tmp_path, bundle, [CHEAP]) as wall:
        wall.upstream.play(DEAR, Fault.SILENCE, times=1)
        call = wall.stub.CompleteStream(CompleteStreamRequest(request=forced()), timeout=10)
        events = aiter(call)
        started = await anext(events)
        assert started.started.strategy == STRATEGY_ENSEMBLE
        ledger = wall.upstream.ledger
        await ledger.until(lambda: any(one.at(Moment.FINISHED) for one in ledger.of(CHEAP)))
        await ledger.until(lambda: any(one.at(Moment.HELD) for one in ledger.of(DEAR)))
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.05)
        assert not following.done()
        wall.upstream.release()
        assert (await following).WhichOneof("event") == "text"
        assert [event async for event in events][-1].WhichOneof("event") == "finished"


async def test_a_caller_who_leaves_ends_all_members(tmp_path: Path, bundle: Path, log: object) -> None:
    path = tmp_path / "outcomes.db"
    models = [Fault.SILENCE], ["silence.frontier"]
    async with calm(tmp_path, bundle, *models, first_token_s=60.0, store=str(path)) as wall:
        request = forced()
        request.decision_id = "0" * 31 + "7"
        call = wall.stub.Complete(request)
        ledger = wall.upstream.ledger
        await ledger.until(lambda: ledger.in_flight == 2)
        call.cancel()
        await ledger.until(lambda: ledger.in_flight == 0)
        await settled(wall)
        _, costs = await stored(wall, path, request.decision_id)
        assert [(one.purpose, one.result, one.estimated) for one in costs] == [
            ("ensemble", "cancelled", True)
        ] * 2
        assert counted(wall, "turnout_completions") == {("small", "none", "ensemble", "cancelled"): 1}


async def test_a_policy_has_a_share_of_its_traffic_answered_so(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    path = tmp_path / "outcomes.db"
    sections = {"ensemble": {"share": 0.4, "otherwise": "single"}}
    async with calm(tmp_path, bundle, [CHEAP], strategy="ensemble", policy=sections, store=str(path)) as wall:
        for number in range(15):
            one = f"{number:032x}"
            outcome = await wall.ask(CompleteRequest(prompt="Where?", decision_id=one))
            drawn = is_drawn(one, Purpose.ENSEMBLE, 0.4)
            expected = STRATEGY_ENSEMBLE if drawn else STRATEGY_SINGLE
            assert outcome.response.strategy == expected
            assert len(outcome.response.attempts) == 1 + drawn
            found, _ = await stored(wall, path, one)
            assert [score.propensity for score in found.scores] == [0.4, 0.4] * drawn
        assert 0 < counted(wall, "turnout_ensembles")["gates", "frontier"] < 15


async def test_without_two_tiers_there_is_no_ensemble(tmp_path: Path, bundle: Path, log: object) -> None:
    async with calm(tmp_path, bundle, [CHEAP]) as wall:
        request = forced()
        request.constraints.max_tier = "small"
        outcome = await wall.ask(request)
        is_whole(outcome, CHEAP)
        assert outcome.response.strategy == STRATEGY_CASCADE
        assert wall.count(DEAR) == 0


async def test_confidence_picks_and_its_logprobs_are_not_shown(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    sections = {"ensemble": {"chooser": "confidence"}}
    async with calm(tmp_path, bundle, [CHEAP], policy=sections) as wall:
        for stream in (False, True):
            outcome = await wall.ask(forced(), stream=stream)
            is_whole(outcome, DEAR)
            assert not outcome.response.logprobs
            assert not outcome.response.ignored_fields
        assert all(one.body["logprobs"] is True for one in wall.upstream.ledger.requests)
        request = forced()
        request.top_logprobs = 0
        assert (await wall.ask(request)).response.logprobs


async def test_a_budget_holds_for_every_member(tmp_path: Path, bundle: Path, log: object) -> None:
    """One that holds either member's estimate and not both: the second is not asked, and the first one serves."""
    request = forced()
    request.caller.tenant = "acme"
    request.max_output_tokens = 1000
    # Estimates, of some 5 input tokens.
    cheap, dear = 1000 * 607 + 11 * 151, 1000 * 20011 + 11 * 5003
    for limit, asked in ((dear, [CHEAP]), (dear + cheap, [CHEAP, DEAR])):
        sections = {"budgets": {"tenants": {"acme": {"day_usd": limit / 1e9}}}}
        async with calm(tmp_path, bundle, [CHEAP], sections=sections) as wall:
            outcome = await wall.ask(request)
            is_whole(outcome, asked[-1])
            assert sorted({one.model for one in wall.upstream.ledger.requests}) == sorted(asked)
            day, _ = wall.service.limits.spending.used_nano_usd(Scope(ScopeKind.TENANT, "acme"))
            assert day == outcome.response.cost.nano_usd == by_hand(outcome)


async def test_judges_and_shadows_are_not_on_a_tenants_budget(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    sections = {"budgets": {"tenants": {"acme": {"day_usd": 1.0}}}}
    policy = {**judged(mode="inline"), "shadow": {"share": 1.0}}
    async with calm(
        tmp_path, bundle, [CHEAP], FRONTIER, strategy="cascade", sections=sections, policy=policy
    ) as wall:
        wall.upstream.play(JUDGE, answer=mark(5))
        request = CompleteRequest(prompt="Where?")
        request.caller.tenant = "acme"
        outcome = await wall.ask(request)
        await settled(wall)
        assert wall.count(DEAR) == 1
        serving = invoice("small", outcome.response.attempts[0].tokens)
        assert outcome.response.cost.nano_usd == by_hand(outcome) > serving
        day, _ = wall.service.limits.spending.used_nano_usd(Scope(ScopeKind.TENANT, "acme"))
        assert day == serving


async def test_a_limit_of_an_account_holds_for_those_who_answer_nobody(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    """One call a minute: the first shadow takes it."""
    sections = {"provider_limits": {"deployments": [{"deployment": DEAR, "requests_per_minute": 1}]}}
    policy = {"shadow": {"share": 1.0}}
    async with calm(tmp_path, bundle, [CHEAP], sections=sections, policy=policy) as wall:
        for _ in range(3):
            is_whole(await wall.ask(), CHEAP)
            await settled(wall)
        assert wall.count(DEAR) == 1
        assert counted(wall, "turnout_asides_lost") == {("shadow", "no_deployment"): 2}
