"""Tiers over the models of labelled data, and what the data says of each tier below the top."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from turnout_fastpath.training.labelled_data import LabelledData, Reals
from turnout_fastpath.training.public_pairs import GRADED_SLACK, HEAD_MODELS, OTHER_MODELS

MIN_TIERS, MAX_TIERS = 2, 8
DEFAULT_NAMES = ("small", "mid", "frontier")
# The strong models of the public table of pairs; all stand for the top.
PUBLIC_TOP_MODELS = (
    "Meta-Llama-3.1-70B-Instruct",
    "Meta-Llama-3_1-70B-Instruct",
    "claude-3-5-sonnet-20240620",
    "gemini-1.5-pro-002",
    "gpt-4-1106-preview",
    "gpt-4o-2024-08-06",
    "llama-3.1-nemotron-51b-instruct",
)


class TierError(ValueError):
    """Tiers that cannot be: the text names the tier or model, the value and the limit."""


@dataclass(frozen=True)
class Tier:
    """A tier and the models, or columns of the data, that speak for it."""

    name: str
    models: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TierLabels:
    """What n rows say of t tiers, cheapest first; the top tier is the reference and has no head.

    Attributes:
        tiers: (t,).
        scores, costs: (n, t) mean over the tier's models that were tried; NaN where none was.
        suffices: (n, t - 1) share of the pairs (a model of the tier, a model of the top tier) in which the cheaper one
            suffices; NaN where there is no pair.
        gains: (n, t - 1) mean of top score - tier score over the same pairs.
    """

    tiers: tuple[Tier, ...]
    scores: Reals
    costs: Reals
    suffices: Reals
    gains: Reals

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the tiers below the top."""
        return tuple(tier.name for tier in self.tiers[:-1])


def parse_tiers(values: Iterable[str]) -> tuple[Tier, ...]:
    """Tiers from the command line, cheapest first.

    Args:
        values: each "small=modelA,modelB" (several may stand in one text, blanks between), or "small,mid,frontier", where
            tiers are named as the columns of the data.

    Raises:
        TierError: too few or too many tiers, a name given twice, a tier without models.
    """
    tiers: list[Tier] = []
    for part in " ".join(values).split():
        name, equals, models = part.partition("=")
        if equals:
            tiers.append(Tier(name, tuple(model for model in models.split(",") if model)))
        else:
            tiers += [Tier(name, (name,)) for name in part.split(",") if name]
    names = [tier.name for tier in tiers]
    owners: dict[str, str] = {}
    for tier in tiers:
        if not tier.name or not tier.models:
            raise TierError(
                f"tier {tier.name!r} has models {list(tier.models)}, needed: a name and one model at least"
            )
        for model in tier.models:
            if owners.setdefault(model, tier.name) != tier.name:
                raise TierError(
                    f"model {model!r} is in the tiers {owners[model]!r} and {tier.name!r}, limit: one tier"
                )
    if len(set(names)) < len(names):
        raise TierError(f"tiers {', '.join(names)}: a name stands twice")
    if not MIN_TIERS <= len(tiers) <= MAX_TIERS:
        raise TierError(
            f"{len(tiers)} tiers ({', '.join(names)}), needed: {MIN_TIERS} to {MAX_TIERS}, cheapest first"
        )
    return tuple(tiers)


def tiers_of(
    data: LabelledData, given: Sequence[Tier] = (), *, known: Sequence[str] = DEFAULT_NAMES
) -> tuple[Tier, ...]:
    """The tiers to work with.

    Args:
        data: what they are to fit.
        given: as the user named them; empty means: those of the public table of pairs, or tiers named as in `known`.
        known: names of tiers, cheapest first, that columns may have.

    Raises:
        TierError: the data lacks a model that a tier names, or no tiers are given and none can be inferred.
        DataError: a tier is named as a column, and the data has a column that is no tier.
    """
    if not given:
        public = {**HEAD_MODELS, "frontier": PUBLIC_TOP_MODELS}
        recorded = {model for models in public.values() for model in models}
        if recorded & set(data.models) and set(data.models) <= recorded | set(OTHER_MODELS):
            inferred = [
                Tier(name, tuple(m for m in models if m in data.models)) for name, models in public.items()
            ]
        elif set(data.models) <= set(known):
            inferred = [Tier(name, (name,)) for name in known if name in data.models]
        else:
            names = ", ".join(data.models)
            raise TierError(
                f"no tiers given, and the data's columns are {names}; say which stand for which tier"
            )
        given = [tier for tier in inferred if tier.models]
        if len(given) < MIN_TIERS:
            raise TierError(
                f"{data.path}: scores of {', '.join(data.models)} alone, needed: two tiers at least"
            )
    for tier in given:
        for model in tier.models:
            if model not in data.models:
                raise TierError(
                    f"tier {tier.name!r} names {model!r}, which {data.path} has no scores of; "
                    f"it has: {', '.join(data.models)}"
                )
    if all(tier.models == (tier.name,) for tier in given):
        known_names = [tier.name for tier in given]
        for column, model in enumerate(data.models):
            if model not in known_names:
                row = int(
                    np.flatnonzero(~np.isnan(data.scores[:, column]) | ~np.isnan(data.costs[:, column]))[0]
                )
                value = data.scores[row, column]
                raise data.defect(
                    f"{value:g} is of no tier, known: {', '.join(known_names)}",
                    column=f"scores.{model}",
                    row=row,
                )
    return tuple(given)


def label_tiers(data: LabelledData, tiers: Sequence[Tier]) -> TierLabels:
    """Labels of every tier; see `TierLabels`."""
    columns = [[data.models.index(model) for model in tier.models] for tier in tiers]
    suffices, gains = (np.full((len(data), len(tiers) - 1), np.nan) for _ in range(2))
    for head, own in enumerate(columns[:-1]):
        weak, strong = data.scores[:, own, None], data.scores[:, None, columns[-1]]
        gain = strong - weak
        exact = np.isin(weak, (0.0, 1.0)) & np.isin(strong, (0.0, 1.0))
        # Rounding of the difference of two graded scores must not decide.
        enough = np.where(exact, gain <= 0, gain <= GRADED_SLACK + 1e-9)
        suffices[:, head] = _mean(np.where(np.isnan(gain), np.nan, enough).reshape(len(data), -1))
        gains[:, head] = _mean(gain.reshape(len(data), -1))
    return TierLabels(
        tiers=tuple(tiers),
        scores=np.stack([_mean(data.scores[:, own]) for own in columns], axis=1),
        costs=np.stack([_mean(data.costs[:, own]) for own in columns], axis=1),
        suffices=suffices,
        gains=gains,
    )


def _mean(values: Reals) -> Reals:
    """(n,) mean over the columns that are known; NaN where none is."""
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    return np.where(n > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(n, 1), np.nan)
