"""Records costs while there is no room on disk, and when there is again: `full_disk_child.py FOLDER limit|tmpfs`.

Prints what it recorded, what the store knew when the disk was full, and what it had in the end, as JSON. Exit status 77:
this machine lets nobody mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, select
from turnout_server.quality.store.place import find_place, make_engine
from turnout_server.quality.store.reading import find_damage
from turnout_server.quality.store.schema import COSTS
from turnout_server.quality.store.store import Options, OutcomeStore

from tests.server.quality.store.examples import PRICE, attempt, cost, decision

# Some 3 MiB: more than a journal's file, which is all that is reserved.
COSTS_WHEN_FULL = 8_000
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000


@contextlib.contextmanager
def limited(folder: Path) -> Iterator[None]:
    """No file may grow beyond what the largest has now, but for the journal, which is reserved."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = max(path.stat().st_size for path in folder.iterdir() if path.is_file())
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Another's file takes all the room."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(64 << 10))
        with contextlib.suppress(OSError):
            while True:
                file.write(b"\0")
    yield
    filler.unlink()


def mount(folder: Path) -> None:
    """A disk of 16 MiB, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid = os.getuid()
    if libc.unshare(NEW_MOUNTS):
        if libc.unshare(NEW_USER | NEW_MOUNTS):
            raise SystemExit(77)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=16m"):
        raise SystemExit(77)


def main(folder: Path, how: str) -> None:
    if how == "tmpfs":
        mount(folder)
    place = find_place(str(folder / "outcomes.db"))
    assert place is not None
    store = OutcomeStore(place, Options(flush_s=0.02))

    def record(start: int, stop: int) -> None:
        for i in range(start, stop):
            store.record_decision(decision(f"d{i}"))
            store.record_attempt(attempt(f"a{i}", f"d{i}"))
            store.record_cost(cost(f"a{i}", f"d{i}"), PRICE)

    record(0, 100)
    assert store.flush(20)
    with (limited if how == "limit" else filled)(folder):
        record(100, 100 + COSTS_WHEN_FULL)
        flushed = store.flush(3)
        when_full = {
            "flushed": flushed,
            "failures": store.counters.failures,
            "lost": store.counters.costs_lost,
        }
    record(100 + COSTS_WHEN_FULL, 200 + COSTS_WHEN_FULL)
    closed = store.flush(60)
    store.close()
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        stored = connection.execute(select(func.count()).select_from(COSTS)).scalar_one()
        damage = find_damage(connection)
    engine.dispose()
    told = {"recorded": 200 + COSTS_WHEN_FULL, "stored": stored, "damage": damage, "flushed": closed}
    print(json.dumps(told | {"when_full": when_full, "lost": store.counters.costs_lost}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
