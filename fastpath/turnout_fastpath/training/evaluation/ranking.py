"""Rows in the order in which a router sends them to the strong model, and what follows from the order alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


class Ranking:
    """n rows by falling wish for the strong model; equal wishes stand together, and count as averaged over their orders.

    Sums over such ties are all that the measures need: between two ties the share of strong calls, the score and the
    number of positives grow in proportion.
    """

    def __init__(self, wish: Floats) -> None:
        """Orders rows by `wish`, (n,), n at least 1.

        Raises:
            ValueError: a wish is not a number.
        """
        wish = np.asarray(wish, np.float64)
        if np.isnan(wish).any():
            raise ValueError(f"the wish of row {int(np.flatnonzero(np.isnan(wish))[0])} is not a number")
        self.order = np.argsort(-wish, kind="stable")
        falling = wish[self.order]
        self.starts = np.concatenate([[0], 1 + np.flatnonzero(falling[1:] != falling[:-1])])

    def sums(self, values: Floats) -> Floats:
        """(..., n) values added up by tie: (..., ties), the greatest wish first."""
        result: Floats = np.add.reduceat(values[..., self.order], self.starts, axis=-1)
        return result


def auc(ranking: Ranking, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Chance that a positive row's wish exceeds a negative one's, equal wishes counting one half; NaN without both.

    Args:
        ranking: the rows' order.
        positive: (n,), such as "needs the strong model".
        weights: (..., n).
    """
    positives, negatives = ranking.sums(weights * positive), ranking.sums(weights * ~positive)
    after = negatives.sum(axis=-1, keepdims=True) - np.cumsum(negatives, axis=-1)
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = (positives * (after + negatives / 2)).sum(axis=-1) / pairs
    return result
