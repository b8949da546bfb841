"""Budgets and limits of the policy file through the real service, before fake providers on loopback sockets."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from turnout.v1.completion_pb2 import CompleteRequest
from turnout_server.reloading import ReloadResult
from turnout_server.resilience.budgets import Scope, ScopeKind

from tests.faults import Fault
from tests.server.completion.wall import PRICES, Outcome, Wall, walled

ACME = Scope(ScopeKind.TENANT, "acme")
MAX_OUTPUT_TOKENS = 60


def ask_as(tenant: str = "acme", prompt: str = "Where?") -> CompleteRequest:
    request = CompleteRequest(prompt=prompt, max_output_tokens=MAX_OUTPUT_TOKENS)
    request.caller.tenant = tenant
    return request


def estimate(tier: str = "small", prompt: str = "Where?") -> int:
    """What `ask_as` may cost, in nano-dollars: three bytes a token, three tokens a message."""
    price = PRICES[tier]
    input_tokens = math.ceil(len(prompt) / 3) + 3
    micro = input_tokens * round(price["input_usd_per_mtok"] * 1e9)  # type: ignore[operator]
    micro += MAX_OUTPUT_TOKENS * round(price["output_usd_per_mtok"] * 1e9)  # type: ignore[operator]
    return -(-micro // 10**6)


def usd(nano: int) -> str:
    return f"{nano // 10**9}.{nano % 10**9:09d}"


def a_day(nano: int, **more: Any) -> dict[str, Any]:
    return {"budgets": {"tenants": {"acme": {"day_usd": usd(nano), **more}}}}


def cost_of(outcomes: list[Outcome]) -> int:
    return sum(one.response.cost.nano_usd for one in outcomes if one.whole)


def counted(wall: Wall, family: str) -> dict[tuple[str, ...], float]:
    return {labels: values[0] for name, labels, values in wall.service.sums().values if name == family}


def used(wall: Wall, scope: Scope = ACME) -> tuple[int, int]:
    return wall.service.limits.spending.used_nano_usd(scope)


async def test_two_hundred_at_once_on_a_budget_for_ten(tmp_path: Path, bundle: Path, log: object) -> None:
    limit = 10 * estimate()
    async with walled(tmp_path, bundle, ["ordinary.small"], sections=a_day(limit)) as wall:
        outcomes = await asyncio.gather(*(wall.ask(ask_as()) for _ in range(200)))
        refused = [one for one in outcomes if not one.whole]
        assert {(one.code, one.reason) for one in refused} == {
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED")
        }
        assert len(refused) < 200
        assert cost_of(outcomes) <= limit + estimate()
        assert used(wall) == (cost_of(outcomes), 0)
        told = refused[0].metadata
        assert (told["budget"], told["unit"]) == ("tenant spend_day", "nano_usd")
        assert (told["limit"], told["window_s"]) == (str(limit), "86400")
        assert 0 <= int(told["left"]) < estimate()
        assert refused[0].retry_s is not None
        assert 0 < refused[0].retry_s <= 86_400
        assert int(refused[0].pushback or 0) == round(refused[0].retry_s * 1000)
        assert counted(wall, "turnout_budget_refusals") == {("tenant", "acme", "spend_day"): len(refused)}
        assert counted(wall, "turnout_budget_limit_nano_usd") == {("tenant", "acme", "spend_day"): limit}
        left = counted(wall, "turnout_budget_left_nano_usd")
        assert left == {("tenant", "acme", "spend_day"): max(0, limit - cost_of(outcomes))}
        # Another tenant has no budget, nor has who names none.
        for tenant in ("globex", ""):
            assert (await wall.ask(ask_as(tenant))).whole


async def test_other_tenants_have_one_each_and_those_without_a_name_one_together(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    one = estimate()
    sections = {
        "budgets": {
            "tenants": {"acme": {}, "globex": {"month_usd": usd(10**9)}},
            "other_tenants": {"day_usd": usd(one)},
            "policies": {"default": {"month_usd": usd(10**9)}},
        }
    }
    async with walled(tmp_path, bundle, ["ordinary.small"], sections=sections) as wall:
        for tenant, served in (("initech", 1), ("umbrella", 1), ("", 1), ("globex", 3), ("acme", 3)):
            outcomes = [await wall.ask(ask_as(tenant)) for _ in range(3)]
            assert sum(outcome.whole for outcome in outcomes) == served, tenant
        # Names that callers choose are no labels.
        assert counted(wall, "turnout_budget_refusals") == {("tenant", "", "spend_day"): 6}
        assert used(wall, Scope(ScopeKind.POLICY, "default"))[1] > 0
        # Without a budget, and counted all the same: it may be one of the others tomorrow.
        assert used(wall) == (cost_of(outcomes), 0)


async def test_an_escalation_keeps_to_the_budget(tmp_path: Path, bundle: Path, log: object) -> None:
    """The rejected answer is served where the dearer tier's does not fit."""
    models = [Fault.REFUSAL_IN_WORDS]
    for limit, tier, asked in (
        (estimate("frontier"), "small", 0),
        (estimate() + estimate("frontier"), "frontier", 1),
    ):
        async with walled(tmp_path, bundle, models, strategy="cascade", sections=a_day(limit)) as wall:
            outcome = await wall.ask(ask_as())
            assert outcome.whole
            assert (outcome.response.tier, wall.count("ordinary.frontier")) == (tier, asked)
            assert used(wall)[0] == outcome.response.cost.nano_usd


async def test_a_failover_to_a_dearer_tier_keeps_to_the_budget(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    for limit, asked in ((estimate("frontier") - 1, 0), (estimate("frontier"), 1)):
        async with walled(tmp_path, bundle, [Fault.OVERLOADED], sections=a_day(limit)) as wall:
            outcome = await wall.ask(ask_as())
            assert (outcome.whole, wall.count("ordinary.frontier")) == (bool(asked), asked)
            if not asked:
                assert outcome.reason == "UPSTREAM_UNAVAILABLE"
                assert outcome.metadata["causes"] == "overloaded=1, quota_exhausted=1"
            assert used(wall)[0] == outcome.response.cost.nano_usd


async def test_requests_and_tokens_a_minute(tmp_path: Path, bundle: Path, log: object) -> None:
    sections = {
        "budgets": {
            "tenants": {
                "acme": {"requests_per_minute": 3},
                "globex": {"tokens_per_minute": 150},
                "initech": {"tokens_per_minute": 10},
            }
        }
    }
    async with walled(tmp_path, bundle, ["ordinary.small"], sections=sections) as wall:
        outcomes = [await wall.ask(ask_as()) for _ in range(4)]
        assert [one.whole for one in outcomes] == [True, True, True, False]
        last = outcomes[-1]
        assert (last.code, last.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED")
        assert last.metadata == {
            "budget": "tenant requests_minute",
            "unit": "requests",
            "limit": "3",
            "left": "0",
            "window_s": "60",
        }
        assert last.retry_s is not None
        assert 0 < last.retry_s <= 20
        # What an answer really took is counted, not its estimate: of 65 tokens each.
        took = 0
        for _ in range(9):
            outcome = await wall.ask(ask_as("globex"))
            if not outcome.whole:
                break
            tokens = outcome.response.tokens
            took += sum(getattr(tokens, part.name) for part, _ in tokens.ListFields())
        assert 85 < took <= 155
        assert (outcome.metadata["budget"], outcome.metadata["unit"]) == ("tenant tokens_minute", "tokens")
        # More than a minute's never fits.
        never = await wall.ask(ask_as("initech"))
        assert (never.reason, never.retry_s) == ("BUDGET_EXHAUSTED", None)


def limits(*deployments: dict[str, Any], **account: Any) -> dict[str, Any]:
    accounts = [{"credentials": "TURNOUT_WALL_KEY", **account}] if account else []
    return {"provider_limits": {"accounts": accounts, "deployments": list(deployments)}}


async def test_a_deployment_at_its_limit_is_passed_over(tmp_path: Path, bundle: Path, log: object) -> None:
    sections = limits({"deployment": "ordinary.small", "requests_per_minute": 1})
    async with walled(tmp_path, bundle, ["ordinary.small", "ordinary.small2"], sections=sections) as wall:
        outcomes = [await wall.ask() for _ in range(3)]
        assert [one.response.deployment for one in outcomes] == [
            "ordinary.small",
            "ordinary.small2",
            "ordinary.small2",
        ]
        assert [one.response.attempts[0].deployment for one in outcomes[1:]] == ["ordinary.small2"] * 2
        refused = counted(wall, "turnout_provider_limit_refusals")
        assert refused == {("deployment ordinary.small", "requests_minute"): 2}


async def test_an_account_at_its_limit_is_unavailable_and_says_until_when(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(
        tmp_path, bundle, ["ordinary.small", "ordinary.small2"], sections=limits(requests_per_minute=2)
    ) as wall:
        outcomes = [await wall.ask() for _ in range(3)]
        assert [one.whole for one in outcomes] == [True, True, False]
        last = outcomes[-1]
        assert (last.code, last.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert last.metadata["causes"] == "rate_limited=3"
        assert last.retry_s is not None
        assert 0 < last.retry_s <= 30
        assert wall.upstream.ledger.count() == 2


async def test_a_full_deployment_is_waited_for(tmp_path: Path, bundle: Path, log: object) -> None:
    """One at a time, no equivalent: nobody goes up a tier, and nobody is refused."""
    sections = limits({"deployment": "ordinary.small", "in_flight": 1})
    async with walled(tmp_path, bundle, ["ordinary.small"], sections=sections) as wall:
        outcomes = await asyncio.gather(*(wall.ask(timeout_s=30.0) for _ in range(8)))
        assert [one.response.deployment for one in outcomes] == ["ordinary.small"] * 8
        assert counted(wall, "turnout_provider_limit_refusals")
        # What was cancelled or failed has left, too.
        slow = [wall.stub.Complete(CompleteRequest(prompt="Where?")) for _ in range(4)]
        await asyncio.sleep(0)
        for call in slow:
            call.cancel()
        assert (await wall.ask()).response.deployment == "ordinary.small"


async def test_a_full_deployment_that_does_not_come_free_sends_the_request_up(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    sections = limits({"deployment": Fault.SILENCE, "in_flight": 1})
    async with walled(tmp_path, bundle, [Fault.SILENCE], first_token_s=60.0, sections=sections) as wall:
        held = wall.stub.Complete(CompleteRequest(prompt="Where?"))
        ledger = wall.upstream.ledger
        await ledger.until(lambda: ledger.in_flight == 1)
        outcome = await wall.ask(timeout_s=2.0)
        assert (outcome.response.deployment, len(outcome.response.attempts)) == ("ordinary.frontier", 1)
        held.cancel()
        await ledger.until(lambda: ledger.in_flight == 0)


async def test_a_failed_call_gives_its_tokens_back_to_the_account(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    async with walled(
        tmp_path, bundle, [Fault.OVERLOADED, "ordinary.small"], sections=limits(tokens_per_minute=80)
    ) as wall:
        # Of 65 tokens each: two would not fit beside each other.
        outcome = await wall.ask(ask_as())
        assert [one.deployment for one in outcome.response.attempts] == [Fault.OVERLOADED, "ordinary.small"]


class Load:
    """Callers who ask on and on, and what they got."""

    def __init__(self, wall: Wall, tenants: Sequence[str] = ("acme",) * 4) -> None:
        self._wall = wall
        self._stop = False
        self.found: dict[str, list[Outcome]] = {tenant: [] for tenant in tenants}
        self._callers = [asyncio.create_task(self._ask(tenant)) for tenant in tenants]

    async def _ask(self, tenant: str) -> None:
        while not self._stop:
            self.found[tenant].append(await self._wall.ask(ask_as(tenant)))

    async def go_on(self, calls: int = 8) -> None:
        """Lets so many more calls end."""
        seen = sum(map(len, self.found.values()))
        while sum(map(len, self.found.values())) < seen + calls:
            await asyncio.sleep(0.002)

    async def end(self) -> dict[str, int]:
        """Waits for the last answers; nano-dollars by tenant."""
        self._stop = True
        await asyncio.gather(*self._callers)
        assert all(one.whole for outcomes in self.found.values() for one in outcomes)
        return {tenant: cost_of(outcomes) for tenant, outcomes in self.found.items()}


async def reload(wall: Wall, path: Path, sections: dict[str, Any], service: int = 0) -> None:
    document = json.loads(path.read_text())
    document.pop("budgets", None)
    path.write_text(json.dumps(document | sections))
    assert await wall.services[service].reloader.reload() is ReloadResult.ACCEPTED


@pytest.mark.parametrize("first", [a_day(10**9), {}], ids=["changed", "new"])
async def test_a_budget_changes_under_load_and_what_is_spent_stays(
    first: dict[str, Any], tmp_path: Path, bundle: Path, log: object
) -> None:
    store = str(tmp_path / "outcomes.db")
    path = tmp_path / "wall.yaml"
    async with walled(tmp_path, bundle, ["ordinary.small"], sections=first, store=store) as wall:
        load = Load(wall)
        await load.go_on()
        await reload(wall, path, a_day(2 * 10**9, requests_per_minute=10**6))
        await load.go_on()
        spent = (await load.end())["acme"]
        assert used(wall)[0] == spent
        # Less than is spent: nothing more.
        await reload(wall, path, a_day(spent // 2))
        refused = await wall.ask(ask_as())
        assert (refused.reason, refused.metadata["left"]) == ("BUDGET_EXHAUSTED", "0")
        assert await budget_is_spent(wall)
        # And more again: decisions hear of that, too.
        await reload(wall, path, a_day(10**9))
        assert not await budget_is_spent(wall)
        assert (await wall.ask(ask_as())).whole


async def test_a_budget_that_goes_and_comes_again_under_load_knows_what_was_spent_without_it(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    store = str(tmp_path / "outcomes.db")
    path = tmp_path / "wall.yaml"
    async with walled(tmp_path, bundle, ["ordinary.small"], store=store) as wall:
        load = Load(wall)
        for sections in (a_day(10**9), {}, a_day(10**9), {"budgets": {"other_tenants": {"month_usd": 1}}}):
            await load.go_on()
            await reload(wall, path, sections)
        await load.go_on()
        spent = (await load.end())["acme"]
        # Now one of the others, it is still counted of the day.
        assert used(wall) == (spent, spent)


# Of named tenants and of the others, of both periods; each is stated for the first time.
MANY = {
    "budgets": {
        "tenants": {"acme": {"day_usd": 1, "month_usd": 1}},
        "other_tenants": {"month_usd": 1},
        "policies": {"default": {"day_usd": 1}},
    }
}


async def test_two_workers_take_up_new_budgets_one_after_the_other_and_count_to_the_unit(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    """With a state and a store in common; the second reads the file when the first has long held to it."""
    store = str(tmp_path / "outcomes.db")
    path = tmp_path / "wall.yaml"
    async with walled(
        tmp_path, bundle, ["ordinary.small"], store=store, workers=2, state=tmp_path / "state"
    ) as wall:
        load = Load(wall, ["acme", "globex", "initech"])
        await load.go_on(20)
        await reload(wall, path, MANY)
        await load.go_on(20)
        assert await wall.services[1].reloader.reload() is ReloadResult.ACCEPTED
        await load.go_on(20)
        spent = await load.end()
        assert used(wall) == (spent["acme"], spent["acme"])
        for tenant in ("globex", "initech"):
            assert used(wall, Scope(ScopeKind.TENANT, tenant))[1] == spent[tenant]
        assert used(wall, Scope(ScopeKind.POLICY, "default"))[0] == sum(spent.values())


async def budget_is_spent(wall: Wall) -> bool:
    """What decisions hear of the tenant."""
    from turnout_fastpath import Request

    decision = wall.service.router.decide_aside(Request("Where?", tenant="acme"))
    return bool(decision.live_state.budget_spent)


async def test_a_spent_budget_caps_the_tier_where_the_policy_says_so(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    """A dear request that does not fit is refused once; then cheap ones use up what is left."""
    async with walled(tmp_path, bundle, ["ordinary.small"], sections=a_day(estimate("frontier") - 1)) as wall:
        path = tmp_path / "wall.yaml"
        document = json.loads(path.read_text())
        document["policies"]["default"] |= {
            "bars": {"default": 1.0},
            "safe_tier": "frontier",
            "limits": {"budget_spent_ceiling": "small"},
        }
        path.write_text(json.dumps(document))
        assert await wall.service.reloader.reload() is ReloadResult.ACCEPTED
        first = await wall.ask(ask_as())
        # Alone more than the whole budget: it says nothing of others.
        assert (first.reason, first.retry_s) == ("BUDGET_EXHAUSTED", None)
        await reload(wall, path, a_day(estimate("frontier")))
        assert (await wall.ask(ask_as())).response.tier == "frontier"
        outcome = await wall.ask(ask_as())
        assert outcome.reason == "BUDGET_EXHAUSTED"
        assert await budget_is_spent(wall)
        outcome = await wall.ask(ask_as())
        if outcome.whole:
            assert outcome.response.decision.tier == "small"


async def test_a_restart_remembers_what_was_spent(tmp_path: Path, bundle: Path, log: object) -> None:
    store = str(tmp_path / "outcomes.db")
    limit = 3 * estimate()
    spent = 0
    sections = a_day(limit) | {}
    sections["budgets"]["policies"] = {"default": {"month_usd": usd(10**9)}}
    for run in range(2):
        async with walled(tmp_path, bundle, ["ordinary.small"], sections=sections, store=store) as wall:
            assert used(wall) == (spent, 0)
            assert used(wall, Scope(ScopeKind.POLICY, "default")) == (0, spent)
            outcomes = [await wall.ask(ask_as()) for _ in range(5)]
            spent += cost_of(outcomes)
            assert used(wall)[0] == spent
            assert any(one.whole for one in outcomes) == (run == 0)
            if run:
                assert await budget_is_spent(wall)


async def test_a_state_that_stays_is_not_counted_twice_and_learns_what_was_spent_without_it(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    store = str(tmp_path / "outcomes.db")
    spent = 0
    for state in ("state", "state", None, "state", "state"):
        path = None if state is None else tmp_path / state
        async with walled(
            tmp_path, bundle, ["ordinary.small"], sections=a_day(10**9), store=store, state=path
        ) as wall:
            assert used(wall) == (spent, 0)
            spent += cost_of([await wall.ask(ask_as()) for _ in range(3)])
            assert used(wall) == (spent, 0)
    assert spent > 0


async def test_without_a_store_a_restart_says_that_it_forgets(tmp_path: Path, bundle: Path, log: Any) -> None:
    from tests.server.conftest import read_log

    async with walled(tmp_path, bundle, ["ordinary.small"], sections=a_day(10**9)) as wall:
        assert (await wall.ask(ask_as())).whole
    events = [event for event in read_log(log) if event["event"] == "budgets_not_restored"]
    assert [event["cause"] for event in events] == ["nothing is stored: `store` is off"]


async def test_cancelled_calls_settle_what_they_have_cost(tmp_path: Path, bundle: Path, log: object) -> None:
    sections = a_day(10**9) | limits({"deployment": Fault.SLOW_BODY, "in_flight": 4})
    async with walled(tmp_path, bundle, [Fault.SLOW_BODY], sections=sections) as wall:
        ledger = wall.upstream.ledger
        for _ in range(2):
            calls = [wall.stub.Complete(ask_as()) for _ in range(4)]
            await ledger.until(lambda: ledger.in_flight == 4)
            assert used(wall)[0] >= 4 * estimate()
            for call in calls:
                call.cancel()
            await ledger.until(lambda: ledger.in_flight == 0)
            while wall.service.port.completions.in_flight:
                await asyncio.sleep(0.005)
        cost = sum(counted(wall, "turnout_cost_nano_usd").values())
        assert used(wall)[0] == cost > 0


async def test_rates_are_exact_over_services_that_share_their_state(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    sections = {"budgets": {"policies": {"default": {"requests_per_minute": 7}}}}
    async with walled(
        tmp_path,
        bundle,
        ["ordinary.small"],
        sections=sections,
        workers=2,
        state=tmp_path / "state",
    ) as wall:
        outcomes = await asyncio.gather(*(wall.ask() for _ in range(40)))
        # One more flows in every 8.6 s.
        assert 7 <= sum(one.whole for one in outcomes) <= 7 + max(one.seconds for one in outcomes) // 8


async def test_judges_keep_to_accounts_limits_and_to_no_tenants_budget(
    tmp_path: Path, bundle: Path, log: object
) -> None:
    """A judge that grades inline on the frontier tier, which is let in once."""
    judge = {"judge": {"tier": "frontier", "share": 1.0, "mode": "inline", "budget": {"day_usd": 1}}}
    sections = a_day(10 * estimate()) | limits({"deployment": "ordinary.frontier", "requests_per_minute": 1})
    store = str(tmp_path / "outcomes.db")
    spent = 0
    for run in range(2):
        async with walled(
            tmp_path,
            bundle,
            ["ordinary.small"],
            strategy="cascade",
            policy=judge,
            sections=sections,
            store=store,
        ) as wall:
            purpose = Scope(ScopeKind.PURPOSE, "default judge")
            assert used(wall, purpose)[0] == spent
            for _ in range(2):
                assert (await wall.ask(ask_as())).whole
            assert wall.count("ordinary.frontier") == 1
            judged = [
                value
                for (_, purpose_, _), value in counted(wall, "turnout_cost_nano_usd").items()
                if purpose_ == "judge"
            ]
            spent += int(sum(judged))
            assert used(wall, purpose)[0] == spent > 0
            assert used(wall)[0] < 10 * estimate(), run
