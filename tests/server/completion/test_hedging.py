"""Hedged calls: in virtual time with upstreams as slow as they are told, in drawn courses, and over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from turnout.v1 import completion_pb2 as contract
from turnout_fastpath import Engine
from turnout_server.completion.asked import Asked
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import AttemptLog
from turnout_server.completion.dispatcher import Answer, Dispatcher, Run
from turnout_server.completion.failures import CompletionError
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.tokens import TokenCounts
from turnout_server.policy_file import parse_policy, resolve
from turnout_server.providers.chat import (
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    Role,
    TextDelta,
)
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import ProviderCall, UpstreamError
from turnout_server.resilience.breaker import Health

from tests.faults import Fault, Moment, Wire
from tests.server.completion.test_dispatcher import Watching
from tests.server.completion.traffic import State, run_traffic
from tests.server.completion.virtual_time import run_held
from tests.server.completion.wall import policy_of, walled
from tests.server.completion.wall_scenarios import BACKUP, is_whole
from tests.server.resilience.fake_clock import FakeClock

CHAT = ChatRequest((Message.of(Role.USER, "Where?"),))
TIERS = {"small": ["a", "b"], "frontier": ["c"]}
FIXED = {"hedging": {"enabled": True, "delay_s": 1.0, "share": 0.2}}

Course = tuple[float, FaultKind | None, float]
"""Seconds to the first token; how the call ends, None for well; seconds from the first token, or begin, to that."""


class Paced:
    """Each deployment's calls take the course that they are told."""

    def __init__(self, clock: FakeClock, course: Callable[[str], Course]) -> None:
        self.clock = clock
        self.course = course
        self.open: list[str] = []
        self.closed: dict[str, float] = {}

    async def complete(self, call: ProviderCall) -> Any:
        raise NotImplementedError

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Any, None]:
        name = call.target.name
        first_s, fault, then_s = self.course(name)
        self.open.append(name)
        try:
            if fault is not None and first_s < 0:
                await asyncio.sleep(then_s)
                raise UpstreamError(fault)
            await asyncio.sleep(first_s)
            yield TextDelta(f"{name} ")
            await asyncio.sleep(then_s)
            if fault is not None:
                raise UpstreamError(fault, content_seen=True)
            yield TextDelta("whole")
            yield Finished(FinishReason.STOP, usage=TokenCounts(3, output_text=2))
        finally:
            self.open.remove(name)
            self.closed[name] = self.clock.now_s


class World:
    """One dispatcher on a held clock."""

    def __init__(self, bundle: Path, course: Callable[[str], Course], sections: Mapping[str, Any]) -> None:
        self.clock = FakeClock()
        self.random = Random(5)
        document = policy_of("http://127.0.0.1:9", TIERS, Wire.OPENAI, policy=sections)
        self.engine = Engine.load(bundle, resolve(parse_policy(json.dumps(document), "hedged")))
        self.fleet = Fleet(self.engine.snapshot, self.clock, self.random)
        self.provider = Paced(self.clock, course)
        self.dispatcher = Dispatcher({"openai": self.provider}, self.clock, self.random)

    def start(self, *, restart_on_cut: bool = False) -> Run:
        at_s = self.clock.now_s
        asked = Asked(
            chat=CHAT,
            decision=self.engine.route("Where?"),
            chain_of=lambda tier: TIERS[tier],
            restart_on_cut=restart_on_cut,
        )
        return Run(asked, self.fleet, AttemptLog(lambda: int((self.clock.now_s - at_s) * 1e9)), CHAT)

    async def ask(self, run: Run, listener: Any = None) -> Answer:
        return await self.dispatcher.answer(run, "small", Purpose.SERVE, listener)

    def assert_at_rest(self) -> None:
        assert self.provider.open == []
        assert self.fleet.further("small").under_way == 0
        assert self.fleet.hedging("default")[1].under_way == 0
        for name in "abc":
            assert self.fleet.retries(self.fleet[name]).under_way == 0
            assert not self.fleet.pulse(name).is_silent()


def made(run: Run) -> list[tuple[str, Purpose, AttemptResult]]:
    return [(one.deployment.target.name, one.purpose, one.result) for one in run.log.attempts]


def by_name(**courses: Course) -> Callable[[str], Course]:
    return lambda name: courses[name]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_hedge_serves_where_its_first_token_comes_first(bundle: Path, streamed: bool) -> None:
    world = World(bundle, by_name(a=(8.0, None, 1.0), b=(0.5, None, 1.0)), FIXED)
    run, seen = world.start(), Watching()
    began_s = world.clock.now_s
    answer = run_held(world.clock, world.ask(run, seen if streamed else None))
    assert answer.response.text == "b whole"
    assert seen.text == ("b whole" if streamed else "")
    assert made(run) == [
        ("a", Purpose.SERVE, AttemptResult.CANCELLED),
        ("b", Purpose.HEDGE, AttemptResult.SERVED),
    ]
    # Aborted at the other's first token, and billed as an estimate.
    assert world.provider.closed["a"] == began_s + 1.5
    lost = run.log.attempts[0]
    assert lost.outrun
    assert lost.estimated
    assert lost.tokens.input_total > 0
    assert lost.cost.cost_nano
    world.assert_at_rest()


def test_the_first_call_serves_where_its_own_comes_first(bundle: Path) -> None:
    world = World(bundle, by_name(a=(1.2, None, 1.0), b=(9.0, None, 1.0)), FIXED)
    run, seen = world.start(), Watching()
    assert run_held(world.clock, world.ask(run, seen)).response.text == "a whole" == seen.text
    assert made(run) == [
        ("a", Purpose.SERVE, AttemptResult.SERVED),
        ("b", Purpose.HEDGE, AttemptResult.CANCELLED),
    ]
    world.assert_at_rest()


@pytest.mark.parametrize(
    ("courses", "sections"),
    [
        pytest.param({"a": (0.9, None, 5.0)}, FIXED, id="first-token-in-time"),
        pytest.param({"a": (8.0, None, 1.0)}, {}, id="off"),
        pytest.param({"a": (8.0, None, 1.0)}, {"hedging": {"enabled": True}}, id="too-few-samples"),
    ],
)
def test_what_is_not_hedged(bundle: Path, courses: dict[str, Course], sections: dict[str, Any]) -> None:
    world = World(bundle, by_name(**courses), sections)
    run = world.start()
    run_held(world.clock, world.ask(run))
    assert made(run) == [("a", Purpose.SERVE, AttemptResult.SERVED)]


def test_the_delay_is_what_most_calls_took(bundle: Path) -> None:
    slow = iter([*[0.5] * 20, 9.0])
    world = World(
        bundle,
        lambda name: (next(slow) if name == "a" else 0.1, None, 0.1),
        {"hedging": {"enabled": True, "share": 0.2}},
    )

    async def ask_all() -> list[Run]:
        runs = [world.start() for _ in range(21)]
        for run in runs:
            await world.ask(run)
        return runs

    *usual, last = run_held(world.clock, ask_all())
    assert all(len(run.log.attempts) == 1 for run in usual)
    assert made(last)[1][1:] == (Purpose.HEDGE, AttemptResult.SERVED)
    hedge = last.log.attempts[1]
    assert hedge.started_ns - last.log.attempts[0].started_ns == pytest.approx(0.5e9, rel=1e-6)


def test_a_failure_leaves_the_other_call_alone(bundle: Path) -> None:
    world = World(bundle, by_name(a=(-1, FaultKind.SERVER_ERROR, 2.0), b=(4.0, None, 1.0)), FIXED)
    run = world.start()
    assert run_held(world.clock, world.ask(run)).response.text == "b whole"
    assert made(run) == [
        ("a", Purpose.SERVE, AttemptResult.FAILED),
        ("b", Purpose.HEDGE, AttemptResult.SERVED),
    ]
    world.assert_at_rest()


def test_two_failures_go_on_as_one(bundle: Path) -> None:
    silent = (-1.0, FaultKind.FIRST_TOKEN_TIMEOUT, 10.0)
    world = World(bundle, by_name(a=silent, b=silent, c=(0.1, None, 0.1)), FIXED)
    run = world.start()
    assert run_held(world.clock, world.ask(run)).response.text == "c whole"
    assert [result for _, _, result in made(run)] == [
        AttemptResult.FAILED,
        AttemptResult.FAILED,
        AttemptResult.SERVED,
    ]
    world.assert_at_rest()


def test_hedges_stay_within_their_budget(bundle: Path) -> None:
    course = run_traffic(
        bundle,
        {"small": ["a", "b"], "frontier": ["c"]},
        lambda *_: State.ANSWERS,
        seconds=20,
        rate=50,
        max_tier="small",
        first_token_s=2.0,
        answer_s=2.5,
        sections={"hedging": {"enabled": True, "delay_s": 0.5, "share": 0.05}},
    )
    hedges = sum(name == "b" for _, name in course.calls)
    assert all(served for _, served in course.served)
    # A window holds 5% of ten seconds' requests, and one hedge more.
    assert 20 <= hedges <= 0.05 * 1000 + 1 + 2


@pytest.mark.parametrize("seed", range(6))
def test_every_course_keeps_the_rules(seed: int, bundle: Path) -> None:
    """Drawn times, faults and cancels: one answer, nothing left open, every attempt accounted."""
    random = Random(seed)
    kinds = [FaultKind.SERVER_ERROR, FaultKind.CUT, FaultKind.FIRST_TOKEN_TIMEOUT, FaultKind.OVERLOADED]

    def draw(_: str) -> Course:
        fault = random.choice([None, None, *kinds])
        early = fault is not None and random.random() < 0.5
        return (-1.0 if early else random.choice([0.2, 1.0, 2.0])), fault, random.choice([0.1, 1.0, 2.0])

    world = World(bundle, draw, FIXED)
    cancelled = hedged = 0

    async def one() -> None:
        nonlocal cancelled, hedged
        run, seen = world.start(restart_on_cut=random.random() < 0.5), Watching()
        listener = seen if random.random() < 0.5 else None
        task = asyncio.ensure_future(world.ask(run, listener))
        if random.random() < 0.3:
            await asyncio.sleep(random.choice([0.0, 0.5, 1.0, 1.2, 2.0, 3.0]))
            task.cancel()
        answer: Answer | None = None
        with suppress(CompletionError, asyncio.CancelledError):
            answer = await task
        cancelled += task.cancelled()
        world.assert_at_rest()
        served = [one for one in run.log.attempts if one.result is AttemptResult.SERVED]
        assert len(run.log.attempts) <= 4
        assert all(one.result is not AttemptResult.LOST for one in run.log.attempts)
        if answer is not None:
            assert served == [answer.attempt]
            assert not answer.attempt.outrun
            if listener is not None:
                assert seen.text == answer.response.text
        elif not task.cancelled():
            assert served == []
        hedged += any(one.purpose is Purpose.HEDGE for one in run.log.attempts)
        # Each request for itself: breakers forget between them.
        for name in "abc":
            world.fleet.breakers.reset(name)
            assert world.fleet.breakers.health(name) is Health.CLOSED
        await asyncio.sleep(30)

    async def many() -> None:
        for _ in range(60):
            await one()

    run_held(world.clock, many())
    assert cancelled >= 3
    assert hedged >= 3


def test_a_cancel_before_the_hedge_has_begun_gives_its_leave_back(bundle: Path) -> None:
    """Cancelled at the very moment at which the second call is due."""
    world = World(bundle, by_name(a=(8.0, None, 1.0), b=(8.0, None, 1.0)), FIXED)

    async def course() -> None:
        for delay_s in (0.999, 1.0, 1.001):
            task = asyncio.ensure_future(world.ask(world.start()))
            await asyncio.sleep(delay_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            world.assert_at_rest()

    run_held(world.clock, course())


def test_nobody_is_hedged_to_who_is_not_well(bundle: Path) -> None:
    """With its only equivalent open, a slow call waits alone, and its failure moves on."""
    world = World(bundle, by_name(a=(3.0, None, 0.1), b=(0.1, None, 0.1)), FIXED)
    for _ in range(5):
        permit = world.fleet.breakers.admit("b")
        assert permit is not None
        world.fleet.breakers.fail(permit, FaultKind.SERVER_ERROR)
    assert world.fleet.breakers.health("b") is Health.OPEN
    run = world.start()
    run_held(world.clock, world.ask(run))
    # Its first call is a probe of `b`, should that be due; never a hedge.
    assert Purpose.HEDGE not in [purpose for _, purpose, _ in made(run)]


@pytest.mark.parametrize("strategy", ["single", "cascade"])
@pytest.mark.parametrize("stream", [False, True])
async def test_hedged_over_sockets(
    strategy: str, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    """The slow upstream's socket is closed, both attempts are on the bill, and metrics tell them apart."""
    hedging = {"hedging": {"enabled": True, "delay_s": 0.05, "share": 0.2}}
    async with walled(
        tmp_path,
        bundle,
        [Fault.SLOW_FIRST_TOKEN, BACKUP],
        strategy=strategy,
        policy=hedging,
        first_token_s=10.0,
    ) as wall:
        outcome = await wall.ask(stream=stream)
        is_whole(outcome, BACKUP)
        slow, hedge = outcome.response.attempts
        assert (slow.deployment, slow.purpose, slow.result) == (
            Fault.SLOW_FIRST_TOKEN,
            contract.ATTEMPT_PURPOSE_SERVE,
            contract.ATTEMPT_RESULT_CANCELLED,
        )
        assert (hedge.deployment, hedge.purpose, hedge.result) == (
            BACKUP,
            contract.ATTEMPT_PURPOSE_HEDGE,
            contract.ATTEMPT_RESULT_SERVED,
        )
        assert slow.cost.nano_usd > 0
        assert outcome.response.cost.nano_usd == slow.cost.nano_usd + hedge.cost.nano_usd
        [seen] = wall.upstream.ledger.of(Fault.SLOW_FIRST_TOKEN)
        await wall.upstream.ledger.until(partial(seen.at, Moment.LEFT))
        counted = {
            labels[:3]: values[0]
            for name, labels, values in wall.service.sums().values
            if name == "turnout_attempts"
        }
        assert counted[BACKUP, "hedge", "served"] == 1
        assert counted[Fault.SLOW_FIRST_TOKEN, "serve", "cancelled"] == 1
        completions = [
            labels for name, labels, _ in wall.service.sums().values if name == "turnout_completions"
        ]
        assert [labels[3] for labels in completions] == ["served"]


async def test_a_caller_who_leaves_ends_both(tmp_path: Path, bundle: Path, log: object) -> None:
    hedging = {"hedging": {"enabled": True, "delay_s": 0.05, "share": 0.2}}
    async with walled(
        tmp_path, bundle, [Fault.SILENCE, "silence.2"], policy=hedging, first_token_s=30.0
    ) as wall:
        call = wall.stub.Complete(contract.CompleteRequest(prompt="Where?"))
        ledger = wall.upstream.ledger
        await ledger.until(lambda: ledger.in_flight == 2)
        call.cancel()
        await ledger.until(lambda: ledger.in_flight == 0)
        async with asyncio.timeout(5):
            while wall.service.port.completions.in_flight:
                await asyncio.sleep(0.005)
        assert wall.service.completer._fleet.hedging("default")[1].under_way == 0
        completions = [
            labels for name, labels, _ in wall.service.sums().values if name == "turnout_completions"
        ]
        assert [labels[3] for labels in completions] == ["cancelled"]
