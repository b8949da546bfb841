"""The sixteen public faults as scenarios through the real server; each raises AssertionError where it is not met."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from turnout.v1.completion_pb2 import ON_CUT_RESTART, CompleteRequest

from tests.faults import Answer, Fault, Moment, Wire
from tests.server.completion.wall import Outcome, invoice, walled

WHOLE = Answer().text
BACKUP = "ordinary.backup"

Scenario = Callable[[Path, Path, Wire, bool], Awaitable[None]]


def is_whole(outcome: Outcome, by: str) -> None:
    """The whole answer, by this deployment, and no more than that."""
    assert outcome.whole, (outcome.code, outcome.reason, outcome.metadata)
    assert outcome.text == WHOLE
    assert outcome.response.deployment == by


def fails_over(fault: Fault, *, most_asked: int = 1, closes: bool = False) -> Scenario:
    """Another deployment serves; the faulty one is asked so often at most, and its socket closed where it waits."""

    async def scenario(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
        async with walled(folder, bundle, [fault, BACKUP], wire=wire) as wall:
            outcome = await wall.ask(stream=stream)
            is_whole(outcome, BACKUP)
            assert 1 <= wall.count(fault) <= most_asked
            assert wall.count(BACKUP) == 1
            assert len(outcome.response.attempts) == wall.count(fault) + 1
            if closes:
                [seen] = wall.upstream.ledger.of(fault)
                await wall.upstream.ledger.until(lambda: seen.at(Moment.LEFT) is not None)

    return scenario


def is_cut(fault: Fault, backup: str = BACKUP) -> Scenario:
    """A stream ends with an error and what had come, or restarts; a unary call is answered from the beginning."""

    async def scenario(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
        async with walled(folder, bundle, [fault, backup], wire=wire) as wall:
            if not stream:
                is_whole(await wall.ask(), backup)
                return
            # Where content and cut come in one read, none of it was given yet, and another deployment answers.
            early = 0
            while (outcome := await wall.ask(stream=True)).whole and early < 5:
                early += 1
                is_whole(outcome, backup)
                assert "restarted" not in outcome.events
            assert not outcome.whole
            assert outcome.code is grpc.StatusCode.UNAVAILABLE
            assert outcome.reason == "STREAM_CUT"
            assert outcome.pushback == "-1"
            assert outcome.events[-1] == "failed"
            assert outcome.text
            assert WHOLE.startswith(outcome.text)
            assert outcome.text != WHOLE
            assert outcome.failure.cost.estimated
            assert outcome.failure.tokens.output_text > 0
            assert wall.count(backup) == early
            restarted = await wall.ask(stream=True, on_cut=ON_CUT_RESTART)
            is_whole(restarted, backup)
            assert restarted.events.count("restarted") <= 1

    return scenario


async def waits_for_retry_after(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
    """Alone, the deployment is asked again after the wait; with another one nobody waits."""
    fault = Fault.RATE_LIMITED_SECONDS
    async with walled(folder, bundle, [fault, BACKUP], wire=wire) as wall:
        is_whole(await wall.ask(stream=stream), BACKUP)
        assert wall.count(fault) == 1
    async with walled(folder, bundle, [fault], wire=wire) as wall:
        # The wait is in real seconds.
        request = CompleteRequest(prompt="Where?")
        request.constraints.allowed_deployments.append(fault)
        outcome = await wall.ask(request, stream=stream, timeout_s=10.0)
        is_whole(outcome, fault)
        assert wall.count(fault) == 2
        assert outcome.seconds >= 1.0


async def retries_once(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
    """A passing server error is retried on the same deployment."""
    fault = Fault.SERVER_ERROR_ONCE
    async with walled(folder, bundle, [fault, BACKUP], wire=wire) as wall:
        outcome = await wall.ask(stream=stream)
        is_whole(outcome, fault)
        assert (wall.count(fault), wall.count(BACKUP)) == (2, 0)


async def needs_no_end_mark(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
    """A finish reason is enough."""
    async with walled(folder, bundle, [Fault.NO_END_MARK, BACKUP], wire=wire) as wall:
        is_whole(await wall.ask(stream=stream), Fault.NO_END_MARK)


async def finds_larger_window(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
    """One attempt where the window is too small, then a larger one; without one, an error that says so."""
    fault, large = Fault.CONTEXT_EXCEEDED, "ordinary.large"
    windows = {fault.value: 100_000, BACKUP: 100_000, large: 1_000_000}
    async with walled(folder, bundle, [fault, BACKUP], [large], wire=wire, windows=windows) as wall:
        is_whole(await wall.ask(stream=stream), large)
        assert (wall.count(fault), wall.count(BACKUP)) == (1, 0)
        request = CompleteRequest(prompt="Where?")
        request.constraints.max_tier = "small"
        outcome = await wall.ask(request, stream=stream)
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_EXCEEDED")
        assert (wall.count(fault), wall.count(BACKUP)) == (2, 0)


async def returns_policy_block(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
    """The block is the caller's to know, and no other vendor's business."""
    fault = Fault.CONTENT_POLICY
    async with walled(folder, bundle, [fault, BACKUP], wire=wire) as wall:
        outcome = await wall.ask(stream=stream)
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CONTENT_POLICY")
        assert wall.upstream.ledger.count() == 1


async def survives_outage(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
    """Every request is served throughout, at most 1.2 attempts each, and the deployment comes back."""
    fault = Fault.OUTAGE
    async with walled(folder, bundle, [fault, BACKUP], wire=wire) as wall:
        wall.upstream.down = Fault.UNAVAILABLE
        for _ in range(100):
            is_whole(await wall.ask(stream=stream), BACKUP)
        assert wall.upstream.ledger.count() <= 120
        wall.upstream.down = None
        until = time.monotonic() + 30.0
        while (await wall.ask(stream=stream)).response.deployment != fault:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


async def bills_every_part(folder: Path, bundle: Path, wire: Wire, stream: bool) -> None:
    """Cached, cache-write and reasoning tokens, each at its own price, to the nano-dollar."""
    fault = Fault.ACCOUNTING
    async with walled(folder, bundle, [fault], wire=wire) as wall:
        outcome = await wall.ask(stream=stream)
        assert outcome.whole
        [attempt] = outcome.response.attempts
        counts = attempt.tokens
        assert counts.output_text
        assert counts.input_cache_read
        cost: Any = outcome.response.cost
        assert cost.nano_usd == invoice("small", counts)
        assert cost.complete
        assert not cost.estimated


SCENARIOS: Mapping[Fault, Scenario] = {
    Fault.RATE_LIMITED: fails_over(Fault.RATE_LIMITED),
    Fault.RATE_LIMITED_SECONDS: waits_for_retry_after,
    Fault.SERVER_ERROR_ONCE: retries_once,
    Fault.UNAVAILABLE: fails_over(Fault.UNAVAILABLE, most_asked=2),
    Fault.RESET: fails_over(Fault.RESET, most_asked=2),
    Fault.SILENCE: fails_over(Fault.SILENCE, closes=True),
    Fault.SLOW_FIRST_TOKEN: fails_over(Fault.SLOW_FIRST_TOKEN, closes=True),
    Fault.CUT: is_cut(Fault.CUT),
    Fault.STALL: is_cut(Fault.STALL),
    Fault.MALFORMED: is_cut(Fault.MALFORMED),
    Fault.NO_END_MARK: needs_no_end_mark,
    Fault.CONTEXT_EXCEEDED: finds_larger_window,
    Fault.CONTENT_POLICY: returns_policy_block,
    Fault.PREFILL_REJECTED: is_cut(Fault.CUT, backup=Fault.PREFILL_REJECTED),
    Fault.OUTAGE: survives_outage,
    Fault.ACCOUNTING: bills_every_part,
}


def ways_of(fault: Fault) -> list[tuple[Wire, bool]]:
    """The wires that speak a fault, each unary and streaming: what the caller asks; upstream is always streamed."""
    return [(wire, stream) for wire in sorted(fault.wires) for stream in (False, True)]
