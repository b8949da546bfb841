"""One key, one request: those that wait, those that come later, and a first one whose caller goes away."""

from __future__ import annotations

import asyncio

import pytest
from turnout_server.completion.idempotency import KEEP_S, Idempotency, IdempotencyConflictError

from tests.server.resilience.fake_clock import FakeClock

KEY = ("acme", "k")


class Asking:
    """A request that is answered when the test says so."""

    def __init__(self, keyed: Idempotency[str]) -> None:
        self.keyed = keyed
        self.calls = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def answer(self) -> str:
        self.calls += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return f"answer {self.calls}"

    def begin(self, content: bytes = b"a") -> asyncio.Task[tuple[str, bool]]:
        return asyncio.create_task(self.keyed.run(KEY, content, self.answer))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def asking(clock: FakeClock) -> Asking:
    return Asking(Idempotency(clock, len))


async def test_those_that_wait_get_the_first_ones_answer(asking: Asking) -> None:
    first, second = asking.begin(), asking.begin()
    await asyncio.sleep(0)
    asking.go.set()
    assert await first == ("answer 1", False)
    assert await second == ("answer 1", True)
    assert await asking.begin() == ("answer 1", True)
    with pytest.raises(IdempotencyConflictError):
        await asking.begin(b"b")


async def test_an_answer_is_kept_for_ten_minutes(asking: Asking, clock: FakeClock) -> None:
    asking.go.set()
    await asking.begin()
    clock.advance(KEEP_S + 1)
    assert await asking.begin() == ("answer 2", False)


async def test_an_error_is_told_to_those_that_wait_and_forgotten(asking: Asking) -> None:
    asking.error = ValueError("no")
    first, second = asking.begin(), asking.begin()
    await asyncio.sleep(0)
    asking.go.set()
    for task in (first, second):
        with pytest.raises(ValueError, match="no"):
            await task
    asking.error = None
    assert await asking.begin() == ("answer 2", False)


async def test_when_the_first_caller_goes_away_the_next_takes_its_place(asking: Asking) -> None:
    first, second = asking.begin(), asking.begin()
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    asking.go.set()
    assert await second == ("answer 2", False)


async def test_who_waits_can_go_away_alone(asking: Asking) -> None:
    first, second = asking.begin(), asking.begin()
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    asking.go.set()
    assert await first == ("answer 1", False)
