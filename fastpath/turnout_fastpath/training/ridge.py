"""Ridge regression on sparse counts for many targets at once, by conjugate gradients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float32]


def fit_ridge(
    counts: sparse.csr_matrix,
    targets: Floats,
    weights: Floats,
    *,
    penalty: float | Floats,
    start: Floats | None = None,
    iterations: int = 40,
) -> Floats:
    """Coefficients that minimise sum_i w_it (x_i . b_t - y_it)^2 + penalty_t * |b_t - start_t|^2, a column a target.

    Args:
        counts: (n, d) rows x_i.
        targets: (n, t).
        weights: (n, t); 0 where a row has no label for a target.
        penalty: of all targets, or (t,) of each.
        start: (d, t) prior mean; None means 0.
        iterations: of conjugate gradients (Hestenes and Stiefel 1952), run for all targets side by side.

    Returns:
        (d, t) coefficients.
    """
    transposed = counts.T.tocsr()
    result = (
        np.zeros((counts.shape[1], targets.shape[1]), np.float32)
        if start is None
        else start.astype(np.float32)
    )
    residual = transposed @ (weights * (targets - counts @ result))
    direction = residual.copy()
    square = (residual * residual).sum(axis=0)
    for _ in range(iterations):
        image = transposed @ (weights * (counts @ direction)) + penalty * direction
        step = square / np.maximum((direction * image).sum(axis=0), 1e-20)
        result = result + step * direction
        residual = residual - step * image
        following = (residual * residual).sum(axis=0)
        direction = residual + following / np.maximum(square, 1e-20) * direction
        square = following
    return np.asarray(result, np.float32)
