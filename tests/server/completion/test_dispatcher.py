"""What holds of every request, whatever its upstream calls come to: a thousand drawn courses on a held clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from turnout_fastpath import Engine
from turnout_server.completion.asked import Asked
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import AttemptLog
from turnout_server.completion.dispatcher import Answer, Dispatcher, Run
from turnout_server.completion.failures import AnswerCutError, CompletionError
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.tokens import TokenCounts
from turnout_server.policy_file import parse_policy, resolve
from turnout_server.providers.chat import ChatRequest, Finished, FinishReason, Message, Role, TextDelta
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import ProviderCall, UpstreamError
from turnout_server.resilience.deadline import Deadline

from tests.faults import Wire
from tests.server.completion.wall import policy_of
from tests.server.resilience.fake_clock import FakeClock

# What a provider may report of itself; the dispatcher's caller makes the other two.
KINDS = [kind for kind in FaultKind if kind is not FaultKind.CANCELLED]
CHAT = ChatRequest((Message.of(Role.USER, "Where?"),))


class DrawnProvider:
    """Each call fails or answers, before or after content, as drawn, and takes some time."""

    def __init__(self, random: Random, clock: FakeClock) -> None:
        self.random = random
        self.clock = clock
        self.open = 0

    async def complete(self, call: ProviderCall) -> Any:
        raise NotImplementedError

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Any, None]:
        self.open += 1
        try:
            self.clock.advance(self.random.uniform(0, 1))
            fails = self.random.random() < 0.7
            content = not fails or self.random.random() < 0.3
            if content:
                yield TextDelta("some ")
                await asyncio.sleep(0)
            if fails:
                kind = self.random.choice(KINDS)
                wait = self.random.choice([None, 0.5, 60.0])
                raise UpstreamError(kind, content_seen=content, retry_after_s=wait)
            yield Finished(FinishReason.STOP, usage=TokenCounts(3, output_text=1))
        finally:
            self.open -= 1


class Watching:
    """A listener that knows whether what it saw is one answer."""

    def __init__(self) -> None:
        self.text = ""
        self.restarts = 0

    async def content(self, event: Any) -> None:
        self.text += getattr(event, "text", "")

    async def restarted(self, *_: object) -> None:
        self.text = ""
        self.restarts += 1


@pytest.fixture
def engine(bundle: Path) -> Engine:
    models = {"small": ["a", "b"], "frontier": ["c"]}
    document = policy_of("http://127.0.0.1:9", models, Wire.OPENAI)
    return Engine.load(bundle, resolve(parse_policy(json.dumps(document), "wall")))


def ask(engine: Engine, clock: FakeClock, fleet: Fleet, random: Random) -> Run:
    deadline = Deadline.after(clock, random.uniform(0.2, 8)) if random.random() < 0.5 else Deadline()
    decision = engine.route("Where?")
    chains = {"small": ["a", "b"], "frontier": ["c"]}
    asked = Asked(
        chat=CHAT,
        decision=decision,
        chain_of=lambda tier: chains[tier],
        deadline=deadline,
        restart_on_cut=random.random() < 0.5,
    )
    return Run(asked, fleet, AttemptLog(lambda: int(clock.now_s * 1e9)), CHAT)


@pytest.mark.parametrize("seed", range(10))
async def test_every_course_keeps_the_rules(seed: int, engine: Engine) -> None:
    random, clock = Random(seed), FakeClock()
    provider = DrawnProvider(random, clock)

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    fleet = Fleet(engine.snapshot, clock, random)
    dispatcher = Dispatcher({"openai": provider}, clock, random, sleep=sleep)
    for _ in range(100):
        run, seen = ask(engine, clock, fleet, random), Watching()
        listener = seen if random.random() < 0.5 else None
        try:
            answer = await dispatcher.answer(run, run.asked.decision.tier, Purpose.SERVE, listener)
        except CompletionError as error:
            answer = None
            assert not any(one.result is AttemptResult.SERVED for one in run.log.attempts)
            if seen.text and isinstance(error, AnswerCutError):
                assert error.given
        if isinstance(answer, Answer):
            assert answer.response.text == "some "
            assert run.log.attempts[-1].result is AttemptResult.SERVED
            # Never two answers joined.
            assert seen.text in ("", "some ")
        attempts = run.log.attempts
        assert len(attempts) <= 4
        assert all(one.result is not AttemptResult.LOST for one in attempts)
        assert not seen.restarts or run.asked.restart_on_cut
        for one in {attempt.deployment.target.name for attempt in attempts}:
            here = [attempt for attempt in attempts if attempt.deployment.target.name == one]
            stale = sum(attempt.fault is FaultKind.STALE_CONNECTION for attempt in here)
            assert len(here) <= 2 + min(stale, 1)
        assert provider.open == 0
        assert all(fleet.retries(fleet[name]).under_way == 0 for name in ("a", "b", "c"))
        clock.advance(random.choice([0.0, 0.1, 2.0, 30.0]))


async def test_a_cancel_in_a_wait_leaves_no_retry_under_way(engine: Engine) -> None:
    clock, random = FakeClock(), Random(1)

    class Limited(DrawnProvider):
        async def stream(self, call: ProviderCall) -> AsyncGenerator[Any, None]:
            raise UpstreamError(FaultKind.SERVER_ERROR)
            yield

    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    fleet = Fleet(engine.snapshot, clock, random)
    dispatcher = Dispatcher({"openai": Limited(random, clock)}, clock, random, sleep=sleep)
    run = ask(engine, clock, fleet, Random(3))
    task = asyncio.create_task(dispatcher.answer(run, "small", Purpose.SERVE, None))
    async with asyncio.timeout(5):
        await waiting.wait()
    assert fleet.retries(fleet["a"]).under_way == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fleet.retries(fleet["a"]).under_way == 0
