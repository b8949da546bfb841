"""The offline gate: by task, may the tiers below the top have the traffic that a bundle gives them?

What is compared are two decisions of each labelled row: the candidate's and the reference's. By task, over the rows that the
candidate sends below the top tier, the mean difference of score must lie above -delta with 95% confidence. Rows that it
sends to the top lose nothing, and would only hide what the others lose.

The bound is the lower quantile of a one-sided bootstrap over groups, to which one more group is added that loses a whole
score: a sample without a single loss has no spread, and an ordinary bootstrap would let five such rows pass. With it,
lossless rows bound the loss by about 3 / n (the rule of three, Hanley and Lippman-Hand 1983), so that a delta of .02
needs some 150 groups. An exact paired test (McNemar's) would need 0/1 scores and no groups; recorded scores are graded and
questions come in several versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.evaluation.bootstrap import GroupBootstrap
from turnout_fastpath.training.evaluation.decided_rows import DecidedRows
from turnout_fastpath.training.tiers import TierLabels

Reals = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CONFIDENCE = 0.95
REPLICATES = 4000
DELTA = 0.02


class Verdict(StrEnum):
    """What the gate says of a task's cheaper tier."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Cell:
    """One task's traffic to the tiers below the top.

    Attributes:
        tiers: rows by tier.
        rows, groups: compared; the groups are what counts for confidence.
        difference: mean score of the candidate's decision - mean score of the reference's.
        bound: its lower bound with CONFIDENCE.
        saved: share of the reference's cost that is saved; NaN without costs.
    """

    task: str
    tiers: dict[str, int]
    rows: int
    groups: int
    difference: float
    bound: float
    saved: float
    verdict: Verdict
    reason: str


def lower_bound(
    differences: Reals,
    groups: npt.NDArray[np.str_],
    weights: Reals,
    *,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
) -> float:
    """Lower bound of a weighted mean of differences in [-1, 1]; see the module's text."""
    totals = np.bincount(np.unique(groups, return_inverse=True)[1], weights)
    bootstrap = GroupBootstrap(
        # Groups are names: no other bears an empty one, for a file's are never empty.
        np.append(groups, ""),
        np.append(weights, totals.mean()),
        replicates=replicates,
    )
    values = np.append(differences, -1.0)
    means = bootstrap.replicates(lambda own: (own @ values) / own.sum(axis=-1))
    return float(np.quantile(means, 1 - confidence))


def judge(
    labels: TierLabels,
    candidate: DecidedRows,
    reference: DecidedRows | None,
    tasks: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_],
    weights: Reals,
    *,
    delta: float = DELTA,
    replicates: int = REPLICATES,
) -> list[Cell]:
    """A verdict for each task of which the candidate sends rows below the top tier.

    Args:
        labels: scores and costs of every tier.
        candidate, reference: decisions of the same rows; no reference means that everything goes to the top tier.
        tasks, groups, weights: (n,).
        delta: how much mean score may be lost, 0 to 1.
        replicates: of the bootstrap.
    """
    n = len(candidate)
    at = np.full(n, labels.scores.shape[1] - 1) if reference is None else reference.decided
    rows = np.arange(n)
    differences = labels.scores[rows, candidate.decided] - labels.scores[rows, at]
    usable: Mask = (candidate.decided >= 0) & (at >= 0) & ~np.isnan(differences)
    cells = []
    for task in np.unique(tasks):
        own: Mask = usable & (tasks == task) & (candidate.decided < labels.scores.shape[1] - 1)
        if not own.any():
            continue
        difference = float(np.average(differences[own], weights=weights[own]))
        bound = lower_bound(differences[own], groups[own], weights[own], replicates=replicates)
        n_groups = len(np.unique(groups[own]))
        verdict, reason = _decide(difference, bound, int(own.sum()), n_groups, delta)
        below = enumerate(candidate.tiers[:-1])
        cells.append(
            Cell(
                task=str(task),
                tiers={name: int((candidate.decided[own] == tier).sum()) for tier, name in below},
                rows=int(own.sum()),
                groups=n_groups,
                difference=difference,
                bound=bound,
                saved=_saved(labels, own, candidate.decided, at, weights),
                verdict=verdict,
                reason=reason,
            )
        )
    return cells


def _decide(difference: float, bound: float, rows: int, groups: int, delta: float) -> tuple[Verdict, str]:
    measured = f"{difference:+.3f} on {rows} rows of {groups} groups"
    if bound >= -delta:
        reason = f"{measured}, above {bound:+.3f} with {CONFIDENCE:.0%} confidence, limit: {-delta:+.3f}"
        return Verdict.PASSED, reason
    if difference < -delta:
        return Verdict.FAILED, f"{measured}, limit: {-delta:+.3f}"
    reason = f"{measured}, but sure is only that it is above {bound:+.3f}, limit: {-delta:+.3f}; more rows are needed"
    return Verdict.UNDECIDED, reason


def _saved(
    labels: TierLabels,
    own: Mask,
    decided: npt.NDArray[np.intp],
    at: npt.NDArray[np.intp],
    weights: Reals,
) -> float:
    rows = np.flatnonzero(own)
    before, after = labels.costs[rows, at[own]], labels.costs[rows, decided[own]]
    if np.isnan(before).any() or np.isnan(after).any() or not before.sum():
        return float("nan")
    return float(1 - (weights[own] @ after) / (weights[own] @ before))


def passes(cells: Sequence[Cell], *, allow_undecided: bool) -> bool:
    """Whether every task passed, or was undecided where that is allowed; nothing to judge is no pass."""
    allowed = {Verdict.PASSED, Verdict.UNDECIDED} if allow_undecided else {Verdict.PASSED}
    return bool(cells) and all(cell.verdict in allowed for cell in cells)
