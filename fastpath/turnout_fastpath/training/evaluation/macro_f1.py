"""Macro F1 of a classification, for many weightings of its rows at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def macro_f1(labels: npt.NDArray[np.intp], said: npt.NDArray[np.intp], weights: Floats) -> Floats:
    """(b,) mean F1 over the classes that the labels have; a class that a weighting leaves out counts 0.

    Args:
        labels, said: (n,) class numbers.
        weights: (b, n).
    """
    scores = []
    for number in np.unique(labels):
        own, claimed = labels == number, said == number
        right = weights @ (own & claimed)
        # F1 = 2 right / (right + wrong + right + missed).
        total = weights @ own.astype(float) + weights @ claimed
        scores.append(2 * right / np.where(total > 0, total, 1))
    result: Floats = np.mean(scores, axis=0)
    return result
