"""Intervals that hold what they promise, drawn by group."""

from __future__ import annotations

import numpy as np
import pytest
from turnout_fastpath.training.evaluation.bootstrap import GroupBootstrap


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    """Independent rows: 1.96 standard errors to each side."""
    source = np.random.default_rng(0)
    values = source.normal(3, 2, 2000)
    figure = GroupBootstrap(np.arange(2000).astype(str), replicates=2000).mean(values)
    error = values.std() / np.sqrt(2000)
    assert figure.value == pytest.approx(values.mean())
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert figure.low == pytest.approx(figure.value - 1.96 * error, abs=0.3 * error)


def test_rows_of_a_group_count_as_one() -> None:
    """Twenty copies of each of 100 values say no more than the 100."""
    values = np.random.default_rng(0).normal(size=100)
    lone = GroupBootstrap(np.arange(100).astype(str)).mean(values)
    copied = GroupBootstrap(np.repeat(np.arange(100), 20).astype(str)).mean(np.repeat(values, 20))
    assert copied.high - copied.low == pytest.approx(lone.high - lone.low, rel=1e-9)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    source = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        values = np.repeat(source.normal(size=60), 3)
        figure = GroupBootstrap(np.repeat(np.arange(60), 3).astype(str), replicates=200, seed=seed).mean(
            values
        )
        held += figure.low <= 0 <= figure.high
    assert 178 <= held <= 198


def test_weights_count() -> None:
    figure = GroupBootstrap(np.array(["a", "b"]), np.array([3.0, 1.0])).mean(np.array([1.0, 0.0]))
    assert figure.value == 0.75


def test_equal_seeds_equal_intervals() -> None:
    groups, values = np.array(["a", "a", "b", "c"]), np.array([1.0, 2.0, 3.0, 4.0])
    assert GroupBootstrap(groups).mean(values) == GroupBootstrap(groups).mean(values)


def test_what_no_replicate_can_say_is_not_a_number() -> None:
    figure = GroupBootstrap(np.array(["a"])).figure(lambda weights: np.full(len(weights), np.nan))
    assert np.isnan([figure.value, figure.low, figure.high]).all()
