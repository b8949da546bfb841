"""`turnout evaluate` and `turnout gate` as they are typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turnout_fastpath.bundle import load_bundle
from turnout_server import cli
from turnout_server.gate_record import read_record
from turnout_server.settings import KNOBS
from typer.testing import CliRunner, Result

from tests.server.small_bundle import make_small_bundle


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for knob in KNOBS:
        monkeypatch.delenv(knob.variable, raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 questions that every tier answers, and 100 that only the top one does."""
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    source = np.random.default_rng(0)
    rows = []
    for i in range(500):
        words = source.choice(["what", "is", "the", "capital", "write", "python", "why", "list"], 5)
        hard = float(i % 5 == 0)
        row = {
            "id": str(i),
            "prompt": " ".join(words) + f" {i}",
            "task": "knowledge",
            "group": str(i),
            "scores": {"small": 1 - hard, "mid": 1 - hard, "frontier": 1.0},
        }
        rows.append(json.dumps(row))
    path.write_text("\n".join(rows))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def policy_of(tmp_path: Path, document: dict[str, Any], tier: str) -> Path:
    """A policy that sends everything to one tier."""
    default = document["policies"]["default"]
    default["min_tier"] = default["max_tier"] = default["safe_tier"] = tier
    default["buckets"] = []
    path = tmp_path / f"{tier}.json"
    path.write_text(json.dumps(document))
    return path


def test_evaluate_prints_tables_and_writes_figures_and_plots(
    bundle: Path, policy: Path, data: Path, tmp_path: Path
) -> None:
    arguments = ["--policy", policy, "--json", tmp_path / "e.json", "--plots", tmp_path / "plots"]
    result = run("evaluate", bundle, data, *arguments, "--replicates", 100)
    assert result.exit_code == 0, result.stderr
    for word in ("APGR", "CPT50 %", "prompt length", "oracle", "cost and quality", "as the policy decides"):
        assert word in result.stdout
    assert "WARNING: the bundle does not say what it was trained on" in result.stdout
    figures = json.loads((tmp_path / "e.json").read_text())
    assert figures["pairs"]["small"]["all"]["rows"] == 500
    assert figures["pairs"]["small"]["all"]["always_weak"]["value"] == pytest.approx(0.8)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "cost-quality.svg",
        "reliability-mid.svg",
        "reliability-small.svg",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "sideways"], "--split: 'sideways', known: given, in-domain"),
        (["--prices", "small"], "--prices: 'small', needed: a name and a number"),
        (["--prices", "small=1"], "no price of mid, frontier"),
        (["--quality", "200%"], "--quality: '200%'"),
        (["--tiers", "small=gpt-1 frontier=frontier"], "tier 'small' names 'gpt-1'"),
    ],
)
def test_what_is_misused_is_said_in_one_line(
    bundle: Path, data: Path, arguments: list[str], said: str
) -> None:
    result = run("evaluate", bundle, data, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_stored_vectors_are_left_out(bundle: Path, data: Path, tmp_path: Path) -> None:
    vector = {"features": [1.0, 2.0], "features_revision": "x", "scores": {"small": 1.0, "frontier": 1.0}}
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(data.read_text() + "\n" + json.dumps(vector))
    result = run("evaluate", bundle, mixed, "--replicates", 100)
    assert result.exit_code == 0, result.stderr
    assert "1 rows have a stored vector and no text; they are left out" in result.stderr
    mixed.write_text(json.dumps(vector))
    assert "no row has text" in run("evaluate", bundle, mixed).stderr


def test_a_missing_package_is_named(bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("turnout_fastpath.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("evaluate", bundle, data)
    assert result.exit_code == 1
    assert "no package pyarrow: this command needs pip install 'turnout[train]'" in result.stderr


def test_a_bundle_that_loses_nothing_passes(bundle: Path, policy: Path, data: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    result = run("gate", bundle, data, "--against", bundle, "--policy", policy, "--record", record)
    found = read_record(record)
    if found.rows < 200:
        pytest.skip("this bundle sends too little below the top")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert found.passed
    assert found.bundle_revision == found.against_revision == load_bundle(bundle).revision.hex()
    assert found.delta == 0.02 and len(found.data_sha256) == 64


def test_a_bundle_that_loses_fails_and_the_record_says_so(
    bundle: Path, data: Path, tmp_path: Path, document: dict[str, Any]
) -> None:
    """Everything to the small tier, which fails one in five."""
    policy = policy_of(tmp_path, document, "small")
    record = tmp_path / "record.json"
    result = run("gate", bundle, data, "--against", "top", "--policy", policy, "--record", record)
    assert result.exit_code == 1
    assert "knowledge: failed: -0.200 on 500 rows of 500 groups, limit: -0.020" in result.stdout
    found = read_record(record)
    assert not found.passed and found.against_revision == "top"
    wide = run(
        "gate", bundle, data, "--against", "top", "--policy", policy, "--record", record, "--delta", 0.25
    )
    assert wide.exit_code == 0


def test_nothing_below_the_top_is_nothing_to_judge(
    bundle: Path, data: Path, tmp_path: Path, document: dict[str, Any]
) -> None:
    policy = policy_of(tmp_path, document, "frontier")
    record = tmp_path / "record.json"
    result = run("gate", bundle, data, "--against", "top", "--policy", policy, "--record", record)
    assert result.exit_code == 1
    assert "there is nothing to judge" in result.stdout


def test_few_rows_are_undecided(bundle: Path, data: Path, tmp_path: Path, document: dict[str, Any]) -> None:
    few = tmp_path / "few.jsonl"
    lines = [line for line in data.read_text().splitlines() if json.loads(line)["scores"]["small"]]
    few.write_text("\n".join(lines[:40]))
    policy = policy_of(tmp_path, document, "small")
    arguments = ["gate", bundle, few, "--against", "top", "--policy", policy, "--record", tmp_path / "r.json"]
    strict = run(*arguments)
    assert strict.exit_code == 1 and "undecided" in strict.stdout
    assert run(*arguments, "--allow-undecided").exit_code == 0


def test_from_gate_to_promotion_and_back(data: Path, tmp_path: Path, document: dict[str, Any]) -> None:
    """The operator's whole way: gate, promote, gate the next against the current, roll back."""
    policy = policy_of(tmp_path, document, "small")
    first, second = (make_small_bundle(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    store = tmp_path / "store"
    common = ["--policy", policy, "--delta", 0.5]
    assert run("gate", first, data, "--against", "top", *common).exit_code == 0
    assert run("promote", first, "--store", store).exit_code == 0
    assert run("gate", second, data, "--against", store / "current", *common).exit_code == 0
    assert run("promote", second, "--store", store).exit_code == 0
    assert run("rollback", "--store", store).exit_code == 0
    assert load_bundle(store / "current").revision == load_bundle(first).revision
