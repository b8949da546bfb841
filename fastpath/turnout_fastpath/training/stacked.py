"""Heads fitted on top of a bundle: its table, tasks and sense of the unfamiliar stay, and so does what it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.bundle import Bundle
from turnout_fastpath.training.bundle_report import Before
from turnout_fastpath.training.bundle_scores import BundleScores
from turnout_fastpath.training.calibrating import apply_curves
from turnout_fastpath.training.engine_check import curves_of
from turnout_fastpath.training.head_export import ScoreMap
from turnout_fastpath.training.heads import Columns, Head, Target, fit_head, standardise
from turnout_fastpath.training.linear_fits import Reals
from turnout_fastpath.training.net import standardisation
from turnout_fastpath.training.outputs import Outputs
from turnout_fastpath.training.tiers import TierLabels

Floats = npt.NDArray[np.float32]

LENGTH_FEATURE = "tokens"
# Of the rows, by each measure.
ABSTAIN_SHARE = 0.01


@dataclass(frozen=True, eq=False)
class Stacked:
    """Heads over a bundle's scores.

    Attributes:
        score_map: from the bundle's scores and inputs to the new scores.
        outputs: layout of the new scores.
        own_heads: for each new head the bundle's head that it starts from; None if it starts from nothing.
        shares, gains: for each new head how its logit and its gain were fitted.
    """

    score_map: ScoreMap
    outputs: Outputs
    own_heads: tuple[int | None, ...]
    shares: tuple[Head, ...]
    gains: tuple[Head, ...]

    @property
    def fits(self) -> list[tuple[str, str]]:
        """For people: how the logit and the gain of each head were fitted."""
        return [
            (share.candidate.label, gain.candidate.label)
            for share, gain in zip(self.shares, self.gains, strict=True)
        ]


def stack_heads(
    bundle: Bundle,
    scored: BundleScores,
    labels: TierLabels,
    weights: Reals,
    groups: npt.NDArray[np.str_],
    *,
    keep: bool,
    report: Callable[[str], None] = print,
) -> Stacked:
    """Fits a logit and a gain for each tier below the top.

    Args:
        bundle: what they stand on.
        scored: the rows through it.
        labels: of the rows.
        weights, groups: (n,).
        keep: heads start from the bundle's own; else from nothing.
        report: is told what is chosen.
    """
    own, outputs = scored.outputs, Outputs(scored.outputs.n_tasks, len(labels.heads))
    scaling = standardisation(scored.inputs, weights.astype(np.float32))
    mean, scale = (part.astype(np.float64) for part in scaling)
    inputs = [entry["feature"] for entry in bundle.manifest["inputs"]]
    columns = Columns(
        own=scored.scores[:, own.logits.start : own.gains.stop].astype(np.float64)[
            :, : 2 * own.n_heads * keep
        ],
        inputs=standardise(scored.inputs.astype(np.float64), mean, scale),
        n_features=len(inputs),
        length=inputs.index(LENGTH_FEATURE) if LENGTH_FEATURE in inputs else 0,
    )
    own_heads = match_heads(bundle.heads, labels.heads) if keep else (None,) * len(labels.heads)
    width = scored.inputs.shape[1]
    carried = np.zeros((own.n_scores, outputs.n_scores))
    added, constants = np.zeros((width, outputs.n_scores)), np.zeros(outputs.n_scores)
    for task in range(own.n_tasks):
        carried[task, task] = 1
    carried[-1, -1] = 1
    shares, gains = [], []
    for i, head in enumerate(labels.heads):
        of = own_heads[i]
        share = fit_head(columns, of, labels.suffices[:, i], weights, groups, Target.SHARE)
        gain = fit_head(
            columns,
            None if of is None else own.n_heads + of,
            labels.gains[:, i],
            weights,
            groups,
            Target.GAIN,
        )
        report(f"{head}: p_sufficient {share.candidate.label}; gain {gain.candidate.label}")
        for column, fitted in ((outputs.logits.start + i, share), (outputs.gains.start + i, gain)):
            carried[own.logits.start : own.logits.start + len(fitted.own), column] = fitted.own
            added[:, column] = fitted.inputs
            constants[column] = fitted.constant
        shares.append(share)
        gains.append(gain)
    score_map = ScoreMap(mean, scale, carried, added, constants)
    return Stacked(score_map, outputs, own_heads, tuple(shares), tuple(gains))


def match_heads(own: Sequence[str], new: Sequence[str]) -> tuple[int, ...]:
    """For each new head the own one that it starts from: of its name, else of its place from the cheapest."""
    if set(new) <= set(own):
        return tuple(own.index(name) for name in new)
    steps = max(len(new) - 1, 1)
    return tuple(round(i * (len(own) - 1) / steps) for i in range(len(new)))


def cross_validated(stacked: Stacked, scored: BundleScores) -> Floats:
    """(n, scores) new scores, with the heads' cross-validated outputs where rows have labels."""
    scores = stacked.score_map.apply(scored.inputs, scored.scores)
    for i, (share, gain) in enumerate(zip(stacked.shares, stacked.gains, strict=True)):
        for column, fitted in (
            (stacked.outputs.logits.start + i, share),
            (stacked.outputs.gains.start + i, gain),
        ):
            known = ~np.isnan(fitted.predictions)
            scores[known, column] = fitted.predictions[known]
    return scores.astype(np.float32)


def before_of(bundle: Bundle, scored: BundleScores, own_heads: Sequence[int | None]) -> Before | None:
    """What the bundle itself says of the rows; None if heads start from nothing."""
    heads = [of for of in own_heads if of is not None]
    if not heads:
        return None
    outputs, scores = scored.outputs, scored.scores.astype(np.float64)
    return Before(
        p=[
            apply_curves(curves_of(bundle, of), scores[:, outputs.logits.start + of], scored.tasks)
            for of in heads
        ],
        gains=[scores[:, outputs.gains.start + of] for of in heads],
    )


def loosened_abstention(bundle: Bundle, scored: BundleScores) -> dict[str, float]:
    """The bundle's thresholds, moved so that no measure makes more than ABSTAIN_SHARE of these rows abstain.

    The rows are the user's own traffic: what is common in it is familiar by definition.
    """
    abstain = dict(bundle.manifest["abstain"])
    unknown_share, _, cosine = scored.inputs[:, -3:].T.astype(np.float64)
    quantile = 1 - ABSTAIN_SHARE
    abstain["unfamiliar_logit"] = max(
        abstain["unfamiliar_logit"], float(np.quantile(scored.scores[:, -1], quantile))
    )
    abstain["unknown_share"] = max(abstain["unknown_share"], float(np.quantile(unknown_share, quantile)))
    abstain["cluster_cosine"] = min(abstain["cluster_cosine"], float(np.quantile(cosine, 1 - quantile)))
    return abstain
