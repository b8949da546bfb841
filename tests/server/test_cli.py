"""The command line, but for `serve`, which test_workers.py runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from turnout_server import cli
from turnout_server.settings import KNOBS
from typer.testing import CliRunner, Result


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for knob in KNOBS:
        monkeypatch.delenv(knob.variable, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)


def test_route_prints_the_decision(bundle: Path) -> None:
    result = run("route", "what is the capital of france", "--bundle", bundle)
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert lines["status"] == ["decided"]
    assert lines["tier"][0] in ("small", "mid", "frontier")
    assert lines["time"][1] == "us"
    assert {"small", "mid", "frontier", "deployment", "task", "candidate", "reason"} <= lines.keys()
    assert "feature" not in lines


def test_route_explains(bundle: Path) -> None:
    result = run("route", "what is the capital of france", "--bundle", bundle, "--explain")
    assert result.exit_code == 0
    assert "for the cheapest tier" in result.stdout
    assert "embedding" in result.stdout


def test_route_prints_json(bundle: Path, policy: Path) -> None:
    result = run("route", "-", "--bundle", bundle, "--policy", policy, "--json", text="what is the capital")
    assert result.exit_code == 0
    decision = json.loads(result.stdout)
    assert decision["status"] == "DECISION_STATUS_DECIDED"
    assert decision["tier"]
    again = json.loads(
        run("route", "what is the capital", "--bundle", bundle, "--policy", policy, "--json").stdout
    )
    assert again["digest"] == decision["digest"]
    other = run(
        "route",
        "what is the capital",
        "--system",
        "Be brief.",
        "--bundle",
        bundle,
        "--policy",
        policy,
        "--json",
    )
    assert json.loads(other.stdout)["digest"] != decision["digest"]


def test_route_takes_the_environment(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOUT_BUNDLE", str(bundle))
    assert run("route", "hello").exit_code == 0


def test_route_says_in_one_line_what_is_wrong(bundle: Path, tmp_path: Path) -> None:
    result = run("route", "hello", "--bundle", tmp_path / "none")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line == f"turnout: {tmp_path}/none/manifest.json: No such file or directory"
    result = run("route", "x" * 4_194_305, "--bundle", bundle)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line == "turnout: prompt: 4194305 bytes breaks the limit: 4194304 bytes"


def test_check_config_accepts(bundle: Path, policy: Path) -> None:
    result = run("check-config", "--policy", policy, "--bundle", bundle)
    assert result.exit_code == 0
    assert result.stdout.startswith("ok: policy ")
    assert "default, hasty" in result.stdout


def test_check_config_has_a_line_for_each_defect(
    bundle: Path, policy: Path, document: dict[str, Any]
) -> None:
    document["policies"]["default"]["bars"]["default"] = 2
    document["tiers"][0]["chain"][0]["context_window"] = "many"
    policy.write_text(json.dumps(document))
    result = run("check-config", "--policy", policy, "--bundle", bundle)
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"turnout: {policy}: ") for line in lines)
    assert any("policies.default.bars.default" in line for line in lines)
    assert any("tiers[0].chain[0].context_window" in line for line in lines)


def test_check_config_sees_what_only_the_bundle_tells(
    bundle: Path, policy: Path, document: dict[str, Any]
) -> None:
    document["tiers"][0]["head"] = "unheard-of"
    policy.write_text(json.dumps(document))
    result = run("check-config", "--policy", policy, "--bundle", bundle)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"turnout: {policy}: ")
    assert "unheard-of" in line


def test_print_config() -> None:
    result = run("print-config", "--port", "1234")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["port", "1234", "--port"] in rows
    assert ["workers", "1", "default"] in rows
    assert len(rows) == len(KNOBS) + 1
    as_json = json.loads(run("print-config", "--port", "1234", "--json").stdout)
    assert as_json["port"] == {"value": "1234", "from": "--port"}
    assert list(as_json) == [knob.name for knob in KNOBS]


def test_print_config_resolves_the_policy(policy: Path, tmp_path: Path) -> None:
    result = run("print-config", "--resolved", "--policy", policy)
    assert result.exit_code == 0
    assert "hasty" in json.loads(result.stdout)["policies"]
    result = run("print-config", "--resolved", "--policy", tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert str(tmp_path / "none.yaml") in result.stderr


@pytest.mark.parametrize("command", ["serve", "print-config"])
def test_settings_that_cannot_be_used(command: str) -> None:
    result = run(command, "--port", "x", "--workers", "0")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("turnout: port: 'x'")
    assert lines[1].startswith("turnout: workers: '0'")


def test_misuse() -> None:
    assert run("serve", "--no-such-option").exit_code == 2
    assert run("no-such-command").exit_code == 2
    assert run("route").exit_code == 2


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNOUT_WORKER", "2")
    result = run("print-config")
    assert result.exit_code == 0
    assert "did you mean TURNOUT_WORKERS?" in result.stderr


def test_serve_has_an_option_for_every_knob() -> None:
    result = run("serve", "--help")
    assert result.exit_code == 0
    for knob in KNOBS:
        assert knob.option in result.stdout


def test_the_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.strip()


def test_help_reads_neither_grpc_nor_the_engine() -> None:
    code = (
        "import sys, turnout_server.cli as c\n"
        "try: c.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'numpy', 'pydantic', 'turnout_fastpath', 'structlog'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
