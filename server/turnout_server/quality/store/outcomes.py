"""What became of decisions, read back whole: each with its calls, gate verdicts, scores and comparisons."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, and_, or_, select

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, Verdict
from turnout_server.quality.store.records import Agreement, ComparisonRecord, DecisionRecord, ScoreRecord
from turnout_server.quality.store.schema import ATTEMPTS, COMPARISONS, COSTS, DECISIONS, GATES, SCORES

# Decisions of one round of queries; SQLite takes 32,766 values in a statement.
PAGE = 500

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """An upstream call.

    Attributes:
        attempt_id: which scores and comparisons name.
        tier: of the deployment; empty: the cost that names it is not there.
        deployment: which was called.
        model_version: the model as the provider named it; empty: it did not.
        purpose: why it was called.
        result: what became of it.
        verdicts: what the gates said of its answer, in their order.
    """

    attempt_id: str
    tier: str
    deployment: str
    model_version: str
    purpose: Purpose
    result: AttemptResult
    verdicts: tuple[GateVerdict, ...]


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """A decision and all detail that is stored of it.

    Attributes:
        decision: its propensity is that of the tier; scores and comparisons have their own, given the answer.
        attempts: the oldest first.
        scores: of a judge, a shadow or an ensemble.
        comparisons: of served answers with shadows.
    """

    decision: DecisionRecord
    attempts: tuple[StoredAttempt, ...]
    scores: tuple[ScoreRecord, ...]
    comparisons: tuple[ComparisonRecord, ...]


def read_outcomes(
    connection: Connection,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    policy: str | None = None,
    page: int = PAGE,
) -> Iterator[StoredOutcome]:
    """Outcomes in the order of their decisions' time, a page in memory at a time.

    Args:
        connection: in a transaction, so that a page fits the next.
        since_ms: the earliest decision, milliseconds since 1970; None: from the beginning.
        until_ms: before which decisions end; None: to the end.
        policy: whose decisions; None: of all.
        page: decisions of one round of queries.
    """
    wanted = [
        told
        for told in (
            None if since_ms is None else DECISIONS.c.at_ms >= since_ms,
            None if until_ms is None else DECISIONS.c.at_ms < until_ms,
            None if policy is None else DECISIONS.c.policy == policy,
        )
        if told is not None
    ]
    order = DECISIONS.c.at_ms, DECISIONS.c.decision_id
    after: Any = None
    while True:
        query = select(DECISIONS).where(*wanted).order_by(*order).limit(page)
        if after is not None:
            at_ms, decision_id = after
            query = query.where(
                or_(order[0] > at_ms, and_(order[0] == at_ms, order[1] > decision_id)),
            )
        rows = connection.execute(query).mappings().all()
        if not rows:
            return
        yield from _join(connection, rows)
        after = rows[-1]["at_ms"], rows[-1]["decision_id"]


def read_outcome(connection: Connection, decision_id: str) -> StoredOutcome | None:
    """The outcome of one decision; None: no detail is stored of it."""
    query = select(DECISIONS).where(DECISIONS.c.decision_id == decision_id)
    return next(_join(connection, connection.execute(query).mappings().all()), None)


def _join(connection: Connection, rows: Sequence[Mapping[Any, Any]]) -> Iterator[StoredOutcome]:
    ids = [row["decision_id"] for row in rows]
    verdicts: dict[str, list[GateVerdict]] = defaultdict(list)
    for row in _read(connection, GATES, ids, GATES.c.attempt_id, GATES.c.step):
        verdicts[row["attempt_id"]].append(_verdict(row))
    attempts: dict[str, list[StoredAttempt]] = defaultdict(list)
    query = (
        select(ATTEMPTS, COSTS.c.tier)
        .join(COSTS, COSTS.c.attempt_id == ATTEMPTS.c.attempt_id, isouter=True)
        .where(ATTEMPTS.c.decision_id.in_(ids))
        .order_by(ATTEMPTS.c.begun_ms, ATTEMPTS.c.attempt_id)
    )
    for row in connection.execute(query).mappings():
        attempts[row["decision_id"]].append(_attempt(row, verdicts[row["attempt_id"]]))
    scores: dict[str, list[ScoreRecord]] = defaultdict(list)
    for row in _read(connection, SCORES, ids, SCORES.c.at_ms, SCORES.c.attempt_id):
        scores[row["decision_id"]].append(_record(ScoreRecord, row, source=Purpose(row["source"])))
    comparisons: dict[str, list[ComparisonRecord]] = defaultdict(list)
    for row in _read(connection, COMPARISONS, ids, COMPARISONS.c.at_ms, COMPARISONS.c.attempt_id):
        found = _record(ComparisonRecord, row, agreement=Agreement(row["agreement"]))
        comparisons[row["decision_id"]].append(found)
    for row in rows:
        key = row["decision_id"]
        yield StoredOutcome(
            _record(DecisionRecord, row, p_sufficient=json.loads(row["p_sufficient"])),
            tuple(attempts[key]),
            tuple(scores[key]),
            tuple(comparisons[key]),
        )


def _read(
    connection: Connection, table: Table, ids: Sequence[str], *order: Any
) -> Iterable[Mapping[Any, Any]]:
    return connection.execute(select(table).where(table.c.decision_id.in_(ids)).order_by(*order)).mappings()


def _record(kind: type[_Record], row: Mapping[Any, Any], **read: Any) -> _Record:
    """A record of a row; columns bear the names of its fields."""
    told = {field.name: row[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**(told | read))


def _verdict(row: Mapping[Any, Any]) -> GateVerdict:
    return GateVerdict(
        Gate(row["gate"]), Verdict(row["verdict"]), GateReason(row["reason"]), row["score"], row["time_ns"]
    )


def _attempt(row: Mapping[Any, Any], verdicts: Iterable[GateVerdict]) -> StoredAttempt:
    return StoredAttempt(
        row["attempt_id"],
        row["tier"] or "",
        row["deployment"],
        row["model_version"],
        Purpose(row["purpose"]),
        AttemptResult(row["result"]),
        tuple(verdicts),
    )
