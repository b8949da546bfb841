"""A judge and a shadow that are down, silent or talk nonsense, both at once: callers get what they get without them."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Answer, Fault, Moment
from tests.server.completion.graded import CHEAP, DEAR, FRONTIER, JUDGE, calm, counted, judged, settled
from tests.server.completion.test_shadow import shadowed
from tests.server.completion.wall import Outcome, Wall

CALLS = 5
FAILING = [Fault.UNAVAILABLE, Fault.RESET, Fault.CUT, Fault.MALFORMED, Fault.UNAUTHORIZED]
HANGING = [Fault.SILENCE, Fault.STALL]


def seen(outcome: Outcome) -> dict[str, Any]:
    """All that a caller sees of an answer, but ids and times."""
    response = outcome.response
    return {
        "status": (outcome.whole, outcome.code, outcome.events),
        "text": (outcome.text, response.message.content, response.finish_reason),
        "served": (response.deployment, response.tier, response.strategy, response.degraded),
        "attempts": [(one.deployment, one.purpose, one.result, one.fault) for one in response.attempts],
        "cost": (response.cost.nano_usd, response.cost.complete),
        "gates": [(one.gate, one.verdict, one.reason) for one in response.gates],
    }


async def usual(folder: Path, bundle: Path, *, stream: bool) -> dict[str, Any]:
    """What a caller sees where nobody judges or shadows."""
    async with calm(folder, bundle, [CHEAP], FRONTIER, strategy="cascade") as wall:
        return seen(await wall.ask(stream=stream))


def answers_came_first(wall: Wall, *, judgements: int = 1) -> None:
    """Upstream, the judge's and the shadow's calls about an answer arrived after it had left."""
    served = sorted(one.at(Moment.FINISHED) or 0.0 for one in wall.upstream.ledger.of(CHEAP))
    assert all(served)
    for model, each in ((JUDGE, judgements), (DEAR, 1)):
        arrived = sorted(one.at(Moment.ARRIVED) or 0.0 for one in wall.upstream.ledger.of(model))
        assert arrived
        assert all(served[number // each] < aside for number, aside in enumerate(arrived))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAILING)
async def test_what_fails_behind_the_caller_is_counted_and_unseen(
    fault: Fault, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    expected = await usual(tmp_path, bundle, stream=stream)
    sections = {**judged(timeout_s=3600), **shadowed(timeout_s=3600)}
    async with calm(tmp_path, bundle, [CHEAP], FRONTIER, strategy="cascade", policy=sections) as wall:
        for model in (JUDGE, DEAR):
            wall.upstream.play(model, fault)
        for _ in range(CALLS):
            assert seen(await wall.ask(stream=stream)) == expected
            await settled(wall)
        answers_came_first(wall)
        assert sum(counted(wall, "turnout_judge_no_verdicts").values()) == CALLS
        lost = counted(wall, "turnout_asides_lost")
        assert sum(count for (purpose, _), count in lost.items() if purpose == "shadow") == CALLS
        assert counted(wall, "turnout_judged") == counted(wall, "turnout_shadow_agreements") == {}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", HANGING)
async def test_what_hangs_behind_the_caller_fills_its_bounded_lanes_and_no_more(
    fault: Fault, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    """Nothing passes but answers: while every one of them comes, the first judge and the first shadow still hang."""
    expected = await usual(tmp_path, bundle, stream=stream)
    lane = {"timeout_s": 3600, "concurrency": 1, "queue": 1}
    sections = {**judged(**lane), **shadowed(**lane)}
    async with calm(
        tmp_path, bundle, [CHEAP], FRONTIER, strategy="cascade", policy=sections, inter_token_s=3600.0
    ) as wall:
        for model in (JUDGE, DEAR):
            wall.upstream.play(model, fault)
        lanes = wall.service.completer.grading.lanes
        for _ in range(CALLS):
            assert seen(await wall.ask(stream=stream)) == expected
            assert lanes.under_way <= 4
        await wall.upstream.ledger.until(lambda: wall.count(JUDGE) == wall.count(DEAR) == 1)
        assert not any(one.over for model in (JUDGE, DEAR) for one in wall.upstream.ledger.of(model))
        answers_came_first(wall)
        # One under way and one that waits, of each. The last ones are offered when their call is over.
        dropped = {(purpose, "queue_full"): CALLS - 2 for purpose in ("judge", "shadow")}
        async with asyncio.timeout(5):
            while counted(wall, "turnout_asides_lost") != dropped:
                await asyncio.sleep(0.001)
        await lanes.drain(0)
        ended = {(purpose, "shutdown"): 2 for purpose in ("judge", "shadow")}
        assert counted(wall, "turnout_asides_lost") == dropped | ended


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("nonsense", ["", "%$", '{"mark": 5}', "x" * 5000])
async def test_nonsense_behind_the_caller_is_no_verdict(
    nonsense: str, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    expected = await usual(tmp_path, bundle, stream=stream)
    sections = {**judged(), **shadowed()}
    async with calm(tmp_path, bundle, [CHEAP], FRONTIER, strategy="cascade", policy=sections) as wall:
        for model in (JUDGE, DEAR):
            wall.upstream.play(model, answer=Answer.of(nonsense))
        for _ in range(CALLS):
            assert seen(await wall.ask(stream=stream)) == expected
            await settled(wall)
        answers_came_first(wall, judgements=3)
        # The answer's mark, and the shadow beside it in both orders.
        causes = Counter(counted(wall, "turnout_judge_no_verdicts"))
        assert set(causes) <= {("unparseable",), ("upstream",)}
        assert causes.total() == 3 * CALLS
        assert counted(wall, "turnout_judged") == counted(wall, "turnout_shadow_preferences") == {}
