"""The real dispatcher under load in virtual time: requests at a rate, workers that share a state block, upstreams that fail."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from turnout_fastpath import Engine
from turnout_server.completion.asked import Asked
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import AttemptLog
from turnout_server.completion.dispatcher import Dispatcher, Run
from turnout_server.completion.failures import CompletionError
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.tokens import TokenCounts
from turnout_server.policy_file import parse_policy, resolve
from turnout_server.providers.call_timer import CallTimer
from turnout_server.providers.chat import ChatRequest, Finished, FinishReason, Message, Role, TextDelta
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import ProviderCall, UpstreamError
from turnout_server.resilience.deadline import Deadline

from tests.faults import Wire
from tests.server.completion.virtual_time import run_held
from tests.server.completion.wall import policy_of
from tests.server.resilience.fake_clock import FakeClock

CHAT = ChatRequest((Message.of(Role.USER, "Where?"),))
NEVER_S = 1e9


class State(StrEnum):
    """What a deployment does with a call."""

    ANSWERS = "answers"
    ERRS = "errs"
    """A server error at once."""
    SILENT = "silent"
    """Nothing, until the first-token limit."""
    UNREACHABLE = "unreachable"
    """No connection within three seconds."""
    STALLS = "stalls"
    """Content, then nothing, until the limit between tokens."""


States = Callable[[str, float], State]
"""Deployment and seconds since the beginning to what it does."""


@dataclass
class Upstream:
    """Deployments that do as they are told, and a count of the calls that they saw."""

    clock: FakeClock
    states: States
    first_token_s: float = 0.2
    answer_s: float = 0.5
    calls: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began_s = self.clock.now_s

    async def complete(self, call: ProviderCall) -> Any:
        raise NotImplementedError

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Any, None]:
        now_s = self.clock.now_s - self.began_s
        self.calls.append((now_s, call.target.name))
        state = self.states(call.target.name, now_s)
        timer = CallTimer(call.limits, self.clock.monotonic_s, stream=True)
        if state is State.ERRS:
            raise UpstreamError(FaultKind.SERVER_ERROR)
        if state is State.UNREACHABLE:
            await asyncio.sleep(3.0)
            raise UpstreamError(FaultKind.CONNECTION)
        if state is State.SILENT:
            await self._wait(timer, NEVER_S)
        await self._wait(timer, self.first_token_s)
        timer.content()
        yield TextDelta("so")
        if state is State.STALLS:
            await self._wait(timer, NEVER_S, content_seen=True)
        await self._wait(timer, self.answer_s - self.first_token_s, content_seen=True)
        yield Finished(FinishReason.STOP, usage=TokenCounts(3, output_text=1))

    async def _wait(self, timer: CallTimer, seconds: float, *, content_seen: bool = False) -> None:
        try:
            async with timer.waiting():
                await asyncio.sleep(seconds)
        except TimeoutError:
            raise UpstreamError(timer.expired(), content_seen=content_seen) from None


@dataclass
class Course:
    """What came of a stretch of traffic.

    Attributes:
        served: by second of arrival since the beginning, whether each request was answered.
        took_s: how long each took, in the order in which they ended.
        calls: when upstream saw which deployment called.
    """

    served: list[tuple[float, bool]]
    took_s: list[float]
    calls: list[tuple[float, str]]

    @property
    def ratio(self) -> float:
        """Upstream attempts a request."""
        return len(self.calls) / len(self.served)

    def worst_ratio(self, from_s: float) -> float:
        """The greatest ratio of attempts to requests up to any second from this one on."""
        seconds = int(max(at_s for at_s, _ in self.calls)) + 1
        came = Counter(int(at_s) for at_s, _ in self.served)
        sent = Counter(int(at_s) for at_s, _ in self.calls)
        ratios, requests, calls = [], 0, 0
        for second in range(seconds):
            requests, calls = requests + came[second], calls + sent[second]
            if second >= from_s:
                ratios.append(calls / requests)
        return max(ratios)


def run_traffic(
    bundle: Path,
    tiers: Mapping[str, Sequence[str]],
    states: States,
    *,
    seconds: float,
    rate: float = 100,
    workers: int = 1,
    deadline_s: float | None = None,
    max_tier: str = "",
    limits: Mapping[str, float] | None = None,
    first_token_s: float = 0.2,
    answer_s: float = 0.5,
    sections: Mapping[str, Any] | None = None,
) -> Course:
    """Requests come evenly, in turn to each worker, and are waited for.

    Args:
        bundle: of the engine.
        tiers: deployments by tier.
        states: what they do.
        seconds: for which requests come.
        rate: requests a second, of all workers.
        workers: how many share the state block.
        deadline_s: of each request; None: none.
        max_tier: the callers' greatest tier.
        limits: first-token limits by deployment, in seconds.
        first_token_s: that an answer takes to its first token.
        answer_s: that it takes to its end.
        sections: more of the policy's.
    """
    clock, random = FakeClock(), Random(7)
    document: dict[str, Any] = policy_of("http://127.0.0.1:9", tiers, Wire.OPENAI, policy=sections)
    for tier in document["tiers"]:
        for entry in tier["chain"]:
            # Accounts of their own: each deployment fails for itself.
            entry["endpoint"] = f"http://127.0.0.1:9/{entry['name']}"
            entry["first_token_s"] = (limits or {}).get(entry["name"])
    engine = Engine.load(bundle, resolve(parse_policy(json.dumps(document), "traffic")))
    upstream = Upstream(clock, states, first_token_s, answer_s)
    fleets = [Fleet(engine.snapshot, clock, random) for _ in range(workers)]
    dispatcher = Dispatcher({"openai": upstream}, clock, random)
    served: list[tuple[float, bool]] = []
    took_s: list[float] = []
    began_s = clock.now_s

    async def ask(fleet: Fleet) -> None:
        at_s = clock.now_s
        deadline = Deadline() if deadline_s is None else Deadline.after(clock, deadline_s)
        decision = engine.route("Where?", max_tier=max_tier) if max_tier else engine.route("Where?")
        asked = Asked(
            chat=CHAT,
            decision=decision,
            chain_of=lambda tier: tiers[tier],
            deadline=deadline,
            max_tier=max_tier,
        )
        run = Run(asked, fleet, AttemptLog(lambda: int((clock.now_s - at_s) * 1e9)), CHAT)
        try:
            await dispatcher.answer(run, decision.tier, Purpose.SERVE, None)
            good = True
        except CompletionError:
            good = False
        served.append((at_s - began_s, good))
        took_s.append(clock.now_s - at_s)

    async def come() -> None:
        async with asyncio.TaskGroup() as group:
            for i in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, began_s + i / rate - clock.now_s))
                group.create_task(ask(fleets[i % workers]))

    run_held(clock, come())
    return Course(served, took_s, upstream.calls)
