"""Hedging: quantiles against sorted lists, and races in any order of events."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.resilience.first_token_times import SAMPLES, FirstTokenTimes
from turnout_server.resilience.hedge import (
    CONCURRENT,
    SHARE,
    HedgeRace,
    HedgeRules,
    Runner,
    Step,
)
from turnout_server.resilience.retry_budget import RetryBudget

from tests.server.resilience.fake_clock import FakeClock

ON = HedgeRules(enabled=True)


def times_of(*seconds: float) -> FirstTokenTimes:
    times = FirstTokenTimes()
    for value in seconds:
        times.add(value)
    return times


def budget() -> RetryBudget:
    return RetryBudget(FakeClock(), share=SHARE, concurrent=CONCURRENT)


@given(
    seconds=st.lists(st.floats(0, 100) | st.sampled_from([1.0, 2.0]), min_size=1, max_size=40),
    size=st.integers(1, 20),
    share=st.floats(0.01, 0.99),
)
def test_a_quantile_is_the_least_time_that_covers_the_share(
    seconds: list[float], size: int, share: float
) -> None:
    times = FirstTokenTimes(size)
    for value in seconds:
        times.add(value)
    kept = seconds[-size:]
    assert len(times) == len(kept)
    found = times.quantile(share)
    covered = [sum(other <= value for other in kept) >= share * len(kept) for value in sorted(kept)]
    assert found == sorted(kept)[covered.index(True)]


def test_off_by_default_and_until_enough_was_seen() -> None:
    assert HedgeRules().delay_s(times_of(*[1.0] * 100), math.inf) is None
    assert ON.delay_s(times_of(*[1.0] * 19), math.inf) is None
    assert ON.delay_s(times_of(*[1.0] * 20), math.inf) == 1.0
    assert ON.delay_s(times_of(*[0.5] * 95, *[9.0] * 5), math.inf) == 0.5
    assert ON.delay_s(times_of(*[0.5] * 94, *[9.0] * 6), math.inf) == 9.0
    assert ON.delay_s(times_of(*[0.001] * 20), math.inf) == 0.1


def test_a_second_call_that_could_not_finish_is_not_planned() -> None:
    times = times_of(*[1.0] * 20)
    assert ON.delay_s(times, 2.0) == 1.0
    assert ON.delay_s(times, 1.99) is None


EVENTS = st.lists(
    st.sampled_from(["timer", "timer without equivalent", "cancel"])
    | st.tuples(st.sampled_from(["token", "failure"]), st.sampled_from(Runner)),
    max_size=8,
)


@given(events=EVENTS, room=st.booleans())
def test_races_in_any_order(events: list[str | tuple[str, Runner]], room: bool) -> None:
    hedges = budget() if room else RetryBudget(FakeClock(), share=0, concurrent=0)
    race = HedgeRace(hedges)
    running, sent, over = {Runner.PRIMARY}, 1, False
    for event in events:
        if event in ("timer", "timer without equivalent"):
            step = race.on_timer(has_equivalent=event == "timer")
            expected = not over and sent == 1 and running == {Runner.PRIMARY} and event == "timer" and room
            assert step is (Step.SEND_HEDGE if expected else Step.WAIT)
            if expected:
                running.add(Runner.HEDGE)
                sent += 1
        elif event == "cancel":
            assert race.on_cancel() == running
            running, over = set(), True
        else:
            assert isinstance(event, tuple)
            what, runner = event
            step = (race.on_first_token if what == "token" else race.on_failure)(Runner(runner))
            if over or runner not in running:
                assert step is Step.WAIT
                continue
            running.discard(Runner(runner))
            if what == "token":
                assert step is (Step.SERVE_PRIMARY if runner is Runner.PRIMARY else Step.SERVE_HEDGE)
                assert race.winner is runner
                assert race.lost is (running.pop() if running else None)
                running, over = set(), True
            else:
                assert step is (Step.WAIT if running else Step.FAIL)
                over = not running
        # A hedge holds its place in the budget exactly while its race runs.
        assert hedges.under_way == (1 if sent == 2 and not over else 0)
    if race.winner is None:
        assert race.lost is None


def test_hedges_have_a_budget_of_their_own() -> None:
    hedges = budget()
    for _ in range(100):
        hedges.note_request()
    races = [HedgeRace(hedges) for _ in range(100)]
    assert sum(race.on_timer(has_equivalent=True) is Step.SEND_HEDGE for race in races) == 6


@pytest.mark.parametrize(
    ("quantile", "samples"), [(0.0, 20), (1.0, 20), (math.nan, 20), (0.5, 0), (0.5, SAMPLES + 1)]
)
def test_rules_that_make_no_sense_are_refused(quantile: float, samples: int) -> None:
    with pytest.raises(ValueError, match="quantile is"):
        HedgeRules(quantile=quantile, least_samples=samples)
