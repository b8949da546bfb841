"""When a breaker opens, for how long, and which faults speak against whom. Data and pure functions.

Opens on evidence: five failures in a row (a dead deployment shows them within a second at five calls a second, and
five at a failure rate of 10% come once in 100,000 calls), or half of at least 20 calls failed, in the last half to
whole second (so a sudden fault under load is seen within it) or the last 10 s (so a slow trickle is seen too). An
account needs twice as much, so that one deployment, whose own breaker stops it first, does not close its account.
Slow answers count as failures in the share, and neither lengthen nor end the run.

Stays open for 1 s at first, then twice as long after each probe that failed, at most 15 s: with a probe that takes
its whole limit of 10 s to fail just before the provider is back, traffic returns within 30 s. A breaker that stayed
closed for a minute starts at 1 s again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from random import Random
from typing import NamedTuple

from turnout_server.providers.faults import FaultKind


class Cause(IntEnum):
    """Why a breaker is open; the number stands in the state block."""

    NONE = 0
    FAILURES = 1
    QUOTA = 2
    CONFIGURATION = 3


class Blame(StrEnum):
    """What a fault says of the deployment and the account."""

    NOBODY = "nobody"
    """The request's own fault, or the caller's: no evidence either way."""
    EVIDENCE = "evidence"
    """A failure, for both to count."""
    WAIT = "wait"
    """The deployment is closed until the time that was told; without one as EVIDENCE."""
    ACCOUNT = "account"
    """The account is used up."""
    DEPLOYMENT = "deployment"
    """The deployment is set up wrongly."""


BLAME: dict[FaultKind, Blame] = {
    FaultKind.RATE_LIMITED: Blame.WAIT,
    FaultKind.QUOTA_EXHAUSTED: Blame.ACCOUNT,
    FaultKind.OVERLOADED: Blame.EVIDENCE,
    FaultKind.SERVER_ERROR: Blame.EVIDENCE,
    FaultKind.CONNECTION: Blame.EVIDENCE,
    # The far end closed a connection that nobody used, which it may.
    FaultKind.STALE_CONNECTION: Blame.NOBODY,
    FaultKind.FIRST_TOKEN_TIMEOUT: Blame.EVIDENCE,
    FaultKind.STALLED: Blame.EVIDENCE,
    FaultKind.CUT: Blame.EVIDENCE,
    FaultKind.MALFORMED: Blame.EVIDENCE,
    FaultKind.CONTEXT_EXCEEDED: Blame.NOBODY,
    FaultKind.CONTENT_POLICY: Blame.NOBODY,
    FaultKind.BAD_REQUEST: Blame.NOBODY,
    FaultKind.CONFIGURATION: Blame.DEPLOYMENT,
    FaultKind.CANCELLED: Blame.NOBODY,
    FaultKind.DEADLINE: Blame.NOBODY,
}


class Evidence(NamedTuple):
    """What a breaker has seen, itself and in other processes.

    Attributes:
        run: failures since the last success, not more than 10 s apart.
        recent_calls: calls of this half second and the one before.
        recent_failures: those of them that failed or were slow.
        calls: calls of the last 10 s.
        failures: those of them that failed or were slow.
    """

    run: int
    recent_calls: int
    recent_failures: int
    calls: int
    failures: int


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """Thresholds and times.

    Attributes:
        run: failures in a row that open.
        share: share of failures that opens, 0 to 1.
        least_calls: fewer calls than this say nothing of a share.
        first_open_s: how long it is open the first time.
        longest_open_s: and at most.
        quota_open_s: how long an account is open whose quota is used up; twice as long each time.
        longest_quota_s: and at most.
        configuration_open_s: how long a deployment is open that is set up wrongly.
        longest_wait_s: the longest Retry-After that is believed.
        calm_s: closed for as long as this, it begins at first_open_s again.
        probe_lease_s: a probe that has no end for this long is given up, and another may begin.
        half_open_s: decisions leave a deployment alone for this long after it could be probed, unless a probe succeeds.
    """

    run: int = 5
    share: float = 0.5
    least_calls: int = 20
    first_open_s: float = 1.0
    longest_open_s: float = 15.0
    quota_open_s: float = 300.0
    longest_quota_s: float = 1200.0
    configuration_open_s: float = 600.0
    longest_wait_s: float = 3600.0
    calm_s: float = 60.0
    probe_lease_s: float = 15.0
    half_open_s: float = 30.0

    def is_sick(self, evidence: Evidence) -> bool:
        """True if the evidence opens the breaker."""
        return evidence.run >= self.run or any(
            calls >= self.least_calls and failures >= self.share * calls
            for calls, failures in (
                (evidence.recent_calls, evidence.recent_failures),
                (evidence.calls, evidence.failures),
            )
        )

    def open_s(self, cause: Cause, trips: int, random: Random) -> float:
        """Seconds to stay open, for the `trips`-th time in a row; up to a quarter less, so that not all probe at once."""
        if cause is Cause.CONFIGURATION:
            return self.configuration_open_s
        first_s, longest_s = (
            (self.quota_open_s, self.longest_quota_s)
            if cause is Cause.QUOTA
            else (self.first_open_s, self.longest_open_s)
        )
        return min(longest_s, first_s * 2.0 ** (trips - 1)) * random.uniform(0.75, 1.0)


DEPLOYMENT_RULES = BreakerRules()
ACCOUNT_RULES = BreakerRules(run=10, least_calls=40)
