"""When a bundle says that it has no ground to judge: thresholds fitted on cross-validated rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.dataset import GIBBERISH, Dataset

Floats = npt.NDArray[np.float32]

# Share of cross-validated gibberish that must abstain, and of real rows that may by the measures behind.
CAUGHT = 0.94
ABSTAIN_SHARE = 0.002


def fit_abstention(dataset: Dataset, scores: Floats, vectors: Floats, clusters: Floats) -> dict[str, float]:
    """Thresholds: the unfamiliar logit that CAUGHT of the gibberish passes; the others back it up.

    In Chinese and Japanese most characters are no piece of the vocabulary, and n-grams carry the meaning: the share of
    unknown pieces that abstains lies above nearly all everyday rows, which have every language.
    """
    real = dataset.sources != GIBBERISH
    nearest = (vectors[real] @ clusters.T).max(axis=1)
    unknown = dataset.readings.unknown_share[dataset.everyday]
    return {
        "unfamiliar_logit": float(np.quantile(scores[~real, -1], 1 - CAUGHT)),
        "unknown_share": float(np.quantile(unknown, 1 - ABSTAIN_SHARE)),
        "cluster_cosine": float(np.quantile(nearest, ABSTAIN_SHARE / 4)),
    }
