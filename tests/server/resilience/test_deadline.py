"""Every timer is the lesser of its limit and what the deadline leaves."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.resilience.clock import SystemClock, monotonic_ms
from turnout_server.resilience.deadline import Deadline

from tests.server.resilience.fake_clock import FakeClock

SECONDS = st.floats(0, 1e6)


@given(total=SECONDS, reserve=st.floats(0, 100), passed=SECONDS, limit=SECONDS)
def test_a_timer_ends_with_its_limit_or_the_reserve(
    total: float, reserve: float, passed: float, limit: float
) -> None:
    clock = FakeClock(0)
    deadline = Deadline.after(clock, total, reserve)
    clock.advance(passed)
    end = max(passed, total - reserve)
    timer = deadline.timer_s(limit, clock)
    assert timer == pytest.approx(min(limit, end - passed))
    assert 0 <= timer <= limit
    assert deadline.allows(limit, clock) == (deadline.left_s(clock) > 0 and timer == limit)


def test_no_deadline_leaves_each_limit_as_it_is() -> None:
    clock = FakeClock()
    assert Deadline().timer_s(10, clock) == 10
    assert Deadline().left_s(clock) == math.inf
    assert Deadline().allows(1e9, clock)


def test_nothing_is_started_when_no_time_is_left() -> None:
    clock = FakeClock()
    deadline = Deadline.after(clock, 0.05, 0.05)
    assert not deadline.allows(0, clock)
    assert deadline.timer_s(10, clock) == 0


@pytest.mark.parametrize(
    ("ends", "reserve"), [(math.nan, 0.0), (1.0, -0.1), (1.0, math.inf), (1.0, math.nan)]
)
def test_what_is_no_time_is_refused(ends: float, reserve: float) -> None:
    with pytest.raises(ValueError, match=r"ends_s is .* and reserve_s"):
        Deadline(ends, reserve)


def test_the_systems_clocks_are_the_machines() -> None:
    clock = SystemClock()
    assert time.monotonic() - 60 < clock.monotonic_s() <= time.monotonic()
    assert time.time() - 60 < clock.unix_s() <= time.time()
    assert monotonic_ms(FakeClock(1.2345)) == 1234
