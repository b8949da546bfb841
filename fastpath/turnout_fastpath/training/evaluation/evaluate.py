"""What a bundle and a policy are worth on labelled rows: the report of `turnout evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.engine import Engine
from turnout_fastpath.training.evaluation.bootstrap import REPLICATES, Figure, GroupBootstrap
from turnout_fastpath.training.evaluation.bucket_recall import BucketRecall, recall_members
from turnout_fastpath.training.evaluation.curve_measures import CurveRows, TierCurves, measure_curves
from turnout_fastpath.training.evaluation.decided_rows import DecidedRows
from turnout_fastpath.training.evaluation.pair_measures import PairMeasures, PairRows, measure_pair
from turnout_fastpath.training.evaluation.seen_rows import SeenRows
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.tiers import Tier, TierError, TierLabels, label_tiers

Reals = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ALL = "all"
# Parts with fewer groups are not measured: their intervals would say nothing.
LEAST_GROUPS = 30
QUALITY = 0.97


@dataclass(frozen=True)
class AsDecided:
    """What the policy's own decisions cost and score, on rows of which the decided tier's score is known.

    Attributes:
        rows: their number.
        unscored: further rows, decided for a tier of which there is no score.
        score, top_score: mean score of the decided tier, and of the top tier on the same rows.
        cost, top_cost: mean US dollars, or the unit of `--prices`; NaN without a price.
        shares: of the rows, by decided tier.
        abstained: share of the rows.
    """

    rows: int
    unscored: int
    score: Figure
    top_score: Figure
    cost: Figure
    top_cost: Figure
    shares: dict[str, float]
    abstained: float


@dataclass(frozen=True)
class Evaluation:
    """Everything that is measured; by part: all rows, each source, each task.

    Attributes:
        facts: what was measured, on what, and how: for people and for the record.
        warnings: what makes the figures say less than they seem to.
        pairs: by tier below the top, by part.
        curves: by part; only rows of which every tier's score and cost are known.
        as_decided: by part.
        hard_to_top: share of the rows that only the top tier gets right which go to it.
        buckets: of the policy.
    """

    facts: dict[str, Any]
    warnings: tuple[str, ...]
    pairs: dict[str, dict[str, PairMeasures]]
    curves: dict[str, TierCurves]
    as_decided: dict[str, AsDecided]
    hard_to_top: Figure | None
    buckets: tuple[BucketRecall, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, NaN as None."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def evaluate(
    engine: Engine,
    data: LabelledData,
    tiers: Sequence[Tier],
    decided: DecidedRows,
    seen: SeenRows,
    *,
    prices: Mapping[str, float] | None = None,
    quality: float = QUALITY,
    replicates: int = REPLICATES,
    report: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Measures decisions against labels.

    Args:
        engine: the one that decided, or that prices and buckets are taken from.
        data: the labelled rows.
        tiers: of the labels, the cheapest first.
        decided: what was decided of each row.
        seen: which rows the bundle was trained on.
        prices: cost of a call by tier, in place of recorded and estimated costs.
        quality: share of always-top's score at which savings are stated.
        replicates: of the bootstrap.
        report: is told what is being measured.
    """
    labels = label_tiers(data, tiers)
    labels = replace(labels, costs=costs_of(labels, decided, prices))
    weights = data.weights / data.propensities
    warnings = [line for line in (seen.describe(),) if line]
    parts = dict(_parts(data))
    pairs: dict[str, dict[str, PairMeasures]] = {}
    for t, tier in enumerate(labels.tiers[:-1]):
        rows = _pair_rows(data, labels, decided, weights, t)
        known = ~np.isnan(labels.gains[:, t])
        for part, own in parts.items():
            chosen = own[known]
            if len(np.unique(rows.groups[chosen])) >= LEAST_GROUPS:
                report(f"{tier.name} against {labels.tiers[-1].name}: {part}")
                measured = measure_pair(rows.take(chosen), replicates=replicates)
                pairs.setdefault(tier.name, {})[part] = measured
    complete: Mask = np.asarray(~np.isnan(np.hstack([labels.scores, labels.costs])).any(axis=1))
    curves: dict[str, TierCurves] = {}
    if complete.any():
        every = _curve_rows(data, labels, decided, weights).take(complete)
        for part, own in parts.items():
            chosen = own[complete]
            if len(np.unique(every.groups[chosen])) >= LEAST_GROUPS:
                report(f"cost and quality of {len(labels.tiers)} tiers: {part}")
                curves[part] = measure_curves(
                    every.take(chosen), decided.tiers, quality=quality, replicates=replicates
                )
    return Evaluation(
        facts=_facts(engine, data, labels, seen),
        warnings=tuple(warnings),
        pairs=pairs,
        curves=curves,
        as_decided={
            part: _as_decided(labels, decided, data.groups, weights, own, replicates)
            for part, own in parts.items()
        },
        hard_to_top=_hard_to_top(labels, decided, data.groups, weights, replicates),
        buckets=tuple(recall_members(engine)),
    )


def _parts(data: LabelledData) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    yield ALL, np.ones(len(data), np.bool_)
    for kind, names in (("source", data.sources), ("task", data.tasks)):
        found = np.unique(names[names != ""])
        if len(found) > 1:
            for name in found:
                yield f"{kind} {name}", names == name


def costs_of(labels: TierLabels, decided: DecidedRows, prices: Mapping[str, float] | None) -> Reals:
    """(n, tiers) as told, else as recorded where every tier of the row is, else as estimated."""
    if prices is not None:
        if missing := [tier.name for tier in labels.tiers if tier.name not in prices]:
            raise TierError(f"no price of {', '.join(missing)}; given: {', '.join(prices)}")
        return np.tile([prices[tier.name] for tier in labels.tiers], (len(decided), 1))
    recorded: Mask = np.asarray(~np.isnan(labels.costs).any(axis=1))
    result: Reals = np.where(recorded[:, None], labels.costs, decided.costs)
    return result


def _pair_rows(
    data: LabelledData, labels: TierLabels, decided: DecidedRows, weights: Reals, tier: int
) -> PairRows:
    known: Mask = ~np.isnan(labels.gains[:, tier])
    return PairRows(
        gains=labels.gains[known, tier],
        suffices=labels.suffices[known, tier],
        weak=labels.scores[known, tier],
        strong=labels.scores[known, -1],
        expected_gain=decided.gains[known, tier],
        trust=decided.trust[known, tier],
        texts=data.texts[known],
        categories=_categories(data)[known],
        groups=data.groups[known],
        weights=weights[known],
    )


def _curve_rows(data: LabelledData, labels: TierLabels, decided: DecidedRows, weights: Reals) -> CurveRows:
    return CurveRows(
        scores=labels.scores,
        costs=labels.costs,
        suffices=labels.suffices,
        expected_gains=decided.gains,
        trust=decided.trust,
        texts=data.texts,
        categories=_categories(data),
        groups=data.groups,
        weights=weights,
    )


def _categories(data: LabelledData) -> npt.NDArray[np.str_]:
    """Categories within their source; the task where there is none."""
    own = np.where(data.categories == "", data.tasks, data.categories)
    result: npt.NDArray[np.str_] = np.char.add(np.char.add(data.sources, "/"), own)
    return result


def _as_decided(
    labels: TierLabels,
    decided: DecidedRows,
    groups: npt.NDArray[np.str_],
    weights: Reals,
    part: npt.NDArray[np.bool_],
    replicates: int,
) -> AsDecided:
    at = np.maximum(decided.decided, 0)[:, None]
    score = np.take_along_axis(labels.scores, at, 1)[:, 0]
    cost = np.take_along_axis(labels.costs, at, 1)[:, 0]
    known = part & (decided.decided >= 0) & ~np.isnan(score) & ~np.isnan(labels.scores[:, -1])
    if not known.any():
        nothing = Figure(*[float("nan")] * 3)
        return AsDecided(0, int(part.sum()), nothing, nothing, nothing, nothing, {}, float("nan"))
    draws = GroupBootstrap(groups[known], weights[known], replicates=replicates)
    own = weights[known]
    shares = {
        name: float(own[decided.decided[known] == t].sum() / own.sum())
        for t, name in enumerate(decided.tiers)
    }
    return AsDecided(
        rows=int(known.sum()),
        unscored=int((part & ~known).sum()),
        score=draws.mean(score[known]),
        top_score=draws.mean(labels.scores[known, -1]),
        cost=draws.mean(cost[known]),
        top_cost=draws.mean(labels.costs[known, -1]),
        shares=shares,
        abstained=float(np.average(decided.abstained[known], weights=own)),
    )


def _hard_to_top(
    labels: TierLabels,
    decided: DecidedRows,
    groups: npt.NDArray[np.str_],
    weights: Reals,
    replicates: int,
) -> Figure | None:
    """Share of the rows on which no cheaper tier that was tried suffices which go to the top tier."""
    tried = ~np.isnan(labels.suffices)
    hard = tried.any(axis=1) & (np.where(tried, labels.suffices, 0) == 0).all(axis=1)
    if not hard.any():
        return None
    draws = GroupBootstrap(groups[hard], weights[hard], replicates=replicates)
    return draws.mean((decided.decided[hard] == len(decided.tiers) - 1).astype(np.float64))


def _facts(engine: Engine, data: LabelledData, labels: TierLabels, seen: SeenRows) -> dict[str, Any]:
    snapshot = engine.snapshot
    return {
        "bundle": str(snapshot.bundle.path),
        "bundle_revision": snapshot.bundle.revision.hex(),
        "policy_revision": snapshot.policies.revision.hex(),
        "data": str(data.path),
        "data_sha256": data.sha256,
        "rows": len(data),
        "groups": len(np.unique(data.groups)),
        "rows_trained_on": int(seen.seen.sum()) if seen.known else None,
        "tiers": {tier.name: list(tier.models) for tier in labels.tiers},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 6)
    return value
