"""`turnout export-training`: which label each decision gets, with which weight, and that training takes the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from turnout_fastpath import Engine, Request, StateBlock, load_bundle
from turnout_fastpath.bundle import inputs_revision
from turnout_fastpath.training.labelled_data import read_labelled_data
from turnout_server import cli
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.gates.verdict import Gate, GateReason, accept, escalate
from turnout_server.quality.store.place import Place, find_place
from turnout_server.quality.store.records import GateRecord, ScoreRecord
from turnout_server.quality.store.store import Options, OutcomeStore
from turnout_server.reloading import Source
from typer.testing import CliRunner, Result

from tests.server.quality.store.examples import NOON_MS, PRICE, attempt, comparison, cost, decision

PASSED = (accept(Gate.REFUSAL), accept(Gate.EMPTY))
REJECTED = (accept(Gate.REFUSAL), escalate(Gate.EMPTY, GateReason.EMPTY))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["export-training", *map(str, arguments)])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = find_place(str(tmp_path / "outcomes.db"))
    assert found is not None
    return found


def keep_text(text: str) -> str:
    return text


def answered(store: OutcomeStore, name: str, tier: str, *verdicts: Any, served: bool = True) -> None:
    """An answer of a tier to the decision `name`, and what gates said."""
    result = AttemptResult.SERVED if served else AttemptResult.REJECTED
    key = f"{name}-{tier}"
    purpose = Purpose.SERVE if tier == "small" else Purpose.ESCALATE
    store.record_attempt(attempt(key, name, result=result, fault=None, purpose=purpose))
    store.record_cost(replace(cost(key, name), tier=tier), PRICE)
    if verdicts:
        store.record_gates(GateRecord(name, key, NOON_MS, verdicts))


def scored(name: str, source: Purpose, tier: str, score: float, **more: Any) -> ScoreRecord:
    return ScoreRecord(name, f"{name}-{source}-{tier}", NOON_MS, source, tier, score, **more)


def fill(store: OutcomeStore, name: str) -> None:
    """What each decision, named after what it tests, has met."""
    shadow = {"other_score": 0.0, "other_tier": "frontier", "propensity": 0.1}
    if name == "shadow over gates":
        answered(store, name, "small", *PASSED)
        store.record_score(scored(name, Purpose.SHADOW, "small", 1.0, **shadow))
    elif name == "ensemble":
        for tier, score in (("small", 0.4), ("frontier", 0.9)):
            store.record_score(scored(name, Purpose.ENSEMBLE, tier, score, propensity=0.2))
    elif name == "judge and rejected":
        answered(store, name, "small", *REJECTED, served=False)
        answered(store, name, "frontier", *PASSED)
        store.record_score(scored(name, Purpose.JUDGE, "frontier", 0.8, propensity=0.5))
    elif name == "judge alone":
        answered(store, name, "small")
        store.record_score(scored(name, Purpose.JUDGE, "small", 0.6))
    elif name == "agreement over gates":
        answered(store, name, "small", *PASSED)
        store.record_comparison(comparison(f"{name}-c", name))
    elif name == "gates":
        answered(store, name, "small", *REJECTED, served=False)
        answered(store, name, "frontier", *PASSED)
    elif name == "nothing":
        answered(store, name, "small")


WANTED: dict[str, tuple[dict[str, float], float]] = {
    "shadow over gates": ({"small": 1.0, "frontier": 0.0}, 0.025),
    "ensemble": ({"small": 0.4, "frontier": 0.9}, 0.05),
    "judge and rejected": ({"small": 0.0, "frontier": 0.8}, 0.125),
    "judge alone": ({"small": 0.6}, 0.25),
    "gates": ({"small": 0.0, "frontier": 1.0}, 0.25),
}


def test_each_decision_gets_the_best_label_there_is(place: Place, tmp_path: Path) -> None:
    store = OutcomeStore(place, Options(redact=keep_text))
    for name in (*WANTED, "agreement over gates", "nothing"):
        store.record_decision(decision(name, prompt=f"Prompt of {name}", propensity=0.25, task="chat"))
        fill(store, name)
    store.record_decision(decision("textless", propensity=0.25))
    fill(store, "gates")
    answered(store, "textless", "small", *PASSED)
    store.close()
    out = tmp_path / "labels.jsonl"
    done = run("--store", place, "--out", out)
    assert done.exit_code == 0, done.output
    rows = {row["id"]: row for row in map(json.loads, out.read_text().splitlines())}
    for name, (scores, propensity) in WANTED.items():
        assert rows[name]["scores"] == scores, name
        assert rows[name]["propensity"] == pytest.approx(propensity)
        assert rows[name]["prompt"] == f"Prompt of {name}" and rows[name]["task"] == "chat"
    assert set(rows) == {*WANTED, "agreement over gates"}
    assert rows["gates"]["costs"].keys() == {"small", "frontier"}
    assert "1 decisions left out: nothing has scored them" in done.output
    assert "1 decisions left out: neither text nor a vector" in done.output
    assert len(read_labelled_data(out)) == len(rows)
    only = run("--store", place, "--out", out, "--sources", "gates")
    assert only.exit_code == 0
    rows = {row["id"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert rows["shadow over gates"]["scores"] == {"small": 1.0}
    assert rows["shadow over gates"]["propensity"] == 0.25


def test_weights_undo_what_exploring_and_shadowing_draw(place: Place, tmp_path: Path) -> None:
    """Hard prompts are mostly sent to the top and rarely shadowed; by weight, the small tier's worth is as among all."""
    source = Random(5)
    store = OutcomeStore(place, Options(redact=keep_text, queue_rows=100_000))
    worth = []
    for i in range(6000):
        hard = source.random() < 0.5
        small_wins = source.random() < (0.2 if hard else 0.8)
        worth.append(1.0 if small_wins else 0.0)
        takes_small, shadowed = (0.2, 0.3) if hard else (0.9, 0.6)
        if source.random() < takes_small and source.random() < shadowed:
            name = f"d{i}"
            store.record_decision(decision(name, prompt=f"prompt {i}", propensity=takes_small))
            score = 1.0 if small_wins else 0.0
            more = {"other_score": 1 - score, "other_tier": "frontier", "propensity": shadowed}
            store.record_score(scored(name, Purpose.SHADOW, "small", score, **more))
    store.close()
    out = tmp_path / "labels.jsonl"
    assert run("--store", place, "--out", out).exit_code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    weights = np.array([1 / row["propensity"] for row in rows])
    scores = np.array([row["scores"]["small"] for row in rows])
    truth = float(np.mean(worth))
    # Five standard errors of the weighted mean; the plain mean is far outside.
    error = 5 * float(np.sqrt(np.sum(weights**2 * (scores - truth) ** 2)) / weights.sum())
    assert abs(np.average(scores, weights=weights) - truth) < error
    assert abs(scores.mean() - truth) > error


def test_vectors_stand_in_for_text_and_are_trained_on(
    place: Place, tmp_path: Path, bundle: Path, policy: Path
) -> None:
    engine = Engine(Source(policy, bundle).compile(StateBlock()))
    revision = inputs_revision(load_bundle(bundle))
    store = OutcomeStore(place)
    source = Random(1)
    for i in range(120):
        words = source.randint(3, 40)
        row = engine.classifier_inputs(Request("track " * words + str(i)))
        old = i >= 110
        name = f"d{i}"
        store.record_decision(
            decision(
                name,
                at_ms=NOON_MS - old * 1000,
                features=row.astype("<f4").tobytes(),
                inputs_revision="0" * 16 if old else revision,
            )
        )
        won = float(words < 20)
        more = {"other_score": 1 - won, "other_tier": "frontier", "propensity": 0.5}
        store.record_score(scored(name, Purpose.SHADOW, "small", won, **more))
    store.close()
    out = tmp_path / "labels.jsonl"
    done = run("--store", place, "--out", out)
    assert done.exit_code == 0, done.output
    assert "110 rows by shadow" in done.output and "10 decisions left out" in done.output
    trained = CliRunner().invoke(
        cli.app,
        [
            "train",
            str(out),
            "--from",
            str(bundle),
            "--tiers",
            "small,frontier",
            "--out",
            str(tmp_path / "new"),
        ],
    )
    assert trained.exit_code == 0, trained.output


def test_misuse_and_an_empty_store_are_told(place: Place, tmp_path: Path) -> None:
    OutcomeStore(place).close()
    done = run("--store", place, "--out", tmp_path / "x", "--sources", "taste")
    assert done.exit_code == 2 and "--sources: 'taste', needed: some of shadow," in done.output
    done = run("--store", place, "--out", tmp_path / "x")
    assert done.exit_code == 1 and "0 rows" in done.output
