"""A second call when the first token is late: off by default, before the first token only, with a budget of its own.

The rule: when a call has no first token after the time within which 95 in 100 calls of the deployment had theirs, the
same request is sent to an equivalent deployment too. Whichever has its first token first, serves; the other is
cancelled at once, and what it has cost is billed. Nothing is hedged before 20 first tokens were seen, unless the delay
is fixed, nor beyond 5% of the requests and one, nor when the second call could not finish in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from turnout_server.resilience.first_token_times import SAMPLES, FirstTokenTimes
from turnout_server.resilience.retry_budget import RetryBudget

# Of the requests; and how many hedges at once besides.
SHARE = 0.05
CONCURRENT = 1


@dataclass(frozen=True, slots=True)
class HedgeRules:
    """When to hedge.

    Attributes:
        enabled: False: never.
        fixed_delay_s: seconds after which a call is hedged; None: by the quantile.
        quantile: of the first-token times, above 0 and below 1, that a call may take before it is hedged.
        least_samples: first-token times that must have been seen.
        least_delay_s: no call is hedged earlier.
    """

    enabled: bool = False
    fixed_delay_s: float | None = None
    quantile: float = 0.95
    least_samples: int = 20
    least_delay_s: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1 or not 1 <= self.least_samples <= SAMPLES:
            raise ValueError(
                f"quantile is {self.quantile} and least_samples {self.least_samples}, "
                f"above 0 and below 1, and 1 to {SAMPLES} needed"
            )

    def delay_s(self, times: FirstTokenTimes, left_s: float) -> float | None:
        """Seconds after which to send the second call; None: there is to be none.

        Args:
            times: of the deployment that the first call went to.
            left_s: seconds until the deadline, without its reserve.
        """
        if not self.enabled:
            return None
        if self.fixed_delay_s is not None:
            return self.fixed_delay_s if self.fixed_delay_s < left_s else None
        if len(times) < self.least_samples:
            return None
        delay_s = max(self.least_delay_s, times.quantile(self.quantile))
        # The second call needs as long as most calls do.
        return delay_s if delay_s + times.quantile(self.quantile) <= left_s else None


class Runner(StrEnum):
    """One of the two calls."""

    PRIMARY = "primary"
    HEDGE = "hedge"


class Step(StrEnum):
    """What the race asks to be done."""

    WAIT = "wait"
    SEND_HEDGE = "send_hedge"
    SERVE_PRIMARY = "serve_primary"
    """Pass on the primary's answer; cancel and bill the hedge, if it was sent."""
    SERVE_HEDGE = "serve_hedge"
    """Pass on the hedge's answer; cancel and bill the primary."""
    FAIL = "fail"
    """Both that were sent have failed: the retry policy goes on from the last."""


class HedgeRace:
    """One request's calls until the first token. Its caller sends, cancels and bills; this says when.

    Attributes:
        winner: whose answer is served.
        lost: who was cancelled and is to be billed as lost.
    """

    def __init__(self, budget: RetryBudget) -> None:
        """A race in which the primary has been sent.

        Args:
            budget: the hedges' own, `RetryBudget(clock, share=SHARE, concurrent=CONCURRENT)`, in which its owner
                notes every request.
        """
        self._budget = budget
        self._running = {Runner.PRIMARY}
        self._hedged = False
        self.winner: Runner | None = None
        self.lost: Runner | None = None

    def on_timer(self, *, has_equivalent: bool) -> Step:
        """The delay is over; `has_equivalent`: a deployment for the second call is free."""
        if self._hedged or self.winner is not None or self._running != {Runner.PRIMARY} or not has_equivalent:
            return Step.WAIT
        if not self._budget.begin():
            return Step.WAIT
        self._hedged = True
        self._running.add(Runner.HEDGE)
        return Step.SEND_HEDGE

    def on_first_token(self, runner: Runner) -> Step:
        """A call has its first token; one that comes after the winner's changes nothing."""
        if self.winner is not None or runner not in self._running:
            return Step.WAIT
        self.winner = runner
        self._running.discard(runner)
        self.lost = next(iter(self._running), None)
        self._running.clear()
        self._end_hedge()
        return Step.SERVE_PRIMARY if runner is Runner.PRIMARY else Step.SERVE_HEDGE

    def on_failure(self, runner: Runner) -> Step:
        """A call has failed before its first token."""
        if self.winner is not None or runner not in self._running:
            return Step.WAIT
        self._running.discard(runner)
        if self._running:
            return Step.WAIT
        self._end_hedge()
        return Step.FAIL

    def on_cancel(self) -> frozenset[Runner]:
        """The caller has gone; returns who is to be cancelled and billed."""
        running = frozenset(self._running)
        if running:
            self._running.clear()
            self._end_hedge()
        return running

    def _end_hedge(self) -> None:
        """Gives the budget its place back, once the race is over."""
        if self._hedged:
            self._budget.end()
