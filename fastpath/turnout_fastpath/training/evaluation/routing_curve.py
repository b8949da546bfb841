"""One pair of models: PGR over the share of strong calls, its area APGR, CPT, and RouteLLM's protocol."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.evaluation.ranking import Ranking

Floats = npt.NDArray[np.floating]

# A sum of thousands of scores may miss the round number that it stands for by this much.
ROUNDING = 1e-9
DECILES = 10


def curve(ranking: Ranking, gains: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The curve's corners: shares of strong calls and the PGR reached there, each (..., ties + 1), from (0, 0).

    Args:
        ranking: the rows' order.
        gains: (n,) strong score - weak score.
        weights: (..., n).

    Returns:
        PGR is NaN where the strong model adds nothing to the mean score: there is no gap to recover.
    """
    mass, added = ranking.sums(weights), ranking.sums(weights * gains)
    total = added.sum(axis=-1, keepdims=True)
    total = np.where(total > ROUNDING, total, np.nan)
    start = np.zeros((*mass.shape[:-1], 1))
    shares = np.concatenate([start, np.cumsum(mass, axis=-1) / mass.sum(axis=-1, keepdims=True)], axis=-1)
    recovered = np.concatenate([start * total, np.cumsum(added, axis=-1) / total], axis=-1)
    return shares, recovered


def apgr(ranking: Ranking, gains: Floats, weights: Floats) -> Floats:
    """Area under PGR(c) over c in [0, 1], exact over all thresholds, ties averaged; arguments as of `curve`."""
    return _area(*curve(ranking, gains, weights))


def cpt(ranking: Ranking, gains: Floats, weights: Floats, level: float) -> Floats:
    """The least share of strong calls, in percent, at which PGR reaches `level`, 0 to 1; arguments as of `curve`."""
    shares, recovered = curve(ranking, gains, weights)
    reached = recovered >= level - ROUNDING
    at = np.maximum(reached.argmax(axis=-1), 1)[..., None]
    c0, c1 = (np.take_along_axis(shares, at - 1 + i, -1)[..., 0] for i in range(2))
    p0, p1 = (np.take_along_axis(recovered, at - 1 + i, -1)[..., 0] for i in range(2))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(p1 > p0, np.clip((level - p0) / (p1 - p0), 0, 1), 1.0)
    result: Floats = np.where(reached.any(axis=-1), 100 * (c0 + part * (c1 - c0)), np.nan)
    return result


def decile_curve(wish: Floats, gains: Floats) -> tuple[Floats, Floats]:
    """Shares and PGR at the thresholds of RouteLLM's evaluation: the 11 decile edges of the wishes.

    At a threshold every row whose wish is at least as great goes to the strong model.
    """
    thresholds = np.unique(np.quantile(wish, np.linspace(0, 1, DECILES + 1)))[::-1]
    strong = wish[None, :] >= thresholds[:, None]
    total = gains.sum()
    total = total if total > ROUNDING else np.nan
    return strong.mean(axis=1), (strong * gains).sum(axis=1) / total


def decile_apgr(wish: Floats, gains: Floats) -> float:
    """APGR as RouteLLM's evaluation computes it: the trapezoid over `decile_curve`, by the width that it spans.

    The source is `routellm/evals/evaluate.py` of lm-sys/RouteLLM; on thousands of rows it differs from `apgr` by .003.
    """
    shares, recovered = decile_curve(wish, gains)
    width = shares[-1] - shares[0]
    # One threshold alone: all wishes are equal, and the router is a coin.
    return float(_area(shares, recovered) / width) if width > 0 else 0.5


def _area(x: Floats, y: Floats) -> Floats:
    result: Floats = ((x[..., 1:] - x[..., :-1]) * (y[..., 1:] + y[..., :-1]) / 2).sum(axis=-1)
    return result
