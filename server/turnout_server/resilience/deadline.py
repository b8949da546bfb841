"""When a request must be answered, and what that leaves for each step.

The rule: every timer is the lesser of its own limit and what the deadline leaves after a reserve, the time that it
takes to answer the caller; an attempt that cannot finish in what is left is not started.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from turnout_server.resilience.clock import Clock

RESERVE_S = 0.05


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a request's time.

    Attributes:
        ends_s: monotonic seconds; infinite for a request without a deadline.
        reserve_s: seconds before the end that belong to the answer to the caller.
    """

    ends_s: float = math.inf
    reserve_s: float = RESERVE_S

    def __post_init__(self) -> None:
        if math.isnan(self.ends_s) or not 0 <= self.reserve_s < math.inf:
            raise ValueError(
                f"ends_s is {self.ends_s} and reserve_s {self.reserve_s}, a time and at least 0 needed"
            )

    @classmethod
    def after(cls, clock: Clock, seconds: float, reserve_s: float = RESERVE_S) -> Deadline:
        """The deadline of a request that has so many seconds from now."""
        return cls(clock.monotonic_s() + seconds, reserve_s)

    def left_s(self, clock: Clock) -> float:
        """Seconds that a step may take: what remains without the reserve, at least 0."""
        return max(0.0, self.ends_s - self.reserve_s - clock.monotonic_s())

    def timer_s(self, limit_s: float, clock: Clock) -> float:
        """Seconds for a step whose own limit is `limit_s`."""
        return min(limit_s, self.left_s(clock))

    def allows(self, needed_s: float, clock: Clock) -> bool:
        """True if a step that needs so many seconds can still finish; one that needs none needs some time all the same."""
        left_s = self.left_s(clock)
        return 0 < left_s >= needed_s
