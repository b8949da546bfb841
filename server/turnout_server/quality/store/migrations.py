"""The schema's versions, applied in order when a store is opened.

A list of steps rather than Alembic: the service upgrades its own store at start, on two dialects that SQLAlchemy Core
already tells apart, and needs neither a folder of generated scripts, templates, a configuration file nor down steps. A
step is never changed once released; a new one is appended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Column, Connection, Integer, MetaData, Table, inspect, select, text

from turnout_server.quality.store import schema

_VERSIONS = Table("schema_version", MetaData(), Column("version", Integer, primary_key=True))
# Any number will do, as long as all servers of one database use the same.
_LOCK = 7_471_001


class StoreVersionError(RuntimeError):
    """The store was written by a newer version of this program."""


def _create_tables(connection: Connection) -> None:
    schema.METADATA.create_all(connection)


def _tell_who_judged(connection: Connection) -> None:
    """Scores name the judge and the tier compared with; comparisons without a judge have a table.

    An empty database has all of it by the first step, which makes the tables as they are now.
    """
    there = {column["name"] for column in inspect(connection).get_columns("scores")}
    for name in ("other_tier", "judge", "judge_version"):
        if name not in there:
            connection.execute(text(f"ALTER TABLE scores ADD COLUMN {name} VARCHAR(256) NOT NULL DEFAULT ''"))
    schema.METADATA.create_all(connection, [schema.COMPARISONS])


def _tell_which_inputs(connection: Connection) -> None:
    """Kept feature vectors name their revision."""
    if "inputs_revision" not in {column["name"] for column in inspect(connection).get_columns("decisions")}:
        connection.execute(
            text("ALTER TABLE decisions ADD COLUMN inputs_revision VARCHAR(256) NOT NULL DEFAULT ''")
        )


def _tell_when_settled(connection: Connection) -> None:
    """Costs say when budgets counted them; what is there already was before every budget of now."""
    if "settled_ns" not in {column["name"] for column in inspect(connection).get_columns("costs")}:
        connection.execute(text("ALTER TABLE costs ADD COLUMN settled_ns BIGINT NOT NULL DEFAULT 0"))


STEPS: Sequence[Callable[[Connection], None]] = (
    _create_tables,
    _tell_who_judged,
    _tell_which_inputs,
    _tell_when_settled,
)


def version_of(connection: Connection) -> int:
    """The schema's version; 0: an empty database."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return 0
    return int(connection.execute(select(_VERSIONS.c.version)).scalar() or 0)


def migrate(connection: Connection, steps: Sequence[Callable[[Connection], None]] = STEPS) -> int:
    """Brings the schema to the newest version, within the connection's transaction; returns the version before.

    Several processes may do so at once: SQLite's writers wait for each other, PostgreSQL's for an advisory lock.

    Raises:
        StoreVersionError: the store is newer than this program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    before = version_of(connection)
    if before > len(steps):
        raise StoreVersionError(
            f"the store has schema version {before}, this program knows up to {len(steps)}"
        )
    if before == len(steps):
        return before
    _VERSIONS.create(connection, checkfirst=True)
    for step in steps[before:]:
        step(connection)
    connection.execute(_VERSIONS.delete())
    connection.execute(_VERSIONS.insert(), {"version": len(steps)})
    return before
