"""Weighted ridge and logistic regression with a prior mean, for tens to hundreds of columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

# Newton's method converges in a handful of steps from a prior that is near.
MAX_STEPS = 30
MAX_HALVINGS = 30
CONVERGED = 1e-8
TINY = 1e-9
# Threads of the linear algebra under training: matrices this small lose more by waiting than they gain by sharing.
SOLVER_THREADS = 1


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

    def objective(at: Reals) -> float:
        return float(weights @ log_losses(columns @ at, targets) + 0.5 * penalties @ (at - prior) ** 2)

    result, value = prior.copy(), objective(prior)
    for _ in range(MAX_STEPS):
        p = logistic(columns @ result)
        gradient = columns.T @ (weights * (p - targets)) + penalties * (result - prior)
        curvature = (columns.T * (weights * np.maximum(p * (1 - p), TINY))) @ columns + np.diag(
            penalties + TINY
        )
        step = np.linalg.solve(curvature, gradient)
        # The objective is convex, and a step that is short enough lowers it.
        for _ in range(MAX_HALVINGS):
            nearer = objective(result - step)
            if nearer <= value:
                break
            step /= 2
        else:
            break
        result, value = result - step, nearer
        if float(np.abs(step).max()) < CONVERGED:
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
