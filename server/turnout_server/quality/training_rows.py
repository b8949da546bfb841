"""Rows of labels from outcomes: what each tier's answer was worth, as far as anything that ran anyway can tell.

Sources, the better first, of which a row takes the first that knows two tiers, else the first that knows one:
a shadow that a judge compared with the answer that was served; an ensemble's rewards; a judge's grades, with 0 for what
a gate rejected; a shadow that said the same; gates alone, 0 for what they rejected and 1 for what they let pass.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.gates.verdict import Verdict
from turnout_server.quality.store.outcomes import PAGE, StoredAttempt, StoredOutcome
from turnout_server.quality.store.records import Agreement
from turnout_server.quality.store.schema import COSTS, DECISIONS

NANO = 1_000_000_000
# Of both answers, where neither is better: the scale of comparisons.
AS_GOOD = 0.5
_ANSWERS = (Purpose.SERVE, Purpose.ESCALATE, Purpose.ENSEMBLE)


class LabelSource(StrEnum):
    """What a row's scores come from."""

    SHADOW = "shadow"
    ENSEMBLE = "ensemble"
    JUDGE = "judge"
    AGREEMENT = "agreement"
    GATES = "gates"


@dataclass(frozen=True)
class Label:
    """Scores by tier.

    Attributes:
        source: where they come from.
        scores: 0 to 1.
        propensity: the probability with which these tiers came to be scored, given the tier that was decided.
    """

    source: LabelSource
    scores: Mapping[str, float]
    propensity: float = 1.0


@dataclass
class Export:
    """What was written, and what was not.

    Attributes:
        rows: by source.
        unlabelled: decisions that nothing has scored.
        textless: decisions of which neither text nor a vector of the revision is kept.
    """

    rows: Counter[LabelSource] = field(default_factory=Counter)
    unlabelled: int = 0
    textless: int = 0


def newest_inputs(connection: Connection) -> str:
    """The inputs revision of the newest vector that is kept; empty: there is none."""
    query = select(DECISIONS.c.inputs_revision).where(DECISIONS.c.inputs_revision != "")
    found = connection.execute(query.order_by(DECISIONS.c.at_ms.desc()).limit(1)).scalar()
    return str(found or "")


def training_rows(
    connection: Connection,
    outcomes: Iterable[StoredOutcome],
    sources: Sequence[LabelSource],
    export: Export,
    *,
    inputs_revision: str,
    vectors: bool,
    advance: Callable[[int], None],
) -> Iterator[dict[str, Any]]:
    """Rows that `train` reads, a decision each.

    Args:
        connection: to the store, for costs.
        outcomes: decisions with all that is known of them.
        sources: that may score.
        export: counts what became of them.
        inputs_revision: which vectors may be used; a file holds those of one.
        vectors: whether the vector is used where text is kept too.
        advance: told how many decisions were looked at.
    """
    waiting = iter(outcomes)
    while page := list(islice(waiting, PAGE)):
        costs = _read_costs(connection, [one.decision.decision_id for one in page])
        for outcome in page:
            label = find_label(outcome, sources)
            told = _input(outcome, inputs_revision, vectors=vectors)
            if label is None:
                export.unlabelled += 1
            elif told is None:
                export.textless += 1
            else:
                export.rows[label.source] += 1
                yield _row(outcome, label, told, costs)
        advance(len(page))


def find_label(outcome: StoredOutcome, sources: Sequence[LabelSource]) -> Label | None:
    """The best label of an outcome; None: nothing has scored it."""
    finders = {
        LabelSource.SHADOW: _by_shadow,
        LabelSource.ENSEMBLE: _by_ensemble,
        LabelSource.JUDGE: _by_judge,
        LabelSource.AGREEMENT: _by_agreement,
        LabelSource.GATES: _by_gates,
    }
    found = [label for source, find in finders.items() if source in sources and (label := find(outcome))]
    return next((label for label in found if len(label.scores) > 1), found[0] if found else None)


def _by_shadow(outcome: StoredOutcome) -> Label | None:
    for score in outcome.scores:
        compared = score.other_score is not None and score.other_tier not in ("", score.tier)
        if score.source is Purpose.SHADOW and compared and score.propensity > 0:
            assert score.other_score is not None
            scores = {score.tier: score.score, score.other_tier: score.other_score}
            return Label(LabelSource.SHADOW, scores, score.propensity)
    return None


def _by_ensemble(outcome: StoredOutcome) -> Label | None:
    return _graded(outcome, Purpose.ENSEMBLE, LabelSource.ENSEMBLE)


def _by_judge(outcome: StoredOutcome) -> Label | None:
    label = _graded(outcome, Purpose.JUDGE, LabelSource.JUDGE)
    if label is None:
        return None
    rejected = {one.tier: 0.0 for one in _answers(outcome) if one.result is AttemptResult.REJECTED}
    return Label(label.source, rejected | dict(label.scores), label.propensity)


def _graded(outcome: StoredOutcome, purpose: Purpose, source: LabelSource) -> Label | None:
    """Grades of answers on their own, their mean where a tier has several."""
    grades: dict[str, list[float]] = defaultdict(list)
    propensity = 1.0
    for score in outcome.scores:
        if score.source is purpose and not score.other_tier and score.propensity > 0:
            grades[score.tier].append(score.score)
            # All are drawn by the decision's id, so the rarest tells when all of them are there.
            propensity = min(propensity, score.propensity)
    if not grades:
        return None
    return Label(source, {tier: sum(given) / len(given) for tier, given in grades.items()}, propensity)


def _by_agreement(outcome: StoredOutcome) -> Label | None:
    for one in outcome.comparisons:
        if one.agreement is Agreement.EXACT and one.tier != one.other_tier and one.propensity > 0:
            return Label(LabelSource.AGREEMENT, {one.tier: AS_GOOD, one.other_tier: AS_GOOD}, one.propensity)
    return None


def _by_gates(outcome: StoredOutcome) -> Label | None:
    scores: dict[str, float] = {}
    for one in _answers(outcome):
        passed = one.result is AttemptResult.SERVED and bool(one.verdicts)
        if one.result is AttemptResult.REJECTED:
            scores.setdefault(one.tier, 0.0)
        elif passed and all(said.verdict is Verdict.ACCEPT for said in one.verdicts):
            scores[one.tier] = 1.0
    return Label(LabelSource.GATES, scores) if scores else None


def _answers(outcome: StoredOutcome) -> Iterator[StoredAttempt]:
    return (one for one in outcome.attempts if one.purpose in _ANSWERS and one.tier)


def _input(outcome: StoredOutcome, inputs_revision: str, *, vectors: bool) -> dict[str, Any] | None:
    decision = outcome.decision
    vector = decision.features if decision.inputs_revision == inputs_revision != "" else None
    if decision.prompt and not (vectors and vector):
        return {"prompt": decision.prompt}
    if not vector:
        return None
    return {"features": np.frombuffer(vector, "<f4").tolist(), "features_revision": inputs_revision}


def _row(
    outcome: StoredOutcome, label: Label, told: Mapping[str, Any], costs: Mapping[str, int]
) -> dict[str, Any]:
    decision = outcome.decision
    # The tier was taken with one probability, and then scored with another.
    propensity = min(max(decision.propensity * label.propensity, 1e-9), 1.0)
    row = {"id": decision.decision_id, **told, "scores": dict(label.scores), "propensity": propensity}
    if decision.task:
        row["task"] = decision.task
    paid: dict[str, float] = {}
    for one in outcome.attempts:
        answered = one.result in (AttemptResult.SERVED, AttemptResult.REJECTED)
        if answered and one.tier in label.scores and one.attempt_id in costs:
            paid.setdefault(one.tier, costs[one.attempt_id] / NANO)
    return row | {"costs": paid} if paid else row


def _read_costs(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Nano-dollars by attempt, of those whose cost is whole."""
    query = select(COSTS.c.attempt_id, COSTS.c.cost_nano).where(
        COSTS.c.decision_id.in_(ids), COSTS.c.complete, COSTS.c.cost_nano.is_not(None)
    )
    return {row.attempt_id: row.cost_nano for row in connection.execute(query)}
