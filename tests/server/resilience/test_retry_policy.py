"""Each row of the failure table, restated as cases, and what holds for every situation."""

from __future__ import annotations

import dataclasses
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.retry_policy import RULES, Action, ErrorClass, Situation, Verdict, judge

ALL = set(FaultKind)
# Restated from the specification, by what each group has in common.
NEVER_ONWARD = {FaultKind.BAD_REQUEST, FaultKind.CANCELLED, FaultKind.DEADLINE}
NEVER_AGAIN = ALL - {
    FaultKind.RATE_LIMITED,
    FaultKind.SERVER_ERROR,
    FaultKind.CONNECTION,
    FaultKind.STALE_CONNECTION,
}
ERRORS = {
    FaultKind.CONTEXT_EXCEEDED: ErrorClass.INVALID_ARGUMENT,
    FaultKind.BAD_REQUEST: ErrorClass.INVALID_ARGUMENT,
    FaultKind.CONTENT_POLICY: ErrorClass.FAILED_PRECONDITION,
    FaultKind.CANCELLED: ErrorClass.CANCELLED,
    FaultKind.DEADLINE: ErrorClass.DEADLINE_EXCEEDED,
}
FULL = Situation(
    FaultKind.SERVER_ERROR, equivalent_free=True, higher_free=True, larger_window_free=True, left_s=60
)
ALONE = Situation(FaultKind.SERVER_ERROR, left_s=60)


def verdict(situation: Situation, fault: FaultKind, seed: int = 0, **changes: object) -> Verdict:
    return judge(dataclasses.replace(situation, fault=fault, **changes), Random(seed))  # type: ignore[arg-type]


def test_every_fault_has_a_row() -> None:
    assert set(RULES) == ALL


@pytest.mark.parametrize("fault", FaultKind)
def test_a_deployment_alone_after_its_retries_is_given_up_with_its_error(fault: FaultKind) -> None:
    found = verdict(ALONE, fault, attempts=3, attempts_here=3, stale_here=1)
    assert found == Verdict(Action.GIVE_UP, error=ERRORS.get(fault, ErrorClass.UNAVAILABLE))


@pytest.mark.parametrize("fault", FaultKind)
def test_where_a_fault_goes_when_it_does_not_stay(fault: FaultKind) -> None:
    """The second attempt here has failed, so nothing is tried here again."""
    onward = {FaultKind.CONTEXT_EXCEEDED: Action.LARGER_WINDOW} | dict.fromkeys(
        {*NEVER_ONWARD, FaultKind.CONTENT_POLICY}, Action.GIVE_UP
    )
    spent = dict(attempts=3, attempts_here=3, stale_here=1)
    assert verdict(FULL, fault, **spent).action is onward.get(fault, Action.NEXT)
    above = verdict(FULL, fault, equivalent_free=False, **spent).action
    assert above is onward.get(fault, Action.UP)


@pytest.mark.parametrize("fault", FaultKind)
def test_what_is_tried_again_on_the_same_deployment(fault: FaultKind) -> None:
    found = verdict(FULL, fault)
    if fault is FaultKind.STALE_CONNECTION:
        assert found == Verdict(Action.RETRY_HERE)
    elif fault in NEVER_AGAIN or fault is FaultKind.RATE_LIMITED:
        assert found.action is not Action.RETRY_HERE
    else:
        assert (found.action, found.spends_budget) == (Action.RETRY_HERE, True)
        assert verdict(FULL, fault, budget_allows=False).action is Action.NEXT
        assert verdict(FULL, fault, attempts=2, attempts_here=2).action is Action.NEXT
        delays = [verdict(FULL, fault, seed).delay_s for seed in range(400)]
        # Full jitter: over the whole span from nothing on.
        assert 0 <= min(delays) < 0.01
        assert 0.24 < max(delays) <= 0.25
        assert 0.11 < sum(delays) / 400 < 0.14


def test_a_stale_connection_has_one_free_retry_and_then_that_of_a_server_error() -> None:
    stale = FaultKind.STALE_CONNECTION
    assert verdict(ALONE, stale, budget_allows=False) == Verdict(Action.RETRY_HERE)
    second = verdict(ALONE, stale, attempts=2, attempts_here=2, stale_here=1)
    assert (second.action, second.spends_budget) == (Action.RETRY_HERE, True)
    assert verdict(ALONE, stale, attempts=2, attempts_here=2, stale_here=1, budget_allows=False).action is (
        Action.GIVE_UP
    )
    fresh = verdict(ALONE, FaultKind.CONNECTION, attempts=2, attempts_here=2, stale_here=1)
    assert (fresh.action, fresh.spends_budget) == (Action.RETRY_HERE, True)


LIMITED = FaultKind.RATE_LIMITED


@pytest.mark.parametrize(
    ("wait_s", "left_s", "waits"),
    [
        (2.0, 10.0, True),
        (2.0, 1e9, True),
        (2.0, 9.9, False),
        (2.1, 1e9, False),
        (1.0, 5.0, True),
        (1.1, 5.0, False),
        (0.0, 5.0, True),
        (None, 60.0, False),
        (-1.0, 60.0, False),
        (math.inf, 60.0, False),
    ],
)
def test_retry_after_is_waited_for_when_it_is_short_and_nothing_else_is_free(
    wait_s: float | None, left_s: float, waits: bool
) -> None:
    alone = verdict(ALONE, LIMITED, retry_after_s=wait_s, left_s=left_s)
    if waits:
        assert wait_s is not None
        assert (alone.action, alone.spends_budget) == (Action.RETRY_HERE, True)
        assert wait_s <= alone.delay_s <= 1.1 * wait_s
    else:
        assert alone == Verdict(Action.GIVE_UP, error=ErrorClass.UNAVAILABLE, retry_after_s=wait_s)
    assert verdict(FULL, LIMITED, retry_after_s=wait_s, left_s=left_s) == Verdict(Action.NEXT)
    higher = verdict(ALONE, LIMITED, retry_after_s=wait_s, left_s=left_s, higher_free=True)
    assert higher.action is (Action.RETRY_HERE if waits else Action.UP)
    again = verdict(ALONE, LIMITED, retry_after_s=wait_s, left_s=left_s, attempts=2, attempts_here=2)
    assert again.action is Action.GIVE_UP


def test_content_policy_goes_to_others_only_if_asked() -> None:
    blocked = FaultKind.CONTENT_POLICY
    assert verdict(FULL, blocked) == Verdict(Action.GIVE_UP, error=ErrorClass.FAILED_PRECONDITION)
    assert verdict(FULL, blocked, seek_other_policy=True) == Verdict(Action.NEXT)


def test_context_exceeded_goes_to_a_larger_window_only() -> None:
    exceeded = FaultKind.CONTEXT_EXCEEDED
    assert verdict(FULL, exceeded) == Verdict(Action.LARGER_WINDOW)
    found = verdict(FULL, exceeded, larger_window_free=False)
    assert found == Verdict(Action.GIVE_UP, error=ErrorClass.INVALID_ARGUMENT)


def test_what_cannot_finish_is_not_started() -> None:
    error = FaultKind.SERVER_ERROR
    assert verdict(FULL, error, left_s=1, least_attempt_s=1.1) == Verdict(
        Action.GIVE_UP, error=ErrorClass.DEADLINE_EXCEEDED
    )
    # The wait leaves too little here, going on at once does not.
    left_s = 1.0 + 1e-9
    assert verdict(FULL, error, left_s=left_s, least_attempt_s=1).action is Action.NEXT
    assert verdict(ALONE, FaultKind.OVERLOADED, left_s=0).error is ErrorClass.UNAVAILABLE


SITUATIONS = st.builds(
    Situation,
    fault=st.sampled_from(FaultKind),
    retry_after_s=st.none() | st.floats(0, 100),
    attempts=st.integers(1, 6),
    attempts_here=st.integers(1, 4),
    stale_here=st.integers(0, 2),
    equivalent_free=st.booleans(),
    higher_free=st.booleans(),
    larger_window_free=st.booleans(),
    left_s=st.floats(0, 100),
    least_attempt_s=st.floats(0, 10),
    content_streamed=st.booleans(),
    restart_allowed=st.booleans(),
    budget_allows=st.booleans(),
    seek_other_policy=st.booleans(),
)


@given(situation=SITUATIONS, seed=st.integers(0, 10))
def test_what_holds_in_every_situation(situation: Situation, seed: int) -> None:
    found = judge(situation, Random(seed))
    goes_on = found.action is not Action.GIVE_UP
    assert (found.error is None) == goes_on
    if goes_on:
        assert situation.attempts < 4
        assert situation.fault not in NEVER_ONWARD
        assert not situation.content_streamed or situation.restart_allowed
        assert situation.left_s - found.delay_s >= situation.least_attempt_s
    if found.action is Action.RETRY_HERE:
        assert situation.fault not in NEVER_AGAIN
        assert found.spends_budget or (situation.fault is FaultKind.STALE_CONNECTION and not found.delay_s)
        assert not found.spends_budget or situation.budget_allows
        assert found.delay_s <= 1.1 * min(2, 0.2 * situation.left_s) or found.delay_s <= 0.25
    else:
        assert (found.delay_s, found.spends_budget) == (0, False)
    if found.action is Action.NEXT:
        assert situation.equivalent_free
    if found.action is Action.UP:
        assert situation.higher_free and not situation.equivalent_free
    if found.action is Action.LARGER_WINDOW:
        assert situation.larger_window_free
    if found.error is not None and found.error is not ErrorClass.DEADLINE_EXCEEDED:
        assert found.error is ERRORS.get(situation.fault, ErrorClass.UNAVAILABLE)
