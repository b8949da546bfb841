"""What follows a failed attempt: again here, the next deployment, a higher tier, or an error. Pure.

The rule of each fault is a row of `RULES`. Whatever the row says, at most four upstream attempts serve a request, no
attempt starts that cannot finish, and once content has reached the caller only an opted-in restart goes on: two answers
are never spliced. A wait for Retry-After is taken when no equivalent deployment is free and the wait is at most 2 s
and 20% of the time that is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from turnout_server.providers.faults import FaultKind

MAX_ATTEMPTS = 4
LONGEST_WAIT_S = 2.0
WAIT_SHARE = 0.2
# Of a wait for Retry-After, added to it: never earlier than told, and not all at once.
WAIT_JITTER = 0.1
BACKOFF_S = 0.25


class Pause(StrEnum):
    """What a retry on the same deployment waits for."""

    NO_RETRY = "no_retry"
    RETRY_AFTER = "retry_after"
    BACKOFF = "backoff"
    """Full jitter: anywhere from nothing to BACKOFF_S."""
    FRESH_CONNECTION = "fresh_connection"
    """Nothing, and outside the retry budget; the second time as BACKOFF."""


class Onward(StrEnum):
    """Where else a request may go."""

    NOWHERE = "nowhere"
    EQUIVALENT = "equivalent"
    """Another deployment of the tier, else a higher tier."""
    LARGER_WINDOW = "larger_window"
    """A deployment with a larger context window, in the tier or above."""
    IF_ASKED = "if_asked"
    """As EQUIVALENT where the policy asks for it, else nowhere."""


class ErrorClass(StrEnum):
    """The class of the error when nothing else is tried; names of gRPC's codes."""

    UNAVAILABLE = "unavailable"
    INVALID_ARGUMENT = "invalid_argument"
    FAILED_PRECONDITION = "failed_precondition"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline_exceeded"


class Action(StrEnum):
    """What to do now."""

    RETRY_HERE = "retry_here"
    NEXT = "next"
    LARGER_WINDOW = "larger_window"
    UP = "up"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: at most one retry on the same deployment, then onward, then the error."""

    pause: Pause
    onward: Onward
    error: ErrorClass


RULES: dict[FaultKind, Rule] = {
    FaultKind.RATE_LIMITED: Rule(Pause.RETRY_AFTER, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.QUOTA_EXHAUSTED: Rule(Pause.NO_RETRY, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.OVERLOADED: Rule(Pause.NO_RETRY, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.SERVER_ERROR: Rule(Pause.BACKOFF, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.CONNECTION: Rule(Pause.BACKOFF, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.STALE_CONNECTION: Rule(Pause.FRESH_CONNECTION, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.FIRST_TOKEN_TIMEOUT: Rule(Pause.NO_RETRY, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.STALLED: Rule(Pause.NO_RETRY, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.CUT: Rule(Pause.NO_RETRY, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.MALFORMED: Rule(Pause.NO_RETRY, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.CONTEXT_EXCEEDED: Rule(Pause.NO_RETRY, Onward.LARGER_WINDOW, ErrorClass.INVALID_ARGUMENT),
    FaultKind.CONTENT_POLICY: Rule(Pause.NO_RETRY, Onward.IF_ASKED, ErrorClass.FAILED_PRECONDITION),
    FaultKind.BAD_REQUEST: Rule(Pause.NO_RETRY, Onward.NOWHERE, ErrorClass.INVALID_ARGUMENT),
    FaultKind.CONFIGURATION: Rule(Pause.NO_RETRY, Onward.EQUIVALENT, ErrorClass.UNAVAILABLE),
    FaultKind.CANCELLED: Rule(Pause.NO_RETRY, Onward.NOWHERE, ErrorClass.CANCELLED),
    FaultKind.DEADLINE: Rule(Pause.NO_RETRY, Onward.NOWHERE, ErrorClass.DEADLINE_EXCEEDED),
}


@dataclass(frozen=True, slots=True)
class Situation:
    """A failed attempt and what there is to go on with.

    Attributes:
        fault: why it failed.
        retry_after_s: seconds that the provider asked to wait; None if it did not say.
        attempts: upstream attempts that served this request so far, this one too.
        attempts_here: those on this deployment.
        stale_here: those on this deployment, before this one, that a stale connection ended.
        equivalent_free: another deployment of the tier, not yet tried, may be called.
        higher_free: a deployment of a higher tier may be called, and the request's constraints permit it.
        larger_window_free: one with a larger context window may be called, in the tier or above.
        left_s: seconds until the deadline, without its reserve.
        least_attempt_s: seconds that an attempt needs at least to be worth its start.
        content_streamed: the caller has seen content of the failed answer.
        restart_allowed: the caller takes a `restart` and a whole new answer.
        budget_allows: the account's retry budget has room for a retry here.
        seek_other_policy: the operator wants a blocked request shown to other providers.
    """

    fault: FaultKind
    retry_after_s: float | None = None
    attempts: int = 1
    attempts_here: int = 1
    stale_here: int = 0
    equivalent_free: bool = False
    higher_free: bool = False
    larger_window_free: bool = False
    left_s: float = math.inf
    least_attempt_s: float = 0.0
    content_streamed: bool = False
    restart_allowed: bool = False
    budget_allows: bool = True
    seek_other_policy: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do.

    Attributes:
        action: the next step.
        delay_s: seconds to wait before it.
        spends_budget: it is a retry that the account's retry budget must count.
        error: the class of the error, when the action is to give up.
        retry_after_s: when a caller who is given an UNAVAILABLE may come back, if the provider said so.
    """

    action: Action
    delay_s: float = 0.0
    spends_budget: bool = False
    error: ErrorClass | None = None
    retry_after_s: float | None = None


def judge(situation: Situation, random: Random) -> Verdict:
    """The verdict on a failed attempt."""
    rule = RULES[situation.fault]
    given_up = Verdict(Action.GIVE_UP, error=rule.error, retry_after_s=situation.retry_after_s)
    if situation.content_streamed and not situation.restart_allowed:
        return given_up
    if situation.attempts >= MAX_ATTEMPTS:
        return given_up
    again = _again(rule, situation, random)
    onward = _onward(rule, situation)
    if again is None and onward is None:
        return given_up
    if again is not None and _has_time(situation, again.delay_s):
        return again
    if onward is not None and _has_time(situation, 0.0):
        return Verdict(onward)
    return Verdict(Action.GIVE_UP, error=ErrorClass.DEADLINE_EXCEEDED)


def longest_wait_s(left_s: float) -> float:
    """Seconds of Retry-After that are worth waiting for."""
    return min(LONGEST_WAIT_S, WAIT_SHARE * left_s)


def _has_time(situation: Situation, delay_s: float) -> bool:
    return 0 < situation.left_s - delay_s >= situation.least_attempt_s


def _again(rule: Rule, situation: Situation, random: Random) -> Verdict | None:
    """A retry on the same deployment, if the row has one and it was not had yet."""
    if rule.pause is Pause.FRESH_CONNECTION and situation.stale_here == 0:
        return Verdict(Action.RETRY_HERE)
    # A stale connection's free retry is not the one of the row.
    if situation.attempts_here - situation.stale_here > 1 or not situation.budget_allows:
        return None
    if rule.pause is Pause.RETRY_AFTER:
        wait_s = situation.retry_after_s
        if situation.equivalent_free or wait_s is None or not 0 <= wait_s <= longest_wait_s(situation.left_s):
            return None
        return Verdict(Action.RETRY_HERE, wait_s * (1 + WAIT_JITTER * random.random()), spends_budget=True)
    if rule.pause is Pause.NO_RETRY:
        return None
    return Verdict(Action.RETRY_HERE, random.uniform(0, BACKOFF_S), spends_budget=True)


def _onward(rule: Rule, situation: Situation) -> Action | None:
    """Where else to go, if anywhere."""
    if rule.onward is Onward.LARGER_WINDOW:
        return Action.LARGER_WINDOW if situation.larger_window_free else None
    if rule.onward is Onward.NOWHERE or (rule.onward is Onward.IF_ASKED and not situation.seek_other_policy):
        return None
    if situation.equivalent_free:
        return Action.NEXT
    return Action.UP if situation.higher_free else None
