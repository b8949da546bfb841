"""`turnout train` and `turnout calibrate`, run as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from turnout_fastpath import load_bundle
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.policy_document import DEFAULT_POLICY
from turnout_server import cli
from turnout_server.policy_file import load_policy_file
from typer.testing import CliRunner, Result

from tests.fastpath.training.labels import write_labels

BAD_DATA = Path(__file__).parents[1] / "fastpath/training/bad_data"
TIERS = ("small", "mid", "frontier")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labels(tmp_path_factory.mktemp("labels") / "labels.jsonl", 300, TIERS)


@pytest.fixture(scope="module")
def trained(
    bundle: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], str]:
    """A trained bundle, its figures, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    result = run(
        "train", labels, "--from", bundle, "--out", folder / "bundle", "--json", folder / "figures.json"
    )
    assert result.exit_code == 0, result.output
    return folder / "bundle", json.loads((folder / "figures.json").read_bytes()), result.stdout


def test_train_writes_a_bundle_and_says_what_it_learned(trained: tuple[Path, dict[str, Any], str]) -> None:
    path, figures, printed = trained
    assert load_bundle(path).heads == ["small", "mid"]
    assert [head["name"] for head in figures["heads"]] == ["small", "mid"]
    assert all(head["log_loss"] < head["log_loss_before"] for head in figures["heads"])
    assert figures["agreement"] <= 1e-5
    assert figures["training"]["rows"] == 300
    assert "300 rows in 300 groups; scores of small, mid, frontier" in printed
    assert "cross-validated by group" in printed
    assert run("route", "turnout track", "--bundle", path).exit_code == 0


def test_the_kernel_runs_what_was_trained_on_top_of_the_bundle_that_ships(
    labels: Path, tmp_path: Path
) -> None:
    """Once from it, once from that, and once fresh on its table."""
    start: list[object] = ["--from", "default"]
    for given in (start, ["--from", tmp_path / "0"], []):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        result = run("train", labels, *given, "--out", out)
        assert result.exit_code == 0, result.output
        bundle = load_bundle(out)
        n_inputs = len(bundle.manifest["feature_means"])
        n_scores = len(bundle.tasks) + 2 * len(bundle.heads) + 1
        assert Classifier(bundle.classifier, n_inputs, n_scores).is_compiled
        # Neither is ONNX Runtime loaded to decide.
        script = "import sys; sys.modules['onnxruntime'] = None\nfrom turnout_fastpath import Engine\n"
        script += f"print(Engine.load({str(out)!r}).route('turnout track').candidates[0].p_sufficient)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_bar_on_the_terminal_leaves_the_output_to_the_pipe(
    bundle: Path, labels: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "turnout_server.cli", "train", str(labels), "--from", str(bundle)]
    terminal, theirs = pty.openpty()
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=theirs, check=False
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    assert done.returncode == 0, shown
    assert b"reading requests" in shown
    assert b"wrote" in done.stdout and b"wrote" not in shown


def test_train_with_tiers_of_models(bundle: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    result = run(
        "train",
        labels,
        "--from",
        bundle,
        "--tiers",
        "low=small,mid",
        "--tiers",
        "high=frontier",
        "--out",
        out,
    )
    assert result.exit_code == 0, result.output
    (head,) = load_bundle(out).manifest["heads"]
    assert (head["name"], head["reference_models"], head["top_models"]) == (
        "low",
        ["small", "mid"],
        ["frontier"],
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([BAD_DATA / "score_above_one.jsonl"], "row 2: scores.small: 1.3, needed: a number from 0 to 1"),
        ([BAD_DATA / "empty.jsonl"], "an empty file, needed: at least one row"),
        ([BAD_DATA / "none.jsonl"], "No such file or directory"),
        (["LABELS", "--tiers", "small"], "1 tiers (small), needed: 2 to 8, cheapest first"),
        (["LABELS", "--tiers", "tiny,frontier"], "tier 'tiny' names 'tiny'"),
        (["LABELS", "--tiers", "small,frontier"], "row 1: scores.mid: "),
        (["LABELS", "--from", "/nowhere"], "/nowhere/manifest.json: No such file or directory"),
    ],
)
def test_train_says_in_a_line_what_is_wrong(
    labels: Path, tmp_path: Path, arguments: list[object], message: str
) -> None:
    given = [labels if argument == "LABELS" else argument for argument in arguments]
    result = run("train", *given, "--out", tmp_path / "out")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("turnout: ") and message in line
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named() -> None:
    script = "import sys; sys.modules['pyarrow'] = None; from turnout_server.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "train", "x", "--out", "y"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "turnout: no package pyarrow: the training commands need pip install 'turnout[train]'\n"
    )


def test_calibrate_reports_draws_and_writes(
    trained: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    path, _, _ = trained
    fresh = write_labels(tmp_path / "fresh.jsonl", 300, TIERS, seed=5)
    plot, figures = tmp_path / "reliability.svg", tmp_path / "figures.json"
    before = load_bundle(path).revision
    result = run("calibrate", path, fresh, "--plot", plot, "--json", figures)
    assert result.exit_code == 0, result.output
    assert load_bundle(path).revision == before
    assert plot.read_text().startswith("<?xml")
    heads = json.loads(figures.read_bytes())["heads"]
    assert [head["labels"] for head in heads] == [300, 300]
    assert all(
        set(head["held_out_log_loss"]) == {"kept", "adjusted", "platt", "beta", "isotonic"} for head in heads
    )
    result = run("calibrate", path, fresh, "--out", tmp_path / "calibrated")
    assert result.exit_code == 0, result.output
    assert load_bundle(tmp_path / "calibrated").manifest["calibrated_on"]["data"] == "fresh.jsonl"


def test_calibrating_on_the_rows_of_training_is_warned_of(
    trained: tuple[Path, dict[str, Any], str], labels: Path
) -> None:
    result = run("calibrate", trained[0], labels)
    assert "its scores fit these rows too well" in result.stderr


@pytest.mark.parametrize(
    "wish",
    [("--frontier-share", "30%"), ("--max-cost-per-1k", "4"), ("--quality", "0.9")],
    ids=lambda one: one[0],
)
def test_bars_can_be_pasted_into_a_policy(
    trained: tuple[Path, dict[str, Any], str], labels: Path, tmp_path: Path, wish: tuple[str, str]
) -> None:
    result = run("calibrate", trained[0], labels, *wish, "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.output
    solved = json.loads((tmp_path / "figures.json").read_bytes())["bars"]
    assert solved["yaml"].splitlines()[0].strip() in result.stdout
    document = yaml.safe_load(DEFAULT_POLICY.with_suffix(".yaml").read_text())
    document["policies"]["default"] |= yaml.safe_load(solved["yaml"])
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(document))
    load_policy_file(policy)
    assert run("check-config", "--policy", policy, "--bundle", trained[0]).exit_code == 0
    within = run("calibrate", trained[0], labels, *wish, "--policy", policy)
    assert within.exit_code == 0, within.output
    assert "engine, in the policy" in within.stdout


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (["--quality", "1.5"], "--quality: '1.5', needed: a share"),
        (["--frontier-share", "much"], "--frontier-share: 'much', needed: a share"),
        (
            ["--frontier-share", "30%", "--quality", "0.9"],
            "--frontier-share and --quality: one wish at a time",
        ),
    ],
)
def test_wishes_that_are_none(bundle: Path, labels: Path, wish: list[str], message: str) -> None:
    result = run("calibrate", bundle, labels, *wish)
    assert result.exit_code == 2
    assert message in result.stderr
