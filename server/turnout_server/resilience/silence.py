"""What silence says before its limit is over, and what may follow a failure that was long in coming.

The rule of suspicion: a deployment is silent while three of its calls wait for their first token, the third for longer
than patience allows, and no call has had one in that time. Patience is four times what 95 in 100 calls took, at least
1 s and at most half of the first-token limit. New calls prefer other deployments of the tier, and fail-overs all others.

The rule of late failures: a breaker stops a deployment that fails at once within five calls, but behind a call that
fails after ten silent seconds stand all that were sent meanwhile, and if each of them went on to the next deployment,
an outage of all would multiply. So after a late failure a further attempt is free only where an answer has come within
the last five seconds; anywhere else it takes a place in the budget of its tier, three and a fifth of the requests.
A place is given back as soon as the call has its first token, so that fail-over to what works is never short of places.
"""

from __future__ import annotations

from itertools import islice

from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breaker_rules import BLAME, Blame
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.first_token_times import FirstTokenTimes

# Waiting calls that make a silence.
WAITING = 3
PATIENCE_QUANTILE = 0.95
PATIENCE_FACTOR = 4
LEAST_PATIENCE_S = 1.0
# Of the first-token limit; also what holds before LEAST_SAMPLES calls were seen.
PATIENCE_SHARE = 0.5
LEAST_SAMPLES = 20
# A deployment that has answered within this long is taken to be alive.
LIFE_S = 5.0
# A failure that takes as long as this has others behind it.
LATE_S = 1.0

_SILENT = frozenset({FaultKind.FIRST_TOKEN_TIMEOUT, FaultKind.STALLED})
_NEVER_S = float("-inf")


class Pulse:
    """The life signs of one deployment, as one worker sees them.

    Attributes:
        first_tokens: how long its calls took to their first token.
    """

    def __init__(self, clock: Clock, first_token_s: float) -> None:
        """Nothing was called yet; `first_token_s` is the deployment's limit to the first token."""
        self.first_tokens = FirstTokenTimes()
        self._clock = clock
        self._limit_s = first_token_s
        self._begun = 0
        # Calls without a first token and when they began, the oldest first.
        self._waiting: dict[int, float] = {}
        self._heard_s = _NEVER_S
        self._whole_s = _NEVER_S

    def begin(self) -> int:
        """A call begins; returns its number."""
        self._begun += 1
        self._waiting[self._begun] = self._clock.monotonic_s()
        return self._begun

    def first_token(self, call: int) -> None:
        """A call has its first token."""
        began_s = self._waiting.pop(call, None)
        if began_s is not None:
            self._heard_s = self._clock.monotonic_s()
            self.first_tokens.add(self._heard_s - began_s)

    def end(self, call: int, *, whole: bool = False) -> None:
        """A call has ended; `whole`: with a whole answer."""
        if whole:
            self.first_token(call)
            self._heard_s = self._whole_s = self._clock.monotonic_s()
        self._waiting.pop(call, None)

    def is_silent(self) -> bool:
        """True while its calls wait, and wait too long."""
        if len(self._waiting) < WAITING:
            return False
        third_s = next(islice(self._waiting.values(), WAITING - 1, None))
        return self._clock.monotonic_s() - max(third_s, self._heard_s) > self.patience_s()

    def patience_s(self) -> float:
        """Seconds for which nothing need be heard."""
        most_s = PATIENCE_SHARE * self._limit_s
        if len(self.first_tokens) < LEAST_SAMPLES:
            return most_s
        usual_s = self.first_tokens.quantile(PATIENCE_QUANTILE)
        return min(most_s, max(LEAST_PATIENCE_S, PATIENCE_FACTOR * usual_s))

    def is_alive(self, *, whole: bool) -> bool:
        """True if it is not silent and has lately given a first token, or a `whole` answer."""
        since_s = self._whole_s if whole else self._heard_s
        return self._clock.monotonic_s() - since_s < LIFE_S and not self.is_silent()


def is_late(fault: FaultKind, took_s: float) -> bool:
    """True for a failure behind which others stand that were sent meanwhile.

    Args:
        fault: of the call.
        took_s: seconds from its begin to its end.
    """
    return fault in _SILENT or (took_s >= LATE_S and BLAME[fault] is not Blame.NOBODY)
