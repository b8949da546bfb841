"""Intervals: groups of rows drawn again with replacement, all replicates of a measure at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Statistic = Callable[[Floats], Floats]

REPLICATES = 1000
LEVEL = 0.95
# Weights held at once: some tens of megabytes.
_CELLS = 4_000_000


@dataclass(frozen=True)
class Figure:
    """A measured value and its interval; NaN where the rows do not tell.

    Attributes:
        value: on all rows.
        low, high: the bootstrap's quantiles, by percentile (Efron 1979).
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class GroupBootstrap:
    """Draws whole groups, so that rows that lean on each other are drawn or left out together."""

    def __init__(
        self,
        groups: npt.NDArray[np.str_],
        weights: Floats | None = None,
        *,
        replicates: int = REPLICATES,
        level: float = LEVEL,
        seed: int = 0,
    ) -> None:
        """Rows of equal `groups`, (n,), stand together; `weights`, (n,), are 1 unless given."""
        names, self._group_of = np.unique(groups, return_inverse=True)
        self.n_groups = len(names)
        self.weights = np.ones(len(groups)) if weights is None else np.asarray(weights, np.float64)
        self._replicates = replicates
        self._level = level
        self._seed = seed

    def replicates(self, statistic: Statistic) -> Floats:
        """(replicates, ...) of a statistic that maps weights (b, n) to (b, ...)."""
        source = np.random.default_rng(self._seed)
        step = max(1, _CELLS // len(self.weights))
        parts = []
        for first in range(0, self._replicates, step):
            size = min(step, self._replicates - first)
            drawn = source.integers(0, self.n_groups, (size, self.n_groups))
            cells = drawn + self.n_groups * np.arange(size)[:, None]
            counts = np.bincount(cells.ravel(), minlength=size * self.n_groups).reshape(size, -1)
            parts.append(statistic(counts[:, self._group_of] * self.weights))
        return np.concatenate(parts)

    def figure(self, statistic: Statistic) -> Figure:
        """Value and two-sided interval of a statistic that maps weights (b, n) to (b,).

        Replicates that leave the statistic undefined, say because no positive row was drawn, are left out.
        """
        (found,) = self.figures(lambda weights: statistic(weights)[:, None])
        return found

    def figures(self, statistic: Statistic) -> list[Figure]:
        """Values and intervals of several statistics at once, that map weights (b, n) to (b, k)."""
        values = statistic(self.weights[None, :])[0]
        tail = (1 - self._level) / 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # nanquantile of nothing is NaN, as it should be
            low, high = np.nanquantile(self.replicates(statistic), [tail, 1 - tail], axis=0)
        return [Figure(*map(float, one)) for one in zip(values, low, high, strict=True)]

    def mean(self, values: Floats) -> Figure:
        """Weighted mean of (n,) values."""
        return self.figure(lambda weights: (weights @ values) / weights.sum(axis=-1))
