"""The store on SQLite and on PostgreSQL: what is recorded is there, exactly once, and nothing stops a caller."""

from __future__ import annotations

import io
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Table, create_engine, func, select
from sqlalchemy.exc import OperationalError
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.tokens import TokenCounts
from turnout_server.quality.store import batches, rows
from turnout_server.quality.store.place import Place, find_place, make_engine
from turnout_server.quality.store.prices import from_json, to_json
from turnout_server.quality.store.reading import count_rows, prune, read_costs
from turnout_server.quality.store.records import AttemptRecord
from turnout_server.quality.store.redaction import redact
from turnout_server.quality.store.schema import (
    ATTEMPTS,
    COSTS,
    COUNTS,
    DECISIONS,
    GATES,
    PRICES,
    SCORES,
)
from turnout_server.quality.store.store import OutcomeStore

from tests.server.conftest import read_log
from tests.server.quality.store.examples import NOON_MS, PRICE, attempt, cost, decision, gates, score

OpenStore = Callable[..., OutcomeStore]


def read(place: Place, table: Table) -> list[dict[str, Any]]:
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        found = [dict(row) for row in connection.execute(select(table)).mappings()]
    engine.dispose()
    return found


def test_what_is_recorded_is_there(place: Place, open_store: OpenStore) -> None:
    store = open_store(place)
    store.record_decision(
        decision(
            "d1",
            p_sufficient={"small": 0.9},
            features=b"\x00\x00\x80?",
            features_revision="f1",
            tenant="a\x00b\ud800",
            propensity=0.25,
        )
    )
    store.record_attempt(attempt("a1", "d1"))
    store.record_gates(gates("a1", "d1"))
    store.record_score(score("a3", "d1"))
    given = cost("a1", "d1", TokenCounts(1, 2, 3, 4, 5, 6))
    assert store.record_cost(given, PRICE)
    assert store.flush(10)
    (one,) = read(place, DECISIONS)
    assert (one["decision_id"], one["tenant"], one["propensity"], one["prompt"]) == ("d1", "ab?", 0.25, None)
    assert (json.loads(one["p_sufficient"]), bytes(one["features"])) == ({"small": 0.9}, b"\x00\x00\x80?")
    (tried,) = read(place, ATTEMPTS)
    assert (tried["fault"], tried["result"], tried["model_version"]) == (
        "stalled",
        "failed",
        "sim-small-2026-11-01",
    )
    assert [(row["gate"], row["verdict"], row["reason"]) for row in read(place, GATES)] == [
        ("refusal", "accept", "fine"),
        ("schema", "escalate", "json_invalid"),
    ]
    (graded,) = read(place, SCORES)
    assert (graded["source"], graded["score"], graded["other_score"]) == ("judge", 0.75, 0.9)
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        (billed,) = read_costs(connection, "d1")
        assert read_costs(connection, "d2") == []
    engine.dispose()
    assert billed.tokens == given.tokens
    assert (billed.cost_nano, billed.complete) == (given.cost.cost_nano, given.cost.complete)
    assert billed.price == PRICE
    assert store.counters.written == {"decisions": 1, "attempts": 1, "gates": 2, "scores": 1, "costs": 1}


def test_counts_are_exact_from_many_threads_and_stores(place: Place, open_store: OpenStore) -> None:
    stores = [open_store(place, detail_share=0.25) for _ in range(2)]

    def record(store: OutcomeStore, number: int) -> None:
        for i in range(200):
            name = f"{number}-{i}"
            store.record_decision(
                decision(
                    name, at_ms=NOON_MS + i * 60_000, tier=("small", "mid")[i % 2], policy=f"p{number % 3}"
                )
            )
            store.record_cost(cost(f"a{name}", name), PRICE)

    threads = [threading.Thread(target=record, args=(stores[n % 2], n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(store.flush(20) for store in stores)
    counted = read(place, COUNTS)
    assert sum(row["decisions"] for row in counted) == 1200
    assert {row["hour_ms"] % 3_600_000 for row in counted} == {0}
    by = {(row["hour_ms"], row["policy"], row["tier"], row["status"]): row["decisions"] for row in counted}
    assert by[NOON_MS, "p0", "small", "decided"] == 2 * 30
    assert len(read(place, COSTS)) == 1200
    assert len(read(place, PRICES)) == 1
    kept = {row["decision_id"] for row in read(place, DECISIONS)}
    assert kept == {f"{n}-{i}" for n in range(6) for i in range(200) if stores[0].keeps_detail(f"{n}-{i}")}
    assert 200 < len(kept) < 400


def test_a_record_that_comes_twice_is_stored_once(place: Place, open_store: OpenStore) -> None:
    store = open_store(place)
    for _ in range(2):
        store.record_cost(cost("a1", "d1"), PRICE)
        store.record_attempt(attempt("a1", "d1"))
        assert store.flush(10)
    assert len(read(place, COSTS)) == len(read(place, ATTEMPTS)) == 1


def test_a_batch_whose_commit_was_not_confirmed_counts_once(
    place: Place, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(place)
    assert store.flush(10)
    engine = store._engine
    assert engine is not None
    true_begin = engine.begin
    broken = [True]

    class Unconfirmed:
        """Commits, and then tells that the connection broke."""

        def __enter__(self) -> Any:
            self.inner = true_begin()
            return self.inner.__enter__()

        def __exit__(self, *error: Any) -> None:
            self.inner.__exit__(*error)
            if broken.pop() if broken else False:
                raise OperationalError("COMMIT", None, ConnectionError("connection lost"))

    monkeypatch.setattr(engine, "begin", Unconfirmed)
    store.record_decision(decision("d1"))
    assert not store.flush(10)
    assert store.flush(10)
    assert [row["decisions"] for row in read(place, COUNTS)] == [1]
    assert store.counters.failures == 1


def test_text_is_stored_only_by_a_store_with_a_redactor(place: Place, open_store: OpenStore) -> None:
    said = {"prompt": "Write to ada@example.com", "answer": "Done, key sk-abcdefghijklmnop"}
    plain = open_store(place)
    plain.record_decision(decision("d1", **said))
    assert plain.flush(10)

    def broken(_: str) -> str:
        raise RuntimeError("no")

    for name, redactor in (("d2", redact), ("d3", broken)):
        store = open_store(place, redact=redactor)
        store.record_decision(decision(name, **said))
        assert store.flush(10)
    texts = {row["decision_id"]: (row["prompt"], row["answer"]) for row in read(place, DECISIONS)}
    assert texts == {
        "d1": (None, None),
        "d2": ("Write to <email>", "Done, key <key>"),
        "d3": (None, None),
    }


def test_detail_is_pruned_and_costs_stay(place: Place, open_store: OpenStore) -> None:
    store = open_store(place)
    for name, at_ms in (("old", NOON_MS - 1), ("new", NOON_MS)):
        store.record_decision(decision(name, at_ms=at_ms))
        store.record_attempt(attempt(f"a-{name}", name, begun_ms=at_ms))
        store.record_cost(cost(f"a-{name}", name, at_ms=at_ms), PRICE)
    assert store.flush(10)
    engine = make_engine(place)
    with engine.begin() as connection:
        assert prune(connection, NOON_MS) == {
            "decisions": 1,
            "attempts": 1,
            "gates": 0,
            "scores": 0,
            "comparisons": 0,
        }
        counts = count_rows(connection)
    engine.dispose()
    assert (counts["decisions"], counts["costs"], counts["decisions counted"]) == (1, 2, 2)


def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(
    place: Place, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_row = rows.attempt_row

    def as_no_check_foresaw(record: AttemptRecord) -> rows.Row:
        return true_row(record) | ({"begun_ms": None} if record.attempt_id == "a1" else {})

    monkeypatch.setattr(rows, "attempt_row", as_no_check_foresaw)
    store = open_store(place)
    for number in range(3):
        store.record_attempt(attempt(f"a{number}", "d1"))
        store.record_decision(decision(f"d{number}"))
        store.record_cost(cost(f"a{number}", "d1"), PRICE)
    assert store.flush(10)
    assert [row["attempt_id"] for row in read(place, ATTEMPTS)] == ["a0", "a2"]
    assert len(read(place, COSTS)) == len(read(place, DECISIONS)) == 3
    assert sum(row["decisions"] for row in read(place, COUNTS)) == 3
    assert store.counters.rejected == {"attempts": 1}
    assert store.counters.written["attempts"] == 2


def test_a_record_that_is_no_row_is_counted_and_raises_nothing(
    sqlite_place: Place, open_store: OpenStore, log: io.TextIOWrapper
) -> None:
    store = open_store(sqlite_place)
    store.record_decision(decision("d" * 65))
    store.record_attempt(attempt("", "d1"))
    assert not store.record_cost(cost("a1", "d1", at_ms=2**63), PRICE)
    assert store.counters.rejected == {"decisions": 1, "attempts": 1, "costs": 1}
    assert {event["event"] for event in read_log(log)} >= {"store_row_rejected"}
    assert store.flush(10)


def test_a_full_queue_drops_detail_and_no_cost(sqlite_place: Place, open_store: OpenStore) -> None:
    blocker = sqlite3.connect(str(sqlite_place), isolation_level=None)
    store = open_store(sqlite_place, queue_rows=50, flush_s=0.01)
    assert store.flush(10)
    blocker.execute("BEGIN IMMEDIATE")
    for number in range(500):
        store.record_decision(decision(f"d{number}"))
        assert store.record_cost(cost(f"a{number}", f"d{number}"), PRICE)
    dropped = store.counters.dropped["decisions"]
    # One batch of at most 50 rows can be on its way.
    assert 400 <= dropped <= 450
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.flush(20)
    assert len(read(sqlite_place, DECISIONS)) == 500 - dropped
    assert len(read(sqlite_place, COSTS)) == 500
    assert sum(row["decisions"] for row in read(sqlite_place, COUNTS)) == 500


def broken_places(tmp_path: Path) -> dict[str, Place]:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is no database, it only looks like a file" * 100)
    readable = tmp_path / "read-only.db"
    sqlite3.connect(readable).close()
    read_only = URL.create("sqlite", database=f"file:{readable}", query={"mode": "ro", "uri": "true"})
    (tmp_path / "folder.db").mkdir()
    return {
        "corrupt": Place(URL.create("sqlite", database=str(garbage)), tmp_path / "costs"),
        "read-only": Place(read_only, tmp_path / "costs"),
        "a folder": Place(URL.create("sqlite", database=str(tmp_path / "folder.db")), tmp_path / "costs"),
        "no server": Place(
            URL.create("postgresql+psycopg", host="127.0.0.1", port=9, database="x"), tmp_path / "costs"
        ),
    }


@pytest.mark.parametrize("kind", ["corrupt", "read-only", "a folder", "no server"])
def test_a_broken_database_is_loud_and_stops_nobody(
    kind: str, tmp_path: Path, open_store: OpenStore, log: io.TextIOWrapper
) -> None:
    place = broken_places(tmp_path)[kind]
    store = open_store(place)
    for number in range(20):
        store.record_decision(decision(f"of-ada-{number}"))
        assert store.record_cost(cost(f"a{number}", f"of-ada-{number}"), PRICE)
    assert not store.flush(10)
    assert store.counters.failures >= 1
    events = [event for event in read_log(log) if event["event"] == "store_write_failed"]
    assert events
    assert events[0]["level"] == "error"
    assert "of-ada" not in json.dumps(events)
    assert not store.close(5)
    assert store.counters.dropped == {"decisions": 20}
    # The costs wait for a store that can be opened.
    whole = find_place(str(tmp_path / "whole.db"))
    assert whole is not None
    repaired = open_store(Place(whole.url, place.journals))
    assert repaired.flush(10)
    assert repaired.counters.costs_recovered == 20
    assert len(read(whole, COSTS)) == 20


def test_without_a_journal_costs_are_kept_in_memory_and_written(
    tmp_path: Path, open_store: OpenStore, log: io.TextIOWrapper
) -> None:
    whole = find_place(str(tmp_path / "whole.db"))
    assert whole is not None
    (tmp_path / "taken").write_text("a file, where a folder should be")
    place = Place(whole.url, tmp_path / "taken")
    store = open_store(place, flush_s=5)
    assert not store.record_cost(cost("a1", "d1"), PRICE)
    assert store.flush(10)
    assert len(read(whole, COSTS)) == 1
    assert "store_journal_failed" in {event["event"] for event in read_log(log)}


def test_a_database_that_comes_back_gets_everything(tmp_path: Path, open_store: OpenStore) -> None:
    path = tmp_path / "outcomes.db"
    place = find_place(str(path))
    assert place is not None
    path.mkdir()
    store = open_store(place)
    store.record_decision(decision("d1"))
    store.record_cost(cost("a1", "d1"), PRICE)
    assert not store.flush(10)
    path.rmdir()
    assert store.flush(10)
    assert [len(read(place, table)) for table in (DECISIONS, COSTS, COUNTS)] == [1, 1, 1]


def test_prices_are_stored_with_every_number() -> None:
    assert from_json(to_json(PRICE)) == PRICE
    assert from_json(to_json(PRICE)).version == PRICE.version


def test_a_purpose_is_a_word_of_the_table(place: Place, open_store: OpenStore) -> None:
    store = open_store(place)
    for number, purpose in enumerate(Purpose):
        store.record_cost(cost(f"a{number}", "d1", purpose=purpose), PRICE)
    assert store.flush(10)
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        assert {stored.purpose for stored in read_costs(connection, "d1")} == set(Purpose)
    engine.dispose()


@pytest.mark.parametrize(
    ("told", "database", "journals"),
    [
        ("auto", "/state/turnout/outcomes.db", "/state/turnout/outcomes.db-costs"),
        ("/x/y.db", "/x/y.db", "/x/y.db-costs"),
    ],
)
def test_a_file_is_found(told: str, database: str, journals: str) -> None:
    found = find_place(told, {"XDG_STATE_HOME": "/state"})
    assert found is not None
    assert (str(found), str(found.journals)) == (database, journals)
    home = find_place("auto", {"HOME": "/home/ada"})
    assert str(home) == "/home/ada/.local/state/turnout/outcomes.db"
    assert find_place("off") is None


@pytest.mark.parametrize(
    "told", ["mysql://host/db", "postgresql://ada:secret@host/db", "postgresql://host:port/db"]
)
def test_an_address_that_cannot_be_used_is_not_shown(told: str) -> None:
    with pytest.raises(ValueError, match=r"password|supported|address") as caught:
        find_place(told, {})
    assert "secret" not in str(caught.value)


def test_reading_a_store_changes_nothing(sqlite_place: Place, open_store: OpenStore) -> None:
    store = open_store(sqlite_place)
    assert store.flush(10)
    engine = make_engine(sqlite_place, read_only=True)
    with engine.begin() as connection:
        assert connection.execute(select(func.count()).select_from(COSTS)).scalar_one() == 0
        with pytest.raises(OperationalError):
            connection.execute(COSTS.delete())
    engine.dispose()


def test_the_journal_is_read_by_its_kinds() -> None:
    records = [b'{"t":"cost","x":1}', b'{"t":"price","y":2}', b'{"t":"gift"}', b"{", b"[]"]
    costs, prices, strange = batches.read_journal(records)
    # A cost of an earlier version says nothing of budgets.
    assert (costs, prices) == ([{"x": 1, "settled_ns": 0}], [{"y": 2}])
    assert strange == records[2:]


def test_the_store_is_in_wal_mode(sqlite_place: Place, open_store: OpenStore) -> None:
    store = open_store(sqlite_place)
    assert store.flush(10)
    engine = create_engine(sqlite_place.url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
