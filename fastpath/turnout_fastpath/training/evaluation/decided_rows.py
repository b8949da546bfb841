"""Labelled rows as an engine decides them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.decision import Decision, ReasonKind, Status
from turnout_fastpath.engine import Engine
from turnout_fastpath.errors import RouteError
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.tiers import Tier, TierError

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DecidedRows:
    """What an engine said of n rows, for t tiers, the cheapest first.

    Attributes:
        tiers: names of the tiers.
        decided: (n,) number of the decided tier, -1 where the policy decided for a tier that is not among them.
        trust: (n, t - 1) p_sufficient; 0 where the classifier did not judge, for then the tier is not trusted.
        gains: (n, t - 1) expected gain of the top tier; 1 where the classifier did not judge.
        costs: (n, t) estimated US dollars; NaN without a price.
        tasks: (n,) the task that was seen; empty where none was.
        abstained: (n,) true where the classifier had no ground to judge.
        in_bucket: (n,) true where an exemplar bucket acted.
    """

    tiers: tuple[str, ...]
    decided: npt.NDArray[np.intp]
    trust: Reals
    gains: Reals
    costs: Reals
    tasks: npt.NDArray[np.str_]
    abstained: npt.NDArray[np.bool_]
    in_bucket: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.decided)


def decide_rows(
    engine: Engine,
    data: LabelledData,
    tiers: Sequence[Tier],
    progress: Callable[[int], None] | None = None,
) -> DecidedRows:
    """Decides every row as a caller's request, without session or tenant.

    Args:
        engine: over the bundle and the policy that are measured.
        data: rows with text.
        tiers: of the labels; each is a tier of the policy.
        progress: called with 1 after each row.

    Raises:
        TierError: the policy lacks a tier, or has them in another order.
        DataError: a row has a stored vector and no text, or cannot be decided.
    """
    names = tuple(tier.name for tier in tiers)
    known = list(engine.snapshot.policies.tier_names)
    for name in names:
        if name not in known:
            raise TierError(f"tier {name!r} is not in the policy; it has: {', '.join(known)}")
    if [name for name in known if name in names] != list(names):
        raise TierError(f"tiers {', '.join(names)}, the policy has them in the order {', '.join(known)}")
    decisions = []
    for row in range(len(data)):
        request = data.request(row)
        if request is None:
            raise data.defect("a stored vector, needed: text, which is decided", column="features", row=row)
        try:
            decisions.append(engine.decide(request))
        except RouteError as error:
            raise data.defect(f"cannot be decided: {error}", column="prompt", row=row) from error
        if progress is not None:
            progress(1)
    return lay_out(decisions, names)


def lay_out(decisions: Sequence[Decision], names: tuple[str, ...]) -> DecidedRows:
    """Decisions as columns."""
    n, t = len(decisions), len(names)
    trust, gains, costs = np.zeros((n, t - 1)), np.ones((n, t - 1)), np.full((n, t), np.nan)
    for row, decision in enumerate(decisions):
        for candidate in decision.candidates:
            if candidate.tier not in names:
                continue
            tier = names.index(candidate.tier)
            if candidate.estimated_cost_usd is not None:
                costs[row, tier] = candidate.estimated_cost_usd
            if tier < t - 1 and candidate.p_sufficient is not None:
                trust[row, tier] = candidate.p_sufficient
            if tier < t - 1 and candidate.gain is not None:
                gains[row, tier] = candidate.gain
    return DecidedRows(
        tiers=names,
        decided=np.array([names.index(d.tier) if d.tier in names else -1 for d in decisions], np.intp),
        trust=trust,
        gains=gains,
        costs=costs,
        tasks=np.array([d.task or "" for d in decisions]),
        abstained=np.array([d.status is Status.ABSTAINED for d in decisions]),
        in_bucket=np.array([any(r.kind is ReasonKind.BUCKET for r in d.reasons) for d in decisions]),
    )
