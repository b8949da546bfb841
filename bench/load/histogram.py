"""Full histograms of times: buckets at most 1/128 as wide as their value, as native/histogram.h has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

STEP_BITS = 7
STEPS = 1 << STEP_BITS
VALUE_BITS = 40
BUCKETS = (VALUE_BITS - STEP_BITS + 1) * STEPS

Counts = npt.NDArray[np.int64]


def bucket_of(ns: int) -> int:
    """The bucket of a time; of what is longer than 18 minutes, the last."""
    ns = min(ns, (1 << VALUE_BITS) - 1)
    if ns < STEPS:
        return ns
    shift = ns.bit_length() - 1 - STEP_BITS
    return (shift + 1) * STEPS + (ns >> shift) - STEPS


def bounds_of(bucket: int) -> tuple[int, int]:
    """The least time of a bucket, and the least of the next one, ns."""
    power, step = divmod(bucket, STEPS)
    if power == 0:
        return step, step + 1
    low = (STEPS + step) << (power - 1)
    return low, low + (1 << (power - 1))


class Histogram:
    """Counts by bucket."""

    def __init__(self, counts: Counts | None = None, max_ns: int = 0) -> None:
        """An empty one, or one with these (BUCKETS,) counts."""
        self.counts = np.zeros(BUCKETS, np.int64) if counts is None else counts
        self.max_ns = max_ns

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Histogram:
        """What the generator printed.

        Raises:
            ValueError: the buckets do not add up to the count.
        """
        histogram = cls(max_ns=int(said["max_ns"]))
        for bucket, count in said["buckets"]:
            histogram.counts[bucket] += count
        if histogram.count != said["count"]:
            raise ValueError(f"buckets hold {histogram.count} times, count says {said['count']}")
        return histogram

    @classmethod
    def of(cls, times_ns: Iterable[int]) -> Histogram:
        """One of single times."""
        histogram = cls()
        for ns in times_ns:
            histogram.add(ns)
        return histogram

    def add(self, ns: int) -> None:
        """Counts one time."""
        self.counts[bucket_of(ns)] += 1
        self.max_ns = max(self.max_ns, ns)

    def merge(self, other: Histogram) -> Histogram:
        """Both together."""
        return Histogram(self.counts + other.counts, max(self.max_ns, other.max_ns))

    @property
    def count(self) -> int:
        """Times in all."""
        return int(self.counts.sum())

    def quantile_us(self, q: float) -> float:
        """The time that a share `q` of the times does not exceed, nearest rank: its bucket's middle, us.

        Raises:
            ValueError: the histogram is empty.
        """
        if not self.count:
            raise ValueError("no times, so no quantile")
        rank = min(self.count, max(1, int(np.ceil(q * self.count))))
        low, high = bounds_of(int(np.searchsorted(np.cumsum(self.counts), rank)))
        return min((low + high - 1) / 2, self.max_ns) / 1000

    def sparse(self) -> list[list[int]]:
        """Buckets that are not empty, with their counts."""
        return [[int(bucket), int(self.counts[bucket])] for bucket in np.flatnonzero(self.counts)]
