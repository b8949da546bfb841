"""ECE against rows cut into equal parts, and the bound against its own definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.training.evaluation.calibration_bound import (
    bin_means,
    calibration_error,
    perfect_calibration_bound,
)

from tests.fastpath.evaluation import reference


@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=30, unique_by=lambda r: r[0]
    )
)
def test_error_is_that_of_equal_parts(rows: list[tuple[int, bool]]) -> None:
    p, labels = [p / 1000 for p, _ in rows], [float(label) for _, label in rows]
    found = calibration_error(np.array(p), np.array(labels), np.ones(len(rows)), bins=4)
    assert found == pytest.approx(reference.calibration_error(p, labels, 4))


def test_the_order_of_equal_probabilities_does_not_matter() -> None:
    """A constant that is right on average is right in every bin, however the rows lie."""
    labels = np.array([0.0] * 50 + [1.0] * 50)
    assert calibration_error(np.full(100, 0.5), labels, np.ones(100)) == pytest.approx(0)
    assert calibration_error(np.full(100, 0.7), labels, np.ones(100)) == pytest.approx(0.2)


def test_bins_by_hand() -> None:
    predicted, observed = bin_means(
        np.array([0.9, 0.1, 0.2, 0.8]), np.array([1.0, 0.0, 1.0, 0.0]), np.ones((1, 4)), bins=2
    )
    assert predicted == pytest.approx(np.array([[0.15, 0.85]]))
    assert observed == pytest.approx(np.array([[0.5, 0.5]]))


@given(st.lists(st.integers(0, 3), min_size=8, max_size=8).filter(any))
def test_a_weight_is_so_many_equal_rows(counts: list[int]) -> None:
    p = np.linspace(0.05, 0.95, 8)
    labels = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    repeated = np.repeat(np.arange(8), counts)
    expected = float(calibration_error(p[repeated], labels[repeated], np.ones(len(repeated))))
    found = calibration_error(p, labels, np.array([counts, counts], np.float64))
    assert found == pytest.approx([expected, expected])


def test_a_perfect_predictor_stays_below_its_bound_nineteen_times_of_twenty() -> None:
    source = np.random.default_rng(1)
    p = source.beta(6, 1, 412)
    bound = perfect_calibration_bound(p, np.ones(412))
    drawn = (source.random((400, 412)) < p).astype(np.float64)
    below = (calibration_error(p, drawn, np.ones(412)) <= bound).mean()
    assert 0.92 < below < 0.98
    # Of the size that 412 rows are known to leave open.
    assert 0.04 < bound < 0.08


def test_more_rows_a_tighter_bound() -> None:
    p = np.tile(np.linspace(0.6, 0.99, 100), 40)
    few, many = (perfect_calibration_bound(p[:n], np.ones(n), simulations=200) for n in (400, 4000))
    assert many < few / 2.5
