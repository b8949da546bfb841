"""What every router is measured beside: wishes that need no router."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

FOLDS = 5
# A category's mean is pulled towards that of all rows by so many rows.
PRIOR_ROWS = 10.0


def random_wish(n: int) -> Floats:
    """Equal wishes, whose average over all orders is the expectation of a coin: APGR .5 without noise."""
    return np.zeros(n)


def length_wish(texts: Sequence[str]) -> Floats:
    """Longer prompts to the strong model, by characters."""
    return np.array([len(text) for text in texts], np.float64)


def category_means(
    values: Floats,
    categories: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_],
    weights: Floats,
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> Floats:
    """(n,) the mean of `values` over rows of the same category in other folds; groups stay whole.

    It needs labels and the category, so no router can be it; it shows what knowing the subject alone is worth.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    fold_of = (np.random.default_rng(seed).permutation(len(names)) % folds)[group_of]
    _, category_of = np.unique(categories, return_inverse=True)
    size = int(category_of.max()) + 1
    result = np.empty(len(values))
    for fold in range(folds):
        rest, own = fold_of != fold, fold_of == fold
        if not rest.any():
            result[own] = 0.0
            continue
        overall = weights[rest] @ values[rest] / weights[rest].sum()
        mass = np.bincount(category_of[rest], weights[rest], minlength=size)
        sums = np.bincount(category_of[rest], weights[rest] * values[rest], minlength=size)
        result[own] = ((sums + PRIOR_ROWS * overall) / (mass + PRIOR_ROWS))[category_of[own]]
    return result


def trust_by_rank(wish: Floats, suffices: Floats) -> Floats:
    """(n, tiers - 1) trust of a wish that says nothing of tiers, for the cost-quality curve.

    The row at rank r of n (0: the least wish) trusts a tier as if the share of rows that need more than the tier were
    the ones with the greatest wishes: 1 - r scaled by the tier's own rate.

    Args:
        wish: (n,).
        suffices: (tiers - 1,) share of rows for which each tier suffices.
    """
    order = np.argsort(np.argsort(wish, kind="stable"), kind="stable")
    rank = (order + 0.5) / len(wish)
    # The odds of a tier's rate, moved by the rank's: monotone in both, so each tier keeps the wish's own order.
    odds = np.log(np.clip(suffices, 1e-3, 1 - 1e-3) / (1 - np.clip(suffices, 1e-3, 1 - 1e-3)))
    logits = odds[None, :] - np.log(rank / (1 - rank))[:, None]
    result: Floats = 1 / (1 + np.exp(-logits))
    return result
