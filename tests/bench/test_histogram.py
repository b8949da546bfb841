"""The histogram of times against sorted samples."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.histogram import BUCKETS, STEPS, VALUE_BITS, Histogram, bounds_of, bucket_of

TIMES = st.lists(st.integers(0, 10**11), min_size=1, max_size=50)


@given(st.integers(0, (1 << VALUE_BITS) - 1))
def test_a_time_lies_within_its_bucket(ns: int) -> None:
    low, high = bounds_of(bucket_of(ns))
    assert low <= ns < high
    assert high - low <= max(1, low / STEPS)


def test_buckets_leave_no_gap() -> None:
    edges = [bounds_of(bucket) for bucket in range(BUCKETS)]
    assert edges[0][0] == 0 and edges[-1][1] == 1 << VALUE_BITS
    assert all(high == low for (_, high), (low, _) in itertools.pairwise(edges))


def test_what_is_too_long_counts_as_the_longest() -> None:
    assert bucket_of(1 << 60) == BUCKETS - 1


@given(TIMES, st.floats(0.001, 1.0))
def test_a_quantile_is_the_nearest_rank_of_sorted_times(times: list[int], q: float) -> None:
    exact = sorted(times)[max(1, math.ceil(q * len(times))) - 1]
    assert Histogram.of(times).quantile_us(q) * 1000 == pytest.approx(exact, rel=1 / STEPS, abs=0.5)


@given(TIMES, TIMES)
def test_merging_counts_both(one: list[int], other: list[int]) -> None:
    merged = Histogram.of(one).merge(Histogram.of(other))
    assert merged.sparse() == Histogram.of(one + other).sparse()
    assert merged.max_ns == max(one + other)


@given(TIMES)
def test_what_was_printed_is_read(times: list[int]) -> None:
    histogram = Histogram.of(times)
    said = {"count": len(times), "max_ns": max(times), "buckets": histogram.sparse()}
    assert Histogram.read(said).sparse() == histogram.sparse()


def test_buckets_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="hold 2 times, count says 3"):
        Histogram.read({"count": 3, "max_ns": 1, "buckets": [[5, 2]]})


def test_no_times_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no times"):
        Histogram().quantile_us(0.5)
