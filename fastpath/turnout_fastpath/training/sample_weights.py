"""What each labelled row counts: its weight, over the probability with which it came to be labelled."""

from __future__ import annotations

import numpy as np

from turnout_fastpath.training.labelled_data import LabelledData, Reals

# A row that was labelled once in a thousand times would otherwise stand for a thousand rows, and its noise too.
MAX_INVERSE_PROPENSITY = 20.0


def sample_weights(data: LabelledData) -> Reals:
    """(n,) weight / propensity, the inverse propensity clipped at MAX_INVERSE_PROPENSITY, scaled to a mean of 1.

    Clipping trades a little bias for much variance (Ionides 2008; Bottou et al. 2013).
    """
    weights: Reals = data.weights * np.minimum(1 / data.propensities, MAX_INVERSE_PROPENSITY)
    weights /= weights.mean()
    return weights
