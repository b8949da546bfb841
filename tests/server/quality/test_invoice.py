"""`turnout invoice` and `turnout store`, on a store with one decision of many attempts."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from turnout_server import cli
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.cost import ModelPrice, Processing, Rates, RateStep, parse_usd
from turnout_server.completion.tokens import TokenCounts
from turnout_server.quality.store.migrations import STEPS
from turnout_server.quality.store.place import find_place
from turnout_server.quality.store.store import OutcomeStore
from typer.testing import CliRunner, Result

from tests.server.quality.store.examples import NOON_MS, PRICE, attempt, cost, decision

SMALL = ModelPrice("small", "2026-11-01", (RateStep(-1, Rates(parse_usd("0.15"), parse_usd("0.60"))),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A cheap answer that a gate rejected, a dear one that failed, one that was served, a judge, a shadow, a cancel."""
    found = tmp_path / "outcomes.db"
    place = find_place(str(found))
    assert place is not None
    store = OutcomeStore(place)
    store.record_decision(decision("d1"))
    store.record_attempt(attempt("a1", "d1", begun_ms=10**12))
    for record, price in (
        (
            cost("a1", "d1", TokenCounts(1000, output_text=333), price=SMALL, result=AttemptResult.REJECTED),
            SMALL,
        ),
        (cost("a2", "d1", TokenCounts(), purpose=Purpose.ESCALATE, result=AttemptResult.FAILED), PRICE),
        (
            cost(
                "a3",
                "d1",
                TokenCounts(12, 100_000, output_text=7, output_reasoning=500),
                purpose=Purpose.ESCALATE,
                at_ms=NOON_MS + 1,
            ),
            PRICE,
        ),
        (
            cost(
                "a4",
                "d1",
                TokenCounts(900, output_text=3),
                purpose=Purpose.JUDGE,
                processing=Processing.BATCH,
            ),
            PRICE,
        ),
        (cost("a5", "d1", TokenCounts(10, output_text=5), price=None, purpose=Purpose.SHADOW), None),
        (
            cost(
                "a6",
                "d1",
                TokenCounts(9, output_text=2),
                purpose=Purpose.HEDGE,
                result=AttemptResult.CANCELLED,
                estimated=True,
            ),
            PRICE,
        ),
    ):
        store.record_cost(record, price)
    assert store.close(10)
    return found


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_the_bill_equals_a_hand_invoice(path: Path) -> None:
    result = run("invoice", "d1", "--store", path, "--json")
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    by_hand = {
        "a1": 1000 * 150 + 333 * 600,
        "a2": 0,
        "a3": 12 * 3000 + 100_000 * 300 + (7 + 500) * 15_000,
        "a4": 900 * 1500 + 3 * 7500,
        "a5": None,
        "a6": 9 * 3000 + 2 * 15_000,
    }
    assert {line["attempt_id"]: line["computed_nano"] for line in made["attempts"]} == by_hand
    assert made["total_nano"] == sum(filter(None, by_hand.values()))
    assert (made["agrees"], made["complete"]) == (True, False)
    shown = run("invoice", "d1", "--store", path)
    assert shown.exit_code == 0
    last = shown.stdout.splitlines()[-1]
    assert last.endswith("of 6 attempts, 1 incomplete, 1 estimated: agrees")
    assert "shadow unknown $" in shown.stdout


def test_a_bill_that_was_changed_shows(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE costs SET cost_nano = cost_nano + 1 WHERE attempt_id = 'a3'")
    connection.close()
    result = run("invoice", "d1", "--store", path)
    assert result.exit_code == 1
    assert result.stdout.count("DIFFERS") == 2
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM prices")
    connection.close()
    assert "the store does not have that price" in run("invoice", "d1", "--store", path).stdout


def test_what_is_not_there_is_said(path: Path, tmp_path: Path) -> None:
    missing = run("invoice", "d2", "--store", path)
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr == f"turnout: no costs of decision 'd2' in {path}\n"
    assert "no such file" in run("invoice", "d1", "--store", tmp_path / "none.db").stderr
    assert "off; nothing is stored" in run("invoice", "d1", "--store", "off").stderr
    secret = run("invoice", "d1", "--store", "postgresql://ada:hunter2@127.0.0.1/x")
    assert secret.exit_code == 2
    assert "hunter2" not in secret.stderr
    assert "password" in secret.stderr


def test_a_store_is_checked(path: Path) -> None:
    result = run("store", "check", "--store", path)
    assert result.exit_code == 0, result.stderr
    assert "costs: 6" in result.stdout
    assert result.stdout.splitlines()[-1] == f"ok: {path}, schema version {len(STEPS)}"
    raw = bytearray(path.read_bytes())
    raw[4096:8192] = b"\xff" * 4096
    path.write_bytes(raw)
    broken = run("store", "check", "--store", path)
    assert broken.exit_code == 1
    assert str(path) in broken.stderr


def test_detail_is_pruned_by_age(path: Path) -> None:
    for days, deleted in ((36500, 0), (365, 1), (365, 0)):
        result = run("store", "prune", "--older-than-days", days, "--store", path)
        assert result.exit_code == 0, result.stderr
        assert f"attempts: {deleted} deleted" in result.stdout
    assert "costs: 6" in run("store", "check", "--store", path).stdout
