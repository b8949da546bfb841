"""How far probabilities are from what happens, and how far a perfect predictor's would seem to be on as many rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.evaluation.ranking import Ranking

Floats = npt.NDArray[np.floating]

BINS = 15
SIMULATIONS = 1000
CONFIDENCE = 0.95
# Rows of simulated labels held at once: some tens of megabytes.
_CELLS = 4_000_000


def bin_means(
    probabilities: Floats, labels: Floats, weights: Floats, *, bins: int = BINS
) -> tuple[Floats, Floats]:
    """Mean probability and mean label of equal-mass bins, each (..., bins), the least probabilities first.

    A row that lies on an edge counts in both bins in proportion, and equal probabilities are averaged: no order of the
    rows changes the result.

    Args:
        probabilities: (n,).
        labels: (n,) or (..., n), in [0, 1].
        weights: (..., n).
        bins: their number.
    """
    ranking = Ranking(-probabilities)
    mass = np.cumsum(ranking.sums(weights), axis=-1)
    sums = [np.cumsum(ranking.sums(weights * values), axis=-1) for values in (probabilities, labels)]
    lead = np.broadcast_shapes(mass.shape[:-1], sums[1].shape[:-1])
    edges = np.linspace(0, 1, bins + 1)
    means = [np.empty((*lead, bins)) for _ in sums]
    for at in np.ndindex(*lead):
        own = np.concatenate([[0.0], np.broadcast_to(mass, (*lead, mass.shape[-1]))[at]])
        for result, cumulated in zip(means, sums, strict=True):
            values = np.concatenate([[0.0], np.broadcast_to(cumulated, (*lead, cumulated.shape[-1]))[at]])
            result[at] = np.diff(np.interp(edges * own[-1], own, values)) / (own[-1] / bins)
    return means[0], means[1]


def calibration_error(probabilities: Floats, labels: Floats, weights: Floats, *, bins: int = BINS) -> Floats:
    """ECE over equal-mass bins: the mean of |mean probability - mean label| (Naeini et al. 2015)."""
    predicted, observed = bin_means(probabilities, labels, weights, bins=bins)
    result: Floats = np.abs(predicted - observed).mean(axis=-1)
    return result


def perfect_calibration_bound(
    probabilities: Floats,
    weights: Floats,
    *,
    bins: int = BINS,
    simulations: int = SIMULATIONS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> float:
    """The ECE below which a perfectly calibrated predictor stays with this confidence, on these very probabilities.

    Labels are drawn from the probabilities themselves, so that all the error there is comes of the number of rows.
    """
    source = np.random.default_rng(seed)
    step = max(1, _CELLS // len(probabilities))
    errors = [
        calibration_error(
            probabilities,
            (source.random((min(step, simulations - first), len(probabilities))) < probabilities).astype(
                np.float64
            ),
            weights,
            bins=bins,
        )
        for first in range(0, simulations, step)
    ]
    return float(np.quantile(np.concatenate(errors), confidence))
