"""Latency from when a call was due, for load generators that time calls from when they sent them."""

from __future__ import annotations

import numpy as np

from bench.sampling import Floats


def from_due(starts_us: Floats, latencies_us: Floats, rate: float) -> Floats:
    """Adds to each call's latency what it was sent late ("coordinated omission": a generator that falls behind leaves
    out the wait that it owes to the server).

    The first call's start begins the schedule; from there the calls were due evenly, in the order in which they were
    sent.

    Args:
        starts_us: (n,) when each was sent, from any origin; in any order.
        latencies_us: (n,) from then to the answer.
        rate: calls a second that were due.

    Returns:
        (n,) in order of the starts.

    Raises:
        ValueError: the rate is not positive.
    """
    if rate <= 0:
        raise ValueError(f"rate of {rate} calls a second, must be more than 0")
    order = np.argsort(starts_us, kind="stable")
    starts = starts_us[order]
    due = starts[:1] + np.arange(len(starts)) * (1e6 / rate)
    late: Floats = latencies_us[order] + np.maximum(0.0, starts - due)
    return late
