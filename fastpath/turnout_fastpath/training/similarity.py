"""The scale of exemplar similarity: what a raw cosine of the table means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

Floats = npt.NDArray[np.float32]

THRESHOLD = 0.88
# Half of the 0.5% that may match: the rest is for prompts that the fit has not seen.
UNRELATED_MATCHES = 0.0025


def fit_similarity(unrelated: Floats) -> tuple[list[float], list[float]]:
    """Knots of the map from raw cosine to the calibrated scale.

    Args:
        unrelated: (n,) for each unrelated prompt the greatest cosine to a bucket's exemplars.

    Returns:
        Raw and calibrated values, rising: the raw cosine that UNRELATED_MATCHES of unrelated prompts exceed becomes
        THRESHOLD, the median of unrelated prompts 0.5; -1 and 1 stay.
    """
    match = float(np.quantile(unrelated, 1 - UNRELATED_MATCHES))
    median = float(np.median(unrelated))
    return [-1.0, median, match, 1.0], [-1.0, 0.5, THRESHOLD, 1.0]


def choose_exemplars(vectors: Floats, n: int, *, seed: int = 0) -> npt.NDArray[np.intp]:
    """Rows that stand for all: of each k-means cluster the one nearest to its centre."""
    centres = KMeans(min(n, len(vectors)), n_init=2, random_state=seed).fit(vectors).cluster_centers_
    return np.unique((vectors @ centres.T).argmax(axis=0))
