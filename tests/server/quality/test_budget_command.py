"""`turnout budget`, on a store with costs of this month and of long ago."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from turnout_server import cli
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.tokens import TokenCounts
from turnout_server.quality.store.place import find_place
from turnout_server.quality.store.store import OutcomeStore
from turnout_server.resilience.periods import day_of, month_of
from typer.testing import CliRunner, Result

from tests.server.quality.store.examples import PRICE, cost

EXAMPLE = Path(__file__).parents[3] / "docs/policies/budgets.yaml"
# A thousand tokens at 3 dollars a million.
COST = 3_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "outcomes.db"
    place = find_place(str(found))
    assert place is not None
    store = OutcomeStore(place)
    now_ms = int(time.time() * 1000)
    begins_ms = month_of(now_ms).begins_ms
    for i, (tenant, at_ms, purpose) in enumerate(
        [
            ("acme", now_ms, Purpose.SERVE),
            ("acme", now_ms, Purpose.ESCALATE),
            ("acme", now_ms, Purpose.JUDGE),
            ("acme", now_ms, Purpose.SHADOW),
            ("acme", begins_ms, Purpose.SERVE),
            ("acme", begins_ms - 1, Purpose.SERVE),
            ("globex", now_ms, Purpose.SERVE),
            ("", now_ms, Purpose.SERVE),
        ]
    ):
        record = cost(
            f"a{i}",
            f"d{i}",
            TokenCounts(1000),
            purpose=purpose,
            at_ms=at_ms,
            tenant=tenant,
            policy="assistant",
        )
        store.record_cost(record, PRICE)
    assert store.close(10)
    return found


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_what_is_spent_of_each_budget(path: Path) -> None:
    result = run("budget", "--policy", EXAMPLE, "--store", path, "--json")
    assert result.exit_code == 0, result.stderr
    found = {
        (line["scope"], line["name"], line["period"]): (line["limit_nano"], line["spent_nano"])
        for line in json.loads(result.stdout)
    }
    now_ms = int(time.time() * 1000)
    # On the first of a month, the month's first moment is today's.
    today = 3 if day_of(now_ms).begins_ms == month_of(now_ms).begins_ms else 2
    assert found == {
        ("tenant", "acme", "day"): (40 * 10**9, today * COST),
        ("tenant", "acme", "month"): (800 * 10**9, 3 * COST),
        ("policy", "assistant", "month"): (5000 * 10**9, 5 * COST),
        ("policy", "reports", "day"): (100 * 10**9, 0),
        ("tenant", "", "day"): (5 * 10**8, COST),
        ("tenant", "globex", "day"): (5 * 10**8, COST),
    }
    shown = run("budget", "--policy", EXAMPLE, "--store", path)
    assert shown.exit_code == 0
    assert "(no tenant named)" in shown.stdout
    assert "0.6%" in shown.stdout


def test_what_is_missing_is_said(path: Path, tmp_path: Path) -> None:
    assert "no such file" in run("budget", "--policy", EXAMPLE, "--store", tmp_path / "none").stderr
    assert "off; nothing is stored" in run("budget", "--policy", EXAMPLE, "--store", "off").stderr
    assert run("budget", "--policy", tmp_path / "none.yaml", "--store", path).exit_code == 1
    assert run("budget", "--store", path).stdout == "no budget of dollars in the policy file\n"
