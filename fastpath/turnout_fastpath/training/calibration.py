"""Probabilities that mean what they say: Platt scaling, and how far off they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.evaluation.calibration_bound import calibration_error

Floats = npt.NDArray[np.floating]


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    result: Floats = 1 / (1 + np.exp(-logits))
    return result


def fit_platt(
    logits: Floats, labels: Floats, weights: Floats | None = None, *, prior_rows: float = 0.0
) -> tuple[float, float]:
    """Slope and intercept of sigmoid(slope * logit + intercept), by Newton's method on the log loss (Platt 1999).

    Args:
        logits, labels, weights: (n,); labels in [0, 1].
        prior_rows: strength of the pull towards slope 1 and intercept 0, in rows: few labels move little.
    """
    x = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    w = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    target = np.array([1.0, 0.0])
    beta = target.copy()
    # A row's log loss has a curvature of about 1/4 in the intercept, and of that times the logits' square in the slope.
    pull = prior_rows * 0.25 * np.array([max(1e-6, float(np.mean(x[:, 0] ** 2))), 1.0])
    for _ in range(50):
        p = sigmoid(x @ beta)
        gradient = x.T @ (w * (p - labels)) + pull * (beta - target)
        curvature = (x * (w * p * (1 - p))[:, None]).T @ x + np.diag(pull + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])


def expected_calibration_error(probabilities: Floats, labels: Floats, *, bins: int = 15) -> float:
    """ECE over equal-mass bins; see `evaluation.calibration_bound`."""
    return float(calibration_error(probabilities, labels, np.ones(len(probabilities)), bins=bins))
