"""Calls that answer nobody, on a held clock: their time, their place, and that they touch nothing of the request."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from turnout_fastpath import Engine
from turnout_server.completion.answer_rules import LaneLimits
from turnout_server.completion.aside import AsideCaller, NoAnswer
from turnout_server.completion.asked import Asked
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.dispatcher import Answer, Dispatcher, Run
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.tokens import TokenCounts
from turnout_server.policy_file import parse_policy, resolve
from turnout_server.providers.chat import ChatRequest, Finished, FinishReason, Message, Role, TextDelta
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import ProviderCall, UpstreamError
from turnout_server.resilience.breaker import Health
from turnout_server.resilience.deadline import Deadline
from turnout_server.resilience.spend_budget import Spending

from tests.faults import Wire
from tests.server.completion.wall import policy_of
from tests.server.resilience.fake_clock import FakeClock

CHAT = ChatRequest((Message.of(Role.USER, "Where?"),))
LIMITS = LaneLimits(timeout_s=20.0, concurrency=1, queue=0)


class Noting:
    """Answers, and notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[ProviderCall] = []
        self.fault: FaultKind | None = None

    async def complete(self, call: ProviderCall) -> Any:
        raise NotImplementedError

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Any, None]:
        self.calls.append(call)
        if self.fault is not None:
            raise UpstreamError(self.fault)
        yield TextDelta("5")
        yield Finished(FinishReason.STOP, usage=TokenCounts(3, output_text=1))


class Desk:
    """A caller of asides about one request."""

    def __init__(self, bundle: Path) -> None:
        models = {"small": ["a"], "frontier": ["b", "c"]}
        document = policy_of("http://127.0.0.1:9", models, Wire.OPENAI, windows={"c": 100})
        engine = Engine.load(bundle, resolve(parse_policy(json.dumps(document), "desk")))
        self.clock, self.provider = FakeClock(), Noting()
        self.fleet = Fleet(engine.snapshot, self.clock, Random(1))
        dispatcher = Dispatcher({"openai": self.provider}, self.clock, Random(1))
        spending = Spending(engine.snapshot.state, {}, self.clock)
        self.caller = AsideCaller(dispatcher, spending, self.clock)
        asked = Asked(chat=CHAT, decision=engine.route("Where?"), chain_of=lambda _: [])
        self.run = Run(asked, self.fleet, AttemptLog(lambda: int(self.clock.now_s * 1e9)), CHAT)
        self.made: list[Attempt] = []

    async def ask(
        self, *names: str, deadline: Deadline | None = None, output_tokens: int = 16
    ) -> Answer | NoAnswer:
        return await self.caller.ask(
            self.run,
            names,
            CHAT,
            Purpose.JUDGE,
            LIMITS,
            self.made,
            deadline=deadline,
            output_tokens=output_tokens,
        )


@pytest.fixture
def desk(bundle: Path) -> Desk:
    return Desk(bundle)


async def test_the_call_has_its_own_time_and_leaves_the_request_alone(desk: Desk) -> None:
    desk.run.asked = replace(desk.run.asked, deadline=Deadline.after(desk.clock, 1.0))
    found = await desk.ask("b")
    assert isinstance(found, Answer)
    # Nobody waits, so the caller's deadline is none of its own.
    assert desk.provider.calls[0].limits.deadline == desk.clock.now_s + 20.0
    assert desk.run.log.attempts == []
    [attempt] = desk.made
    assert (attempt.purpose, attempt.result) == (Purpose.JUDGE, AttemptResult.SERVED)


@pytest.mark.parametrize(("left_s", "ends_s"), [(3.0, 3.0), (100.0, 20.0)])
async def test_who_waits_bounds_the_call(left_s: float, ends_s: float, desk: Desk) -> None:
    deadline = Deadline(desk.clock.now_s + left_s, reserve_s=0.0)
    assert isinstance(await desk.ask("b", deadline=deadline), Answer)
    assert desk.provider.calls[0].limits.deadline == desk.clock.now_s + ends_s


async def test_without_time_nobody_is_called(desk: Desk) -> None:
    deadline = Deadline(desk.clock.now_s + 0.01, reserve_s=0.0)
    assert await desk.ask("b", deadline=deadline) is NoAnswer.NO_TIME
    assert (desk.provider.calls, desk.made) == ([], [])


async def test_a_window_that_is_too_small_is_passed_over(desk: Desk) -> None:
    found = await desk.ask("c", "b", output_tokens=500)
    assert isinstance(found, Answer)
    assert found.attempt.deployment.target.name == "b"
    assert await desk.ask("c", output_tokens=500) is NoAnswer.TOO_LONG


async def test_a_closed_deployment_is_passed_over_and_never_probed(desk: Desk) -> None:
    desk.provider.fault = FaultKind.CONFIGURATION
    assert await desk.ask("b") is NoAnswer.UPSTREAM
    assert desk.fleet.breakers.health("b") is Health.OPEN
    desk.provider.fault = None
    found = await desk.ask("b", "c")
    assert isinstance(found, Answer)
    assert found.attempt.deployment.target.name == "c"
    desk.clock.advance(3600)
    assert desk.fleet.breakers.health("b") is Health.HALF_OPEN
    assert await desk.ask("b") is NoAnswer.NO_DEPLOYMENT
    assert len(desk.provider.calls) == 2


async def test_its_own_deadline_is_no_evidence(desk: Desk) -> None:
    desk.provider.fault = FaultKind.DEADLINE
    for _ in range(50):
        assert await desk.ask("b") is NoAnswer.UPSTREAM
    assert desk.fleet.breakers.health("b") is Health.CLOSED
    assert len(desk.made) == 50


async def test_one_call_is_made_and_none_is_tried_again(desk: Desk) -> None:
    desk.provider.fault = FaultKind.SERVER_ERROR
    assert await desk.ask("b", "c") is NoAnswer.UPSTREAM
    assert len(desk.provider.calls) == 1
