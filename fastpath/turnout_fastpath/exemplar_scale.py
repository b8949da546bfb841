"""The scale of exemplar similarity: what a raw cosine means for each exemplar of a bucket.

Some texts are near everything: a short greeting's cosine to unrelated prompts exceeds what a paraphrase of a long question
reaches. So each exemplar has a match cosine of its own, taken from its cosines to a sample of unrelated prompts that the
bundle carries.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

# Of the calibrated scale: where a request matches, and where the median of unrelated prompts lies.
MATCH = 0.88
MEDIAN = 0.5
# Half of the 0.5% of unrelated prompts that a bucket may match: the rest is for prompts that the sample does not have.
UNRELATED_MATCHES = 0.0025
# Share of the sample that lies above an exemplar's own null cosine.
NULL_SHARE = 0.005
# A sample row this near to an exemplar is the same prompt, and says nothing of unrelated ones.
SAME = 0.95
# No match cosine is above this one: a prompt's own wording must always match.
GREATEST_MATCH = 0.97


class BucketScale(NamedTuple):
    """A bucket's map from raw cosines to the calibrated scale.

    Attributes:
        match: (k,) the raw cosine of each exemplar that becomes MATCH; 1 becomes 1, on a straight line.
        median: (cosine - match) / (1 - match) of the nearest exemplar, for the median unrelated prompt; below 0.
    """

    match: Floats
    median: float


def fit_bucket(exemplars: Floats, background: Floats) -> BucketScale:
    """Fits a bucket's scale.

    Args:
        exemplars: (k, dim) unit vectors, k at least 1.
        background: (n, dim) unit vectors of unrelated prompts, n at least 1.

    Returns:
        A scale on which at most UNRELATED_MATCHES of the background match any exemplar.
    """
    cosines = background.astype(np.float32) @ exemplars.astype(np.float32).T
    unrelated = cosines[(cosines < SAME).all(axis=1)]
    if not len(unrelated):
        return BucketScale(np.full(len(exemplars), GREATEST_MATCH), -1.0)
    place = min(len(unrelated) - 1, int(len(unrelated) * (1 - NULL_SHARE)))
    null = np.minimum(np.partition(unrelated, place, axis=0)[place], GREATEST_MATCH)
    nearest = ((unrelated - null) / (1 - null)).max(axis=1)
    # Above that row by more than float32 rounds, so that neither it nor its equals match.
    reach = float(np.quantile(nearest, 1 - UNRELATED_MATCHES, method="higher")) + 2e-6
    match = np.minimum(null + reach * (1 - null), GREATEST_MATCH)
    median = float(np.median(((unrelated - match) / (1 - match)).max(axis=1)))
    return BucketScale(match, min(median, -1e-6))
