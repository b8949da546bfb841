"""Costs that cannot be stored: none is thrown away, and everybody hears of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from turnout_server import cli
from turnout_server.observability.metrics import Sums
from turnout_server.quality.store.journal import Journal, left_over
from turnout_server.quality.store.migrations import migrate
from turnout_server.quality.store.place import Place, make_engine
from turnout_server.quality.store.refused import damaged_files, read_refused, refused_files
from turnout_server.quality.store.schema import COSTS
from turnout_server.quality.store.store import OutcomeStore
from turnout_server.quality.store.store_sums import store_sums
from typer.testing import CliRunner

from tests.server.conftest import read_log
from tests.server.quality.store.examples import PRICE, cost

OpenStore = Callable[..., OutcomeStore]
ROOT = Path(__file__).resolve().parents[4]


def ids(place: Place) -> set[str]:
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        found = {row.attempt_id for row in connection.execute(select(COSTS.c.attempt_id))}
    engine.dispose()
    return found


def record_of(name: str, **more: Any) -> bytes:
    from turnout_server.quality.store.rows import cost_row

    return json.dumps({"t": "cost", **cost_row(cost(name, "d")), **more}).encode()


def value(sums: Sums, family: str, *labels: str) -> float:
    return next(values[0] for name, found, values in sums.values if (name, found) == (family, labels))


@pytest.fixture
def leave(place: Place) -> Callable[..., None]:
    """Leaves a journal behind, as a process does that was killed."""

    def leave_records(*records: bytes) -> None:
        journal = Journal(place.journals)
        for record in records:
            journal.append(record)
        journal.close()

    return leave_records


BAD = (
    record_of("bad-null", policy=None),
    record_of("bad-column").replace(b'"policy"', b'"polite"'),
    b'{"t": "gift", "x": 1}',
    b"no json",
    b"[1]",
)


def test_what_is_refused_is_set_aside_and_the_rest_stored(
    place: Place, leave: Callable[..., None], open_store: OpenStore, log: Any
) -> None:
    leave(record_of("good-1"), *BAD, record_of("good-2"))
    store = open_store(place)
    assert store.flush(20)
    assert ids(place) == {"good-1", "good-2"}
    assert left_over(place.journals) != [] and store.counters.costs_recovered == 2
    (path,) = refused_files(place.journals)
    assert len(read_refused(path)) == len(BAD)
    sums = store_sums(store.counters)
    assert value(sums, "turnout_store_costs", "refused") == len(BAD)
    assert value(sums, "turnout_store_refused_files") == 1
    assert store.close()
    assert "store_costs_refused" in [line["event"] for line in read_log(log)]
    # The next process says so too.
    later = open_store(place)
    assert later.flush(20)
    assert value(store_sums(later.counters), "turnout_store_refused_files") == 1
    assert "store_costs_set_aside" in [line["event"] for line in read_log(log)]


def test_a_cost_of_this_process_is_set_aside_too(
    sqlite_place: Place, open_store: OpenStore, log: Any
) -> None:
    store = open_store(sqlite_place)
    assert store.flush(20)
    assert store._journal is not None
    store.record_cost(cost("good-1", "d"), PRICE)
    for record in BAD:
        store._journal.append(record)
    store.record_cost(cost("good-2", "d"), PRICE)
    assert store.flush(20)
    assert ids(sqlite_place) == {"good-1", "good-2"}
    assert sum(len(read_refused(path)) for path in refused_files(sqlite_place.journals)) == len(BAD)
    assert store._journal.pending_bytes == 0
    assert store.counters.costs_lost == 0


def test_the_command_tells_and_reads_again(sqlite_place: Place, open_store: OpenStore, log: Any) -> None:
    journal = Journal(sqlite_place.journals)
    for record in (record_of("good-1"), *BAD):
        journal.append(record)
    journal.close()
    store = open_store(sqlite_place)
    assert store.flush(20) and store.close()

    def run(command: str) -> Any:
        return CliRunner().invoke(cli.app, ["store", command, "--store", str(sqlite_place)])

    checked = run("check")
    assert checked.exit_code == 1
    assert f"{len(BAD)} costs that the database refused, in 1 files *.refused" in checked.output
    again = run("reread")
    assert again.exit_code == 1 and f"records taken in: 0; still refused: {len(BAD)}" in again.output
    # Somebody repairs what can be repaired: the column is as it should be.
    (path,) = refused_files(sqlite_place.journals)
    raw = read_refused(path)
    from turnout_server.quality.store.refused import set_aside

    set_aside(sqlite_place.journals, [record.replace(b'"polite"', b'"policy"') for record in raw])
    path.unlink()
    again = run("reread")
    assert f"records taken in: 1; still refused: {len(BAD) - 1}" in again.output
    assert ids(sqlite_place) == {"good-1", "bad-column"}
    for path in refused_files(sqlite_place.journals):
        path.unlink()
    assert run("check").exit_code == 0
    assert "records taken in: 0; still refused: 0" in run("reread").output


def test_a_damaged_journal_is_kept(sqlite_place: Place, open_store: OpenStore, log: Any) -> None:
    journal = Journal(sqlite_place.journals)
    for name in ("first", "second", "third"):
        journal.append(record_of(name))
    journal.close()
    (path,) = left_over(sqlite_place.journals)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"second")] ^= 1
    path.write_bytes(raw)
    store = open_store(sqlite_place)
    assert store.flush(20) and store.close()
    assert ids(sqlite_place) == {"first"}
    (damaged,) = damaged_files(sqlite_place.journals)
    assert damaged.read_bytes() == bytes(raw)
    assert value(store_sums(store.counters), "turnout_store_refused_files") == 1
    checked = CliRunner().invoke(cli.app, ["store", "check", "--store", str(sqlite_place)])
    assert checked.exit_code == 1 and f"{damaged}: a damaged journal" in checked.output


def test_a_fault_of_the_disk_is_none_of_the_rows(
    sqlite_place: Place, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal left over is not set aside since the disk was full just then."""
    engine = make_engine(sqlite_place)
    with engine.begin() as connection:
        migrate(connection)
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    engine.dispose()
    journal = Journal(sqlite_place.journals)
    for i in range(2000):
        journal.append(record_of(f"c{i}"))
    journal.close()
    from sqlalchemy import event
    from turnout_server.quality.store import store as store_module

    full = [True]

    def make_small(place: Place) -> Any:
        made = make_engine(place)
        if full[0]:

            @event.listens_for(made, "connect")
            def _limit(connection: Any, _: Any) -> None:
                connection.execute("PRAGMA max_page_count = 1")

        return made

    monkeypatch.setattr(store_module, "make_engine", make_small)
    store = open_store(sqlite_place)
    assert not store.flush(20)
    assert refused_files(sqlite_place.journals) == []
    full[0] = False
    assert store.flush(20)
    assert len(ids(sqlite_place)) == 2000 and store.counters.costs_refused == 0


@pytest.mark.parametrize("how", ["limit", "tmpfs"])
def test_a_full_disk_loses_no_cost(tmp_path: Path, how: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "tests.server.quality.store.full_disk_child", str(tmp_path), how]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    if done.returncode == 77:
        pytest.skip("this machine lets nobody mount")
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert not told["when_full"]["flushed"] and told["when_full"]["failures"] > 0
    assert told["flushed"] and told["damage"] == []
    assert told["stored"] == told["recorded"] and told["lost"] == told["when_full"]["lost"] == 0
