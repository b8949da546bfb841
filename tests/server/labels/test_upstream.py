"""Asking a tier: its own deployments alone, as often as makes sense, and every attempt on the bill."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from turnout_fastpath import RouteError
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.tokens import TokenCounts
from turnout_server.labels.upstream import ROUNDS, TierAsker, make_snapshot
from turnout_server.providers.chat import ChatRequest, Finished, FinishReason, Message, Role, TextDelta
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import ProviderCall, UpstreamError
from turnout_server.resilience.retry_policy import MAX_ATTEMPTS

from tests.server.resilience.fake_clock import FakeClock

CHAT = ChatRequest((Message.of(Role.USER, "Where?"),), max_output_tokens=10)
TOLD = [{"role": "user", "content": "Where?"}]


class Scripted:
    """Fails as it is told, by model, and then answers."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.fails: dict[str, list[UpstreamError]] = {}
        self.asked: list[str] = []
        self.slept: list[float] = []

    async def complete(self, call: ProviderCall) -> Any:
        raise NotImplementedError

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Any, None]:
        self.asked.append(call.target.name)
        if waiting := self.fails.get(call.target.model):
            raise waiting.pop(0)
        yield TextDelta("there")
        yield Finished(FinishReason.STOP, usage=TokenCounts(5, output_text=1))

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)


Made = tuple[Scripted, TierAsker]


@pytest.fixture
def make(bundle: Path, tmp_path: Path, document: dict[str, Any]) -> Callable[..., Made]:
    def make_one(**changes: Any) -> Made:
        document["policies"]["default"] |= changes
        path = tmp_path / "policy.json"
        path.write_text(json.dumps(document))
        clock = FakeClock()
        provider = Scripted(clock)
        asker = TierAsker(
            make_snapshot(path, bundle),
            {"simulated": provider},
            clock,
            Random(1),
            first_token_s=10,
            inter_token_s=10,
            sleep=provider.sleep,
        )
        return provider, asker

    return make_one


async def test_rules_and_limits_of_the_policy_keep_no_tier_from_being_asked(
    make: Callable[..., Made],
) -> None:
    rule = {"name": "all", "when": {"tokens": {"min": 1}}, "then": {"floor": "frontier"}}
    provider, asker = make(rules=[rule], min_tier="mid", explore=0.5)
    for tier in ("small", "mid", "frontier"):
        reply = await asker.ask(asker.plan(CHAT, TOLD, tier), Purpose.SERVE)
        assert reply.response is not None and reply.response.text == "there"
    assert [name.partition("-")[0] for name in provider.asked] == ["small", "mid", "frontier"]


async def test_a_busy_tier_is_waited_for_and_no_other_stands_in(make: Callable[..., Made]) -> None:
    provider, asker = make()
    busy = UpstreamError(FaultKind.RATE_LIMITED, http_status=429, retry_after_s=7)
    provider.fails["sim-small"] = [busy, busy]
    reply = await asker.ask(asker.plan(CHAT, TOLD, "small"), Purpose.SERVE)
    assert reply.response is not None
    assert {name.partition("-")[0] for name in provider.asked} == {"small"} and len(provider.asked) == 3
    assert len(provider.slept) == 1 and 7 <= provider.slept[0] <= 8


async def test_what_cannot_come_right_is_not_waited_for(make: Callable[..., Made]) -> None:
    provider, asker = make()
    provider.fails["sim-small"] = [UpstreamError(FaultKind.CONFIGURATION, http_status=401)] * 20
    reply = await asker.ask(asker.plan(CHAT, TOLD, "small"), Purpose.SERVE)
    assert reply.response is None and reply.cause == "configuration"
    assert provider.slept == []
    provider.fails["sim-mid"] = [UpstreamError(FaultKind.CONTENT_POLICY, http_status=400)] * 20
    reply = await asker.ask(asker.plan(CHAT, TOLD, "mid"), Purpose.SERVE)
    assert reply.response is None and reply.cause == "content_policy"
    assert provider.slept == []


async def test_an_outage_ends_and_all_that_was_billed_is_counted(make: Callable[..., Made]) -> None:
    provider, asker = make()
    usage = TokenCounts(1000, output_text=1)
    provider.fails["sim-small"] = [UpstreamError(FaultKind.SERVER_ERROR, usage=usage)] * 100
    reply = await asker.ask(asker.plan(CHAT, TOLD, "small"), Purpose.SERVE)
    assert reply.response is None and "server_error" in reply.cause
    # Each round makes the attempts of a request, with short waits of their own.
    assert ROUNDS <= len(provider.asked) <= ROUNDS * MAX_ATTEMPTS
    # 0.15 and 0.60 dollars a million tokens.
    assert reply.spent_nano == len(provider.asked) * (1000 * 150 + 600)


async def test_what_a_call_costs_at_most_and_usually(make: Callable[..., Made]) -> None:
    _, asker = make()
    plan = asker.plan(CHAT, TOLD, "frontier")
    assert plan.most_nano is not None and plan.usual_nano is not None
    # 5 tokens of input, 10 of output at most: at 5 and 20 dollars a million.
    assert plan.most_nano == 5 * 5000 + 10 * 20_000
    assert plan.usual_nano == plan.most_nano
    longer = asker.plan(replace(CHAT, max_output_tokens=4000), TOLD, "frontier")
    assert longer.usual_nano is not None and longer.most_nano == 5 * 5000 + 4000 * 20_000
    assert plan.usual_nano < longer.usual_nano < longer.most_nano
    with pytest.raises(RouteError):
        asker.plan(CHAT, [{"role": "user", "content": "word " * 60_000}], "small")


async def test_without_a_price_nothing_is_known(make: Callable[..., Made], document: dict[str, Any]) -> None:
    for deployment in document["tiers"][0]["chain"]:
        deployment["price"] = None
    _, asker = make()
    plan = asker.plan(CHAT, TOLD, "small")
    assert (plan.usual_nano, plan.most_nano) == (None, None)
    reply = await asker.ask(plan, Purpose.SERVE)
    assert reply.response is not None and reply.cost_nano is None and not reply.complete
