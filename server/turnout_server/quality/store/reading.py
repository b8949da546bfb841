"""What a store has: for invoices, checks and pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, text

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.cost import ModelPrice, Processing
from turnout_server.completion.tokens import TokenCounts
from turnout_server.quality.store.prices import from_json
from turnout_server.quality.store.schema import COSTS, COUNTS, DETAIL, METADATA, PRICES


@dataclass(frozen=True)
class StoredCost:
    """What was recorded of an upstream call's cost.

    Attributes:
        price: what it was computed with; None: there was none, or the store does not have it.
        price_version: of the price; None: there was none.
    """

    attempt_id: str
    at_ms: int
    deployment: str
    purpose: Purpose
    result: AttemptResult
    processing: Processing
    tokens: TokenCounts
    cost_nano: int | None
    complete: bool
    estimated: bool
    price_version: str | None
    price: ModelPrice | None


def read_costs(connection: Connection, decision_id: str) -> list[StoredCost]:
    """The costs of a decision, the oldest first; empty: none are stored."""
    found = connection.execute(
        select(COSTS, PRICES.c.price)
        .join(PRICES, PRICES.c.version == COSTS.c.price_version, isouter=True)
        .where(COSTS.c.decision_id == decision_id)
        .order_by(COSTS.c.at_ms, COSTS.c.attempt_id)
    )
    return [_stored(row) for row in found.mappings()]


def _stored(row: Mapping[Any, Any]) -> StoredCost:
    return StoredCost(
        attempt_id=row["attempt_id"],
        at_ms=row["at_ms"],
        deployment=row["deployment"],
        purpose=Purpose(row["purpose"]),
        result=AttemptResult(row["result"]),
        processing=Processing(row["processing"]),
        tokens=TokenCounts(**{part: row[part] for part in TokenCounts.__slots__}),
        cost_nano=row["cost_nano"],
        complete=row["complete"],
        estimated=row["estimated"],
        price_version=row["price_version"],
        price=None if row["price"] is None else from_json(row["price"]),
    )


def count_rows(connection: Connection) -> dict[str, int]:
    """Rows by table, and all decisions that were counted."""
    found = {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in METADATA.sorted_tables
    }
    decided = connection.execute(select(func.coalesce(func.sum(COUNTS.c.decisions), 0))).scalar_one()
    return found | {"decisions counted": int(decided)}


def find_damage(connection: Connection) -> list[str]:
    """What SQLite finds wrong with its file, in its words; empty: nothing, or it is no SQLite."""
    if connection.dialect.name != "sqlite":
        return []
    found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(20)"))]
    return [] if found == ["ok"] else found


def prune(connection: Connection, before_ms: int) -> dict[str, int]:
    """Deletes detail that is older; costs, prices and counts stay. Returns the deleted rows by table."""
    return {
        table.name: connection.execute(delete(table).where(table.c[column] < before_ms)).rowcount
        for table, column in DETAIL.items()
    }
