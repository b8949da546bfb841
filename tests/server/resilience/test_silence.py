"""Silence against a reference that keeps every event."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.retry_budget import Place, RetryBudget
from turnout_server.resilience.silence import LIFE_S, Pulse, is_late

from tests.server.resilience.fake_clock import FakeClock

LIMIT_S = 10.0


@dataclass
class Reference:
    """Every call with the times of its begin, first token, end and whole answer, as far as they came."""

    calls: list[dict[str, float]] = field(default_factory=list)

    def all(self, *keys: str) -> list[float]:
        return [call[key] for call in self.calls for key in keys if key in call]

    def is_silent(self, now_s: float) -> bool:
        waiting = sorted(call["begin"] for call in self.calls if not call.keys() & {"first", "end"})
        times = sorted(call["first"] - call["begin"] for call in self.calls if "first" in call)
        patience_s = LIMIT_S / 2
        if len(times) >= 20:
            patience_s = min(patience_s, max(1.0, 4 * times[math.ceil(0.95 * len(times)) - 1]))
        return len(waiting) >= 3 and now_s - max(waiting[2], *self.all("first", "whole"), 0.0) > patience_s

    def is_alive(self, now_s: float, *, whole: bool) -> bool:
        signs = self.all("whole") if whole else self.all("first", "whole")
        return bool(signs) and now_s - max(signs) < LIFE_S and not self.is_silent(now_s)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "begin", "first", "first", "end", "whole"]),
        st.integers(0, 50),
        # Quarters of a second add up exactly.
        st.integers(0, 8).map(lambda quarters: quarters / 4),
    ),
    max_size=120,
)


@given(EVENTS)
def test_a_pulse_is_its_reference(events: list[tuple[str, int, float]]) -> None:
    clock, reference, numbers = FakeClock(1000.0), Reference(), list[int]()
    pulse = Pulse(clock, LIMIT_S)
    for kind, which, wait_s in events:
        clock.advance(wait_s)
        if kind == "begin":
            reference.calls.append({"begin": clock.now_s})
            numbers.append(pulse.begin())
        elif numbers and "end" not in (call := reference.calls[which % len(numbers)]):
            number = numbers[which % len(numbers)]
            if kind in ("first", "whole"):
                call.setdefault("first", clock.now_s)
            if kind == "first":
                pulse.first_token(number)
            else:
                call["end"] = clock.now_s
                if kind == "whole":
                    call["whole"] = clock.now_s
                pulse.end(number, whole=kind == "whole")
        assert pulse.is_silent() is reference.is_silent(clock.now_s)
        for whole in (False, True):
            assert pulse.is_alive(whole=whole) is reference.is_alive(clock.now_s, whole=whole)


def test_steady_answers_are_never_a_silence_and_their_end_is_one_soon() -> None:
    clock = FakeClock()
    pulse = Pulse(clock, LIMIT_S)
    for _ in range(100):
        number = pulse.begin()
        clock.advance(0.2)
        pulse.first_token(number)
        assert not pulse.is_silent()
    for _ in range(3):
        pulse.begin()
        clock.advance(0.1)
    clock.advance(0.8)
    assert not pulse.is_silent()
    clock.advance(0.2)
    assert pulse.is_silent()


@pytest.mark.parametrize(
    ("fault", "took_s", "late"),
    [
        (FaultKind.FIRST_TOKEN_TIMEOUT, 0.1, True),
        (FaultKind.STALLED, 0.1, True),
        (FaultKind.CONNECTION, 3.0, True),
        (FaultKind.CONNECTION, 0.01, False),
        (FaultKind.SERVER_ERROR, 0.99, False),
        (FaultKind.SERVER_ERROR, 1.0, True),
        (FaultKind.CONTEXT_EXCEEDED, 5.0, False),
        (FaultKind.STALE_CONNECTION, 5.0, False),
    ],
)
def test_what_fails_late_has_others_behind_it(fault: FaultKind, took_s: float, late: bool) -> None:
    assert is_late(fault, took_s) is late


def test_a_place_is_given_back_once_and_well_spent_ones_are_free_at_once() -> None:
    budget = RetryBudget(FakeClock(), share=0.0, concurrent=1)
    for _ in range(5):
        assert budget.begin()
        assert not budget.begin()
        place = Place(budget)
        place.end(spent=False)
        place.end(spent=True)
    assert budget.begin()
    Place(budget).end()
    assert not budget.allows()
