"""Weighted ridge and logistic regression with a prior mean, for tens to hundreds of columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

# Newton's method converges in a handful of steps from a prior that is near.
MAX_STEPS = 30
# Of a coefficient; beyond it a step of Newton's method has left the region where the loss is nearly quadratic.
MAX_STEP = 5.0
TINY = 1e-9


def fit_linear(columns: Reals, targets: Reals, weights: Reals, penalties: Reals, prior: Reals) -> Reals:
    """(d,) coefficients b that minimise sum_i w_i (x_i . b - y_i)^2 + sum_j penalty_j (b_j - prior_j)^2.

    Args:
        columns: (n, d).
        targets, weights: (n,).
        penalties, prior: (d,).
    """
    weighted = columns.T * weights
    curvature = weighted @ columns + np.diag(penalties + TINY)
    result: Reals = prior + np.linalg.solve(curvature, weighted @ (targets - columns @ prior))
    return result


def fit_logistic(columns: Reals, targets: Reals, weights: Reals, penalties: Reals, prior: Reals) -> Reals:
    """(d,) coefficients that minimise the weighted log loss plus half of sum_j penalty_j (b_j - prior_j)^2, by Newton.

    Args:
        columns: (n, d).
        targets: (n,) in [0, 1]; shares are allowed.
        weights: (n,).
        penalties, prior: (d,).
    """
    result = prior.copy()
    for _ in range(MAX_STEPS):
        p = logistic(columns @ result)
        gradient = columns.T @ (weights * (p - targets)) + penalties * (result - prior)
        curvature = (columns.T * (weights * np.maximum(p * (1 - p), TINY))) @ columns + np.diag(
            penalties + TINY
        )
        step = np.linalg.solve(curvature, gradient)
        peak = float(np.abs(step).max())
        result -= step * min(1.0, MAX_STEP / max(peak, TINY))
        if peak < 1e-8:
            break
    return result


def logistic(logits: Reals) -> Reals:
    """1 / (1 + exp(-x)), without overflow."""
    result: Reals = 0.5 * (1 + np.tanh(0.5 * logits))
    return result


def log_losses(logits: Reals, targets: Reals) -> Reals:
    """(n,) log loss of each row, targets in [0, 1]."""
    result: Reals = np.logaddexp(0, logits) - targets * logits
    return result
