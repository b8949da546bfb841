"""Rows of the failure table, and of what users try first, that the fault wall does not ask: see docs/completion.md."""

from __future__ import annotations

import asyncio
import io
import json
from functools import partial
from pathlib import Path

import pytest
from turnout.v1 import completion_pb2 as contract
from turnout.v1.completion_pb2 import CompleteRequest
from turnout_server.completion.gates.chain import GateChain
from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate, Verdict
from turnout_server.providers.chat import ChatResponse, FinishReason
from turnout_server.reloading import ReloadResult
from turnout_server.resilience.breaker import Health

from tests.faults import Fault
from tests.server.completion.wall import walled as walled_with_limits
from tests.server.completion.wall_scenarios import BACKUP, WHOLE, is_whole
from tests.server.conftest import read_log

# Nothing here is about silence: the wall's short limits would make a slow machine one.
walled = partial(walled_with_limits, first_token_s=10.0, inter_token_s=10.0)
FRONTIER = "ordinary.frontier"
OTHER_ACCOUNT = "{url}/v1"


async def test_a_used_up_quota_moves_to_another_account_and_tells_the_operator(
    tmp_path: Path, bundle: Path, log: io.TextIOWrapper
) -> None:
    """The account's other deployment is left alone too, and neither is asked again."""
    fault, sister, other = Fault.QUOTA_EXHAUSTED, "ordinary.sister", "ordinary.other"
    async with walled(tmp_path, bundle, [fault, sister, other], endpoints={other: OTHER_ACCOUNT}) as wall:
        for _ in range(3):
            is_whole(await wall.ask(), other)
        assert (wall.count(fault), wall.count(sister)) == (1, 0)
    [alert] = [line for line in read_log(log) if line["event"] == "upstream_needs_operator"]
    assert (alert["level"], alert["deployment"], alert["fault"]) == ("error", fault, "quota_exhausted")


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.FORBIDDEN, Fault.NOT_FOUND])
async def test_a_deployment_that_is_set_up_wrongly_is_left_alone_and_told_of(
    fault: Fault, tmp_path: Path, bundle: Path, log: io.TextIOWrapper
) -> None:
    async with walled(tmp_path, bundle, [fault, BACKUP]) as wall:
        for _ in range(3):
            is_whole(await wall.ask(), BACKUP)
        assert wall.count(fault) == 1
        assert wall.service.completer._fleet.breakers.opens_in_s([fault]) > 60
    alerts = [line["fault"] for line in read_log(log) if line["event"] == "upstream_needs_operator"]
    assert alerts == ["configuration"]


async def test_a_name_that_does_not_resolve_is_a_connection_that_fails(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    gone = "ordinary.gone"
    async with walled(
        tmp_path, bundle, [gone, BACKUP], endpoints={gone: "http://no-such-host.invalid"}
    ) as wall:
        outcome = await wall.ask()
        is_whole(outcome, BACKUP)
        assert {one.fault for one in outcome.response.attempts[:-1]} == {contract.FAULT_KIND_CONNECTION}


async def test_a_blocked_request_is_shown_to_others_where_the_policy_asks(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(
        tmp_path, bundle, [Fault.CONTENT_POLICY, BACKUP], policy={"content_policy_failover": True}
    ) as wall:
        outcome = await wall.ask()
        is_whole(outcome, BACKUP)
        assert wall.count(Fault.CONTENT_POLICY) == 1


async def test_an_answer_without_room_is_asked_again_with_more(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    fault = Fault.LENGTH_WITHOUT_TEXT
    async with walled(tmp_path, bundle, [fault], strategy="cascade") as wall:
        is_whole(await wall.ask(CompleteRequest(prompt="Where?", max_output_tokens=100)), FRONTIER)
        [cheap], [dear] = wall.upstream.ledger.of(fault), wall.upstream.ledger.of(FRONTIER)
        assert cheap.body["max_completion_tokens"] == 100
        assert dear.body["max_completion_tokens"] == 400


@pytest.mark.parametrize("stream", [False, True])
async def test_two_hundred_pages_go_where_they_fit_in_one_attempt(
    stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    """Known before the call; never a smaller window."""
    prompt = "The line ends at the buffer stop and nobody has ever gone beyond it. " * 200 * 40
    windows = {"ordinary.small": 32_768, BACKUP: 65_536, FRONTIER: 1_000_000}
    async with walled(tmp_path, bundle, ["ordinary.small", BACKUP], windows=windows) as wall:
        outcome = await wall.ask(CompleteRequest(prompt=prompt), stream=stream)
        is_whole(outcome, FRONTIER)
        assert wall.upstream.ledger.count() == 1


async def test_cancels_are_no_failures_of_the_deployment(tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(tmp_path, bundle, [Fault.SILENCE], first_token_s=30.0) as wall:
        ledger = wall.upstream.ledger
        for _ in range(30):
            call = wall.stub.Complete(CompleteRequest(prompt="Where?"))
            await ledger.until(lambda: ledger.in_flight == 1)
            call.cancel()
            await ledger.until(lambda: ledger.in_flight == 0)
        assert wall.service.completer._fleet.breakers.health(Fault.SILENCE) is Health.CLOSED


async def test_a_store_that_cannot_be_written_is_nothing_to_the_caller(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    path = tmp_path / "outcomes.db"
    async with walled(tmp_path, bundle, ["ordinary.small"], store=str(path)) as wall:
        store = wall.service.store
        assert store is not None
        assert await asyncio.to_thread(store.flush, 5.0)
        for file in tmp_path.glob("outcomes.db*"):
            if file.is_file():
                file.unlink()
        path.mkdir(exist_ok=True)
        for _ in range(20):
            is_whole(await wall.ask(), "ordinary.small")


async def test_a_broken_policy_under_load_fails_no_completion(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, ["ordinary.small"]) as wall:
        path = tmp_path / "wall.yaml"
        good = path.read_text()
        stop = asyncio.Event()
        outcomes = []

        async def ask() -> None:
            while not stop.is_set():
                outcomes.append(await wall.ask())

        askers = [asyncio.create_task(ask()) for _ in range(4)]
        revision = wall.service.router.snapshot.policies.revision
        for broken in ("version: [", json.dumps({**json.loads(good), "default_policy": "none"})):
            path.write_text(broken)
            assert await wall.service.reloader.look() is ReloadResult.REJECTED
            before = len(outcomes)
            while len(outcomes) < before + 20:
                await asyncio.sleep(0.001)
        changed = json.loads(good)
        changed["policies"]["default"]["strategy"] = "cascade"
        path.write_text(json.dumps(changed))
        assert await wall.service.reloader.look() is ReloadResult.ACCEPTED
        before = len(outcomes)
        while len(outcomes) < before + 20:
            await asyncio.sleep(0.001)
        stop.set()
        await asyncio.gather(*askers)
        assert all(outcome.whole and outcome.text == WHOLE for outcome in outcomes)
        assert outcomes[-1].response.strategy != outcomes[0].response.strategy
        assert wall.service.router.snapshot.policies.revision != revision


SECRET = "Zebra-4471-platform"


@pytest.mark.parametrize(
    "fault", [Fault.BAD_REQUEST, Fault.UNAUTHORIZED, Fault.UNAVAILABLE, Fault.CUT, Fault.CONTENT_POLICY]
)
async def test_neither_prompt_nor_key_nor_answer_is_in_a_log_or_an_error(
    fault: Fault, tmp_path: Path, bundle: Path, log: io.TextIOWrapper
) -> None:
    """With every decision logged."""
    async with walled(tmp_path, bundle, [fault], [Fault.OVERLOADED]) as wall:
        request = CompleteRequest(prompt=f"Where is {SECRET}?")
        outcome = await wall.ask(request)
        assert not outcome.whole
        assert outcome.failure.attempts
        assert all(one.fault for one in outcome.failure.attempts)
        told = f"{outcome.reason} {outcome.metadata} {outcome.failure.attempts}"
        await wall.ask(request, stream=True)
    logged = json.dumps(read_log(log))
    for hidden in (SECRET, "sk-wall", WHOLE[:20]):
        assert hidden not in told
        assert hidden not in logged


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (
            "Beta blockers lower the heart rate. In asthma the patient may rather be given a calcium channel blocker, "
            "and I would possibly think of the dose again if the pressure might fall. " * 4,
            Verdict.ACCEPT,
        ),
        ("I can't help with that.", Verdict.ESCALATE),
    ],
    ids=["medical-essay", "refusal"],
)
def test_hedging_words_in_an_essay_are_no_refusal(text: str, verdict: Verdict) -> None:
    found = GateChain().check(ChatResponse(text, FinishReason.STOP), GateContext())
    assert found.verdict is verdict
    if verdict is Verdict.ESCALATE:
        assert found.gates[-1].gate is Gate.REFUSAL


async def test_a_primary_that_is_killed_is_not_missed_and_comes_back(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    """Its connections are reset; the next request is served by the equivalent one."""
    async with walled(tmp_path, bundle, [Fault.OUTAGE, BACKUP]) as wall:
        is_whole(await wall.ask(), Fault.OUTAGE)
        wall.upstream.down = Fault.RESET
        for _ in range(10):
            is_whole(await wall.ask(), BACKUP)
        wall.upstream.down = None
        async with asyncio.timeout(30):
            while (await wall.ask()).response.deployment != Fault.OUTAGE:
                await asyncio.sleep(0.05)


async def test_what_was_decided_and_what_served_are_both_told(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(tmp_path, bundle, [Fault.OVERLOADED]) as wall:
        response = (await wall.ask()).response
        assert (response.decision.tier, response.tier) == ("small", "frontier")
        assert response.deployment == FRONTIER
        assert [bool(one.fault) for one in response.attempts] == [True, False]
        assert response.attempts[0].http_status in (503, 529)


@pytest.mark.parametrize(("read_usd", "stays"), [(0.013, True), (0.1515, False)])
async def test_a_session_stays_in_a_dearer_tier_while_its_cache_makes_that_cheaper(
    read_usd: float, stays: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    """The frontier reports cached tokens; the next turn, which `small` could answer, goes where it is cheaper."""
    fault = Fault.ACCOUNTING
    sections = {"sessions": {"mode": "keep_while_warm"}}
    async with walled(tmp_path, bundle, ["ordinary.small"], [fault], policy=sections) as wall:
        path = tmp_path / "wall.yaml"
        document = json.loads(path.read_text())
        # Fresh input costs little more here than below, and cached input less.
        price = {
            **document["prices"]["small"],
            "input_usd_per_mtok": 0.152,
            "cache_read_usd_per_mtok": read_usd,
        }
        document["prices"]["frontier"] = price
        path.write_text(json.dumps(document))
        assert await wall.service.reloader.look() is ReloadResult.ACCEPTED
        request = CompleteRequest(prompt="Where does the line end? " * 20)
        request.caller.session_id = "s"
        request.constraints.quality_bar = 1.0
        first = (await wall.ask(request)).response
        assert (first.tier, first.tokens.input_cache_read > 0) == ("frontier", True)
        request.constraints.ClearField("quality_bar")
        assert (await wall.ask(request)).response.tier == ("frontier" if stays else "small")
        request.caller.session_id = "another"
        assert (await wall.ask(request)).response.tier == "small"
