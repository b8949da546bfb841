"""The schema's versions."""

from __future__ import annotations

import threading

import orjson
import pytest
from sqlalchemy import Connection, inspect, text
from turnout_server.quality.store import schema
from turnout_server.quality.store.batches import write_left_over
from turnout_server.quality.store.migrations import STEPS, StoreVersionError, migrate, version_of
from turnout_server.quality.store.place import Place, make_engine
from turnout_server.quality.store.rows import cost_row

from tests.server.quality.store.examples import cost


def test_an_empty_database_gets_every_table_once(place: Place) -> None:
    engine = make_engine(place)
    with engine.begin() as connection:
        assert version_of(connection) == 0
        assert migrate(connection) == 0
    with engine.begin() as connection:
        assert migrate(connection) == len(STEPS)
        assert version_of(connection) == len(STEPS)
        tables = set(inspect(connection).get_table_names())
    assert tables == {*schema.METADATA.tables, "schema_version"}
    engine.dispose()


def test_steps_run_in_order_and_only_the_new_ones(place: Place) -> None:
    ran: list[str] = []

    def add_column(connection: Connection) -> None:
        ran.append("column")
        connection.execute(text("ALTER TABLE scores ADD COLUMN rubric VARCHAR(256)"))

    def fill_column(connection: Connection) -> None:
        ran.append("fill")
        connection.execute(text("UPDATE scores SET rubric = 'none'"))

    engine = make_engine(place)
    with engine.begin() as connection:
        migrate(connection)
    with engine.begin() as connection:
        assert migrate(connection, [*STEPS, add_column]) == len(STEPS)
    with engine.begin() as connection:
        assert migrate(connection, [*STEPS, add_column, fill_column]) == len(STEPS) + 1
        assert "rubric" in {column["name"] for column in inspect(connection).get_columns("scores")}
    assert ran == ["column", "fill"]
    engine.dispose()


def test_a_step_that_fails_leaves_the_version_before(place: Place) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE scores ADD COLUMN half VARCHAR(8)"))
        raise RuntimeError("no")

    engine = make_engine(place)
    with engine.begin() as connection:
        migrate(connection)
    with pytest.raises(RuntimeError), engine.begin() as connection:
        migrate(connection, [*STEPS, broken])
    with engine.begin() as connection:
        assert version_of(connection) == len(STEPS)
        assert "half" not in {column["name"] for column in inspect(connection).get_columns("scores")}
    engine.dispose()


def test_a_newer_store_is_left_alone(place: Place) -> None:
    engine = make_engine(place)
    with engine.begin() as connection:
        migrate(connection, [*STEPS, lambda _: None])
    with (
        pytest.raises(
            StoreVersionError,
            match=rf"schema version {len(STEPS) + 1}, this program knows up to {len(STEPS)}",
        ),
        engine.begin() as one,
    ):
        migrate(one)
    engine.dispose()


# Of the first version, as it was released.
SCORES_1 = """
CREATE TABLE scores (
    attempt_id VARCHAR(64) NOT NULL PRIMARY KEY, decision_id VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL,
    source VARCHAR(256) NOT NULL, tier VARCHAR(256) NOT NULL, score FLOAT NOT NULL, other_score FLOAT,
    propensity FLOAT NOT NULL, detail VARCHAR(256) NOT NULL
)
"""


def test_scores_of_the_first_version_are_kept_and_read(place: Place) -> None:
    engine = make_engine(place)
    with engine.begin() as connection:
        migrate(connection, STEPS[:1])
        connection.execute(text("DROP TABLE comparisons"))
        connection.execute(text("DROP TABLE scores"))
        connection.execute(text(SCORES_1))
        connection.execute(
            text("INSERT INTO scores VALUES ('a1', 'd1', 5, 'judge', 'small', 0.75, NULL, 0.1, 'usual')")
        )
    with engine.begin() as connection:
        assert migrate(connection) == 1
        [row] = connection.execute(schema.SCORES.select()).mappings()
        assert (row["score"], row["other_tier"], row["judge"], row["judge_version"]) == (0.75, "", "", "")
        assert list(connection.execute(schema.COMPARISONS.select())) == []
        columns = {column["name"] for column in inspect(connection).get_columns("scores")}
    assert columns == set(schema.SCORES.c.keys())
    engine.dispose()


def test_decisions_of_the_second_version_are_kept_and_read(place: Place) -> None:
    engine = make_engine(place)
    with engine.begin() as connection:
        migrate(connection, STEPS[:2])
        connection.execute(text("ALTER TABLE decisions DROP COLUMN inputs_revision"))
        columns = [column.name for column in schema.DECISIONS.c]
        names = [name for name in columns if name not in ("inputs_revision", "features")]
        values = ["'d1'" if name == "decision_id" else "1" for name in names]
        connection.execute(text(f"INSERT INTO decisions ({', '.join(names)}) VALUES ({', '.join(values)})"))
    with engine.begin() as connection:
        assert migrate(connection) == 2
        [row] = connection.execute(schema.DECISIONS.select()).mappings()
        assert (row["decision_id"], row["inputs_revision"], row["features"]) == ("d1", "", None)
    engine.dispose()


def test_costs_of_the_third_version_are_from_before_every_budget(place: Place) -> None:
    row = cost_row(cost("a1", "d1"))
    assert row.pop("settled_ns") == 0
    engine = make_engine(place)
    with engine.begin() as connection:
        migrate(connection, STEPS[:3])
        connection.execute(text("ALTER TABLE costs DROP COLUMN settled_ns"))
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(text(f"INSERT INTO costs ({names}) VALUES ({values})"), row)
    with engine.begin() as connection:
        assert migrate(connection) == 3
        left = orjson.dumps({"t": "cost", **row, "attempt_id": "a2"})
        new = orjson.dumps({"t": "cost", **cost_row(cost("a3", "d1", settled_ns=7))})
        assert write_left_over(connection, [left, new]) == (2, [])
        found = {one.attempt_id: one.settled_ns for one in connection.execute(schema.COSTS.select())}
    assert found == {"a1": 0, "a2": 0, "a3": 7}
    engine.dispose()


def test_two_servers_start_at_once(place: Place) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        engine = make_engine(place)
        try:
            with engine.begin() as connection:
                migrate(connection)
        except BaseException as error:
            failed.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
