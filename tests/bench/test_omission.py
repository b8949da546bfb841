"""Latencies from when calls were due, against a schedule written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.omission import from_due

CALLS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=40)


@given(CALLS, st.sampled_from([1.0, 50.0, 1000.0]))
def test_each_call_counts_from_its_place_in_the_schedule(calls: list[tuple[int, int]], rate: float) -> None:
    starts, latencies = (np.array(each, np.float64) for each in zip(*calls, strict=True))
    expected = []
    for place, (start, latency) in enumerate(sorted(calls, key=lambda call: call[0])):
        due = min(starts) + place * 1e6 / rate
        expected.append(start + latency - min(start, due))
    assert from_due(starts, latencies, rate) == pytest.approx(expected)


def test_a_generator_that_keeps_its_schedule_is_left_as_it_is() -> None:
    starts = np.arange(10, dtype=np.float64) * 1000.0
    assert (from_due(starts, np.full(10, 7.0), 1000.0) == 7.0).all()


def test_one_stall_shows_in_all_calls_that_it_held_back() -> None:
    # Due every millisecond; the fifth call takes 100 ms, and the generator waits for it.
    starts = np.array([*range(5), *range(104, 200)]) * 1000.0
    latencies = np.full(len(starts), 100.0)
    latencies[4] = 100_000.0
    corrected = np.sort(from_due(starts, latencies, 1000.0))
    assert np.median(latencies) == 100.0
    assert np.median(corrected) == pytest.approx(99_100.0)


def test_a_rate_is_positive() -> None:
    with pytest.raises(ValueError, match="rate of 0 calls"):
        from_due(np.zeros(1), np.zeros(1), 0)
