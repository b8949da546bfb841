"""A batch of rows, and how it enters the database: whole, once, whatever happens to the connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, StatementError

from turnout_server.quality.store.rows import Row
from turnout_server.quality.store.schema import COSTS, COUNTS, PRICES, WRITERS

CountKey = tuple[int, str, str, str]

# What a record in the journal is, under the key "t".
COST = "cost"
PRICE = "price"
_JOURNALLED: Mapping[Table, str] = {COSTS: COST, PRICES: PRICE}


@dataclass
class Batch:
    """What one transaction writes.

    Attributes:
        number: rising from 1 for each writer.
        rows: detail, by table.
        counts: decisions by hour, policy, tier and status, to be added.
        costs: records of the journal.
        journal_size: what to mark as done in the journal.
        rejected: rows that the database refused one by one, by table.
        cost_rows: how many of `costs` are costs; known once they were written.
        refused: records of the journal that the database does not take, or that are none.
    """

    number: int
    rows: dict[Table, list[Row]] = field(default_factory=dict)
    counts: dict[CountKey, int] = field(default_factory=dict)
    costs: list[bytes] = field(default_factory=list)
    journal_size: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    cost_rows: int = 0
    refused: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.counts or self.costs)


def apply_batch(
    connection: Connection, batch: Batch, writer_id: str, now_ms: int, *, singly: bool = False
) -> bool:
    """Writes a batch in the connection's transaction; False if it was written before.

    Args:
        connection: in a transaction.
        batch: what to write.
        writer_id: whose batches they are.
        now_ms: milliseconds since 1970.
        singly: write each row on its own and leave out what the database refuses, counting it.
    """
    last = connection.execute(select(WRITERS.c.batch).where(WRITERS.c.writer_id == writer_id)).scalar()
    if last is not None and last >= batch.number:
        return False
    write = _write_singly if singly else _write
    # Of an earlier try.
    batch.rejected.clear()
    batch.refused.clear()
    for table, rows in batch.rows.items():
        write(connection, table, rows, batch)
    costs, prices, batch.refused = read_journal(batch.costs)
    batch.cost_rows = len(costs)
    write(connection, PRICES, prices, batch)
    write(connection, COSTS, costs, batch)
    _add_counts(connection, batch.counts)
    _upsert(
        connection,
        WRITERS,
        [{"writer_id": writer_id, "batch": batch.number, "at_ms": now_ms}],
        {"batch": batch.number, "at_ms": now_ms},
    )
    return True


def is_of_a_row(error: StatementError) -> bool:
    """Whether an error comes back however often the same row is tried.

    One that no driver raised is a StatementError itself: a value that none takes.
    """
    return isinstance(error, (DataError, IntegrityError, ProgrammingError)) or type(error) is StatementError


def read_journal(records: Iterable[bytes]) -> tuple[list[Row], list[Row], list[bytes]]:
    """Rows of costs and of prices, and records that are neither."""
    found: Mapping[str, list[Row]] = {COST: [], PRICE: []}
    strange: list[bytes] = []
    for record in records:
        try:
            row = orjson.loads(record)
            found[row.pop("t")].append(row)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            strange.append(record)
    for row in found[COST]:
        # A journal that an earlier version left does not say.
        row.setdefault(COSTS.c.settled_ns.name, 0)
    return found[COST], found[PRICE], strange


def write_left_over(connection: Connection, records: Iterable[bytes]) -> tuple[int, list[bytes]]:
    """Writes costs of a process that ended, as far as they are not there.

    Returns:
        how many costs there are now of these records, and the records that the database refuses.
    """
    batch = Batch(0)
    costs, prices, batch.refused = read_journal(records)
    for table, rows in ((PRICES, prices), (COSTS, costs)):
        try:
            with connection.begin_nested():
                _write(connection, table, rows, None)
        except StatementError as error:
            if not is_of_a_row(error):
                raise
            _write_singly(connection, table, rows, batch)
    return len(costs) - batch.rejected.get(COSTS.name, 0), batch.refused


def _insert(connection: Connection, table: Table) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _write(connection: Connection, table: Table, rows: Sequence[Row], _: Batch | None) -> None:
    """Rows that are there already stay as they are: a record is made once."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def _write_singly(connection: Connection, table: Table, rows: Sequence[Row], batch: Batch) -> None:
    for row in rows:
        try:
            with connection.begin_nested():
                _write(connection, table, [row], None)
        except StatementError as error:
            # A full disk, say, is no fault of the row.
            if not is_of_a_row(error):
                raise
            batch.rejected[table.name] = batch.rejected.get(table.name, 0) + 1
            if table in _JOURNALLED:
                batch.refused.append(orjson.dumps({"t": _JOURNALLED[table], **row}))


def _add_counts(connection: Connection, counts: Mapping[CountKey, int]) -> None:
    names = ("hour_ms", "policy", "tier", "status")
    # In one order, so that two writers of a PostgreSQL never wait for each other in a circle.
    rows = [
        dict(zip(names, key, strict=True)) | {"decisions": count} for key, count in sorted(counts.items())
    ]
    if rows:
        insert = _insert(connection, COUNTS)
        added = {"decisions": COUNTS.c.decisions + insert.excluded.decisions}
        connection.execute(insert.on_conflict_do_update(index_elements=names, set_=added), rows)


def _upsert(connection: Connection, table: Table, rows: Sequence[Row], change: Row) -> None:
    keys = [column.name for column in table.primary_key]
    connection.execute(
        _insert(connection, table).on_conflict_do_update(index_elements=keys, set_=change), rows
    )
