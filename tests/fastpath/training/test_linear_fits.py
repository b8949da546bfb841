"""Ridge and logistic fits, against the conditions that define their optimum."""

from __future__ import annotations

import numpy as np
import pytest
from turnout_fastpath.training.linear_fits import fit_linear, fit_logistic, log_losses, logistic

RANDOM = np.random.default_rng(1)
X = RANDOM.standard_normal((300, 6))
WEIGHTS = RANDOM.uniform(0.2, 3, 300)
PENALTIES = np.array([0.0, 1, 5, 20, 100, 1e9])
PRIOR = np.array([0.0, 1, -1, 0, 0.5, 2])


def test_linear_optimum() -> None:
    y = X @ np.array([1.0, 2, 0, 0, 0, 0]) + RANDOM.standard_normal(300)
    found = fit_linear(X, y, WEIGHTS, PENALTIES, PRIOR)
    gradient = X.T @ (WEIGHTS * (X @ found - y)) + PENALTIES * (found - PRIOR)
    assert np.abs(gradient).max() < 1e-4
    assert found[-1] == pytest.approx(2)


@pytest.mark.parametrize("scale", [1.0, 8.0], ids=["plain", "far from the prior"])
def test_logistic_optimum(scale: float) -> None:
    y = (RANDOM.random(300) < logistic(X @ np.array([1.0, 2, 0, 0, 0, 0]) * scale)).astype(float)
    y[:50] = RANDOM.random(50)
    found = fit_logistic(X, y, WEIGHTS, PENALTIES, PRIOR)
    gradient = X.T @ (WEIGHTS * (logistic(X @ found) - y)) + PENALTIES * (found - PRIOR)
    assert np.abs(gradient).max() < 1e-3


def test_separable_labels_end() -> None:
    y = (X[:, 0] > 0).astype(float)
    found = fit_logistic(X, y, WEIGHTS, np.full(6, 1.0), np.zeros(6))
    assert np.isfinite(found).all() and found[0] > 1


def test_log_loss_of_extremes() -> None:
    np.testing.assert_allclose(
        log_losses(np.array([800.0, -800.0, 0.0]), np.array([1.0, 0.0, 0.5])), [0, 0, np.log(2)]
    )
