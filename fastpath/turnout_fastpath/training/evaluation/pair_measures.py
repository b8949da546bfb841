"""One tier against the top: every measure of a pair, for a router and beside the baselines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.evaluation.baselines import category_means, length_wish, random_wish
from turnout_fastpath.training.evaluation.bootstrap import Figure, GroupBootstrap
from turnout_fastpath.training.evaluation.calibration_bound import (
    bin_means,
    calibration_error,
    perfect_calibration_bound,
)
from turnout_fastpath.training.evaluation.ranking import Ranking, auc
from turnout_fastpath.training.evaluation.routing_curve import apgr, cpt, decile_apgr

Reals = npt.NDArray[np.floating[Any]]

# The router's own ways to rank, and the baselines, in the order of the tables.
GAIN, TRUST = "gain", "1 - p_sufficient"
RANDOM, LENGTH, CATEGORY, ORACLE = "random", "prompt length", "category mean", "oracle"


@dataclass(frozen=True, eq=False)
class PairRows:
    """n rows of which a tier's and the top tier's scores are known.

    Attributes:
        gains: (n,) top score - tier score, as recorded.
        suffices: (n,) share of recorded pairs in which the tier suffices.
        weak, strong: (n,) mean scores.
        expected_gain, trust: (n,) what the bundle says.
        texts, categories, groups, weights: (n,).
    """

    gains: Reals
    suffices: Reals
    weak: Reals
    strong: Reals
    expected_gain: Reals
    trust: Reals
    texts: npt.NDArray[np.object_]
    categories: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    weights: Reals

    def __len__(self) -> int:
        return len(self.gains)

    def take(self, rows: npt.NDArray[np.bool_]) -> PairRows:
        """These rows."""
        return PairRows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def wishes(self) -> dict[str, Reals]:
        """Every way to rank, the router's first."""
        found = {
            GAIN: self.expected_gain,
            TRUST: 1 - self.trust,
            RANDOM: random_wish(len(self)),
            LENGTH: length_wish(list(self.texts)),
        }
        if len(np.unique(self.categories)) > 1:
            found[CATEGORY] = category_means(self.gains, self.categories, self.groups, self.weights)
        return found | {ORACLE: self.gains}


@dataclass(frozen=True)
class RankMeasures:
    """What a way to rank is worth."""

    apgr: Figure
    cpt50: Figure
    cpt80: Figure
    auc: Figure
    apgr_by_deciles: float


@dataclass(frozen=True)
class Calibration:
    """How far p_sufficient is from what happened; `bins` are (mean p, mean outcome), the least p first."""

    ece: Figure
    bound: float
    bins: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PairMeasures:
    """A pair on some rows."""

    rows: int
    groups: int
    always_weak: Figure
    always_strong: Figure
    suffices: float
    ranks: dict[str, RankMeasures]
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure_pair(rows: PairRows, *, replicates: int) -> PairMeasures:
    """Every measure of a pair."""
    draws = GroupBootstrap(rows.groups, rows.weights, replicates=replicates)
    needs = rows.gains > 0
    ranks = {}
    for name, wish in rows.wishes().items():
        ranking = Ranking(wish)
        ranks[name] = RankMeasures(
            apgr=draws.figure(lambda weights, r=ranking: apgr(r, rows.gains, weights)),  # type: ignore[misc]
            cpt50=draws.figure(lambda weights, r=ranking: cpt(r, rows.gains, weights, 0.5)),  # type: ignore[misc]
            cpt80=draws.figure(lambda weights, r=ranking: cpt(r, rows.gains, weights, 0.8)),  # type: ignore[misc]
            auc=draws.figure(lambda weights, r=ranking: auc(r, needs, weights)),  # type: ignore[misc]
            apgr_by_deciles=decile_apgr(wish, rows.gains),
        )
    predicted, observed = bin_means(rows.trust, rows.suffices, rows.weights)
    calibration = Calibration(
        ece=draws.figure(lambda weights: calibration_error(rows.trust, rows.suffices, weights)),
        bound=perfect_calibration_bound(rows.trust, rows.weights, simulations=replicates),
        bins=tuple(zip(predicted.tolist(), observed.tolist(), strict=True)),
    )
    return PairMeasures(
        rows=len(rows),
        groups=draws.n_groups,
        always_weak=draws.mean(rows.weak),
        always_strong=draws.mean(rows.strong),
        suffices=float(np.average(rows.suffices, weights=rows.weights)),
        ranks=ranks,
        calibration=calibration,
    )
