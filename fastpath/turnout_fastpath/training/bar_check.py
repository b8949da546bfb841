"""Solved bars, decided again by the compiled engine: with nothing but the bars, or within the operator's policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from turnout_fastpath.bundle import Bundle
from turnout_fastpath.decision import Status
from turnout_fastpath.engine import Engine
from turnout_fastpath.errors import RouteError
from turnout_fastpath.training.bars import Bars, Integers, Outcome, Traffic, outcome, place
from turnout_fastpath.training.bundle_scores import BundleScores, probe_policy, score_data
from turnout_fastpath.training.calibrating import apply_curves
from turnout_fastpath.training.engine_check import curves_of
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.linear_fits import Reals

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Checked:
    """What the engine does with bars.

    Attributes:
        outcome: over the rows with text that it decided.
        rows: how many those are.
        abstained: share of them on which it abstains, which the policy's safe tier serves.
        disagreements: rows that go elsewhere than the solver's rule says, abstentions apart; None within a policy, whose
            rules act as well.
    """

    outcome: Outcome
    rows: int
    abstained: float
    disagreements: int | None


def check_bars(
    bundle: Bundle, data: LabelledData, traffic: Traffic, bars: Bars, document: Document | None = None
) -> Checked:
    """Decides the traffic again.

    Args:
        bundle: with the calibration that the bars were solved for.
        data, traffic: the rows.
        bars: solved.
        document: a resolved policy whose default policy's bars are replaced; None means a policy of nothing but bars.

    Raises:
        PolicyError: the document does not fit the bundle.
    """
    if document is None:
        document = probe_policy(bundle.heads, traffic.tiers[-1], bars.policy())
        within_policy = False
    else:
        document = _with_bars(document, bars, traffic.tiers[-1])
        within_policy = True
    engine = Engine.load(bundle, document)
    numbers = _tier_numbers(document, traffic)
    rows, placed, abstained = [], [], []
    for i in range(len(data)):
        request = data.request(i)
        if request is None:
            continue
        try:
            decision = engine.decide(request)
        except RouteError:
            # No deployment of the operator's fits the request: it is not traffic of these bars.
            continue
        rows.append(i)
        placed.append(numbers[decision.tier])
        abstained.append(decision.status is Status.ABSTAINED)
    if not rows:
        raise data.defect("no row with text that the engine decides, needed: one at least", column="prompt")
    own = traffic.take(np.array(rows, np.intp))
    tiers: Integers = np.array(placed, np.intp)
    disagreements = None
    if not within_policy:
        scored = score_data(bundle, data.take(np.array(rows, np.intp)))
        rule = place(replace(own, p=_probabilities(bundle, scored)), bars)
        disagreements = int(((rule != tiers) & ~np.array(abstained)).sum())
    return Checked(
        outcome(own, tiers), len(rows), float(np.average(abstained, weights=own.weights)), disagreements
    )


def with_estimated_costs(traffic: Traffic, bundle: Bundle, data: LabelledData, document: Document) -> Traffic:
    """The traffic with the engine's cost estimates, by the policy's prices, in place of all that the data says of costs.

    Estimates and recorded costs are not mixed: a tier that has only the one would look cheaper than it is.
    """
    engine = Engine.load(bundle, document)
    numbers = _tier_numbers(document, traffic)
    costs = np.full(traffic.costs.shape, np.nan)
    for i in range(len(data)):
        request = data.request(i)
        if request is None:
            continue
        try:
            candidates = engine.decide(request).candidates
        except RouteError:
            continue
        for candidate in candidates:
            if candidate.estimated_cost_usd is not None:
                costs[i, numbers[candidate.tier]] = candidate.estimated_cost_usd
    return replace(traffic, costs=costs)


def tier_names(document: Document, top: str) -> dict[str, str]:
    """The policy's tier for each head, and for the top."""
    return {tier["head"] or top: tier["name"] for tier in document["tiers"]}


def _tier_numbers(document: Document, traffic: Traffic) -> dict[str, int]:
    return {name: traffic.tiers.index(head) for head, name in tier_names(document, traffic.tiers[-1]).items()}


def _with_bars(document: Document, bars: Bars, top: str) -> dict[str, Any]:
    names = tier_names(document, top)
    renamed = Bars(bars.default, {names[head]: gain for head, gain in bars.max_gain.items() if head in names})
    default = document["default_policy"]
    policy = dict(document["policies"][default]) | {"bars": renamed.policy()}
    return dict(document) | {"policies": dict(document["policies"]) | {default: policy}}


def _probabilities(bundle: Bundle, scored: BundleScores) -> Reals:
    logits = scored.scores[:, scored.outputs.logits].astype(np.float64)
    return np.stack(
        [apply_curves(curves_of(bundle, i), logits[:, i], scored.tasks) for i in range(len(bundle.heads))],
        axis=1,
    )
