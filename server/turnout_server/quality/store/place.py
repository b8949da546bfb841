"""Where a store lies: a SQLite file, by default in the user's state folder, or a PostgreSQL database by URL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

AUTO = "auto"
OFF = "off"
FILE = "outcomes.db"
_BUSY_MS = 5000
_CONNECT_S = 5


@dataclass(frozen=True)
class Place:
    """Where a store lies.

    Attributes:
        url: of the database.
        journals: folder of the journals of costs that are not in the database yet, always on this machine.
    """

    url: URL
    journals: Path

    def __str__(self) -> str:
        return self.url.database or "" if self.is_sqlite else self.url.render_as_string()

    @property
    def is_sqlite(self) -> bool:
        """True for a file, false for a server."""
        return self.url.get_backend_name() == "sqlite"


def find_place(told: str, environ: Mapping[str, str] | None = None) -> Place | None:
    """Reads the setting `store`.

    Args:
        told: auto, off, a path, or postgresql://[user@]host[:port]/database.
        environ: environment variables, os.environ if None; XDG_STATE_HOME says where state goes.

    Returns:
        None for off.

    Raises:
        ValueError: neither of these, or an address that holds a password.
    """
    environ = os.environ if environ is None else environ
    if told == OFF:
        return None
    state = (
        Path(environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "/tmp") / ".local" / "state")
        / "turnout"
    )
    if "://" not in told:
        path = state / FILE if told == AUTO else Path(told)
        return Place(URL.create("sqlite", database=str(path)), path.with_name(path.name + "-costs"))
    try:
        url = make_url(told)
    except (ArgumentError, ValueError):
        raise ValueError("not a database address") from None
    if url.get_backend_name() != "postgresql":
        raise ValueError(f"{url.get_backend_name()!r} is not supported; a path or postgresql://...")
    if url.password is not None:
        raise ValueError("holds a password; use PGPASSFILE, or PGPASSWORD in the environment")
    digest = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
    return Place(url.set(drivername="postgresql+psycopg"), state / f"costs-{digest}")


def make_engine(place: Place, *, read_only: bool = False) -> Engine:
    """An engine for a place. Nothing is opened yet, but a SQLite file's folder is made.

    SQLite runs in WAL mode, so that readers and the writer do not wait for each other, and syncs at every commit: a
    batch a few times a second bears it, and a committed bill then survives a loss of power too.
    """
    if not place.is_sqlite:
        options = {"connect_timeout": _CONNECT_S, "application_name": "turnout"}
        return create_engine(place.url, connect_args=options, pool_pre_ping=True, pool_size=2, max_overflow=2)
    path = Path(place.url.database or "")
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
        url = place.url
    else:
        url = place.url.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"})
    # The writer keeps its connection: SQLite tidies the log away whenever the last one is closed.
    pool = {"poolclass": NullPool} if read_only else {"pool_size": 1}
    engine = create_engine(url, connect_args={"timeout": _BUSY_MS / 1000}, **pool)

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        # The driver would begin transactions by its own rules; ours are begun below.
        connection.isolation_level = None
        for pragma in () if read_only else ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Any) -> None:
        # A writer that began by reading could not wait for another writer.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
