"""`turnout promote`, `rollback`, `challenger` and `history` as they are typed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from turnout_fastpath.bundle import load_bundle
from turnout_server import cli
from turnout_server.bundle_store import BundleStore
from turnout_server.gate_record import GateRecord, read_record, record_path, write_record
from typer.testing import CliRunner, Result

from tests.server.small_bundle import make_small_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_small_bundle(tmp_path / "candidate", seed=1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def record_for(bundle: Path, **changes: object) -> GateRecord:
    record = GateRecord(
        bundle_revision=load_bundle(bundle).revision.hex(),
        against_revision="0" * 16,
        policy_revision="1" * 16,
        data_sha256="2" * 64,
        rows=500,
        delta=0.02,
        passed=True,
        reasons=("chat: passed",),
        created="2026-11-28T12:00:00+00:00",
    )
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


def test_without_a_gate_nothing_is_promoted(bundle: Path, store: Path) -> None:
    result = run("promote", bundle, "--store", store)
    assert result.exit_code == 1
    assert "candidate.gate.json: No such file or directory" in result.stderr
    assert not (store / "current").exists()


def test_what_passed_is_promoted_with_its_record(bundle: Path, store: Path) -> None:
    write_record(record_for(bundle), record_path(bundle))
    result = run("promote", bundle, "--store", store)
    assert result.exit_code == 0, result.stderr
    (entry,) = BundleStore(store).history()
    assert entry.gate == record_for(bundle).to_json()
    assert entry.forced == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bundle_revision": "f" * 16}, "the gate judged revision ffffffffffffffff"),
        ({"passed": False, "reasons": ("math: worse by .1",)}, "the gate was not passed: math: worse by .1"),
    ],
    ids=["another-revision", "failed"],
)
def test_a_record_that_does_not_speak_for_it_is_refused(
    bundle: Path, store: Path, changes: dict[str, object], said: str
) -> None:
    write_record(record_for(bundle, **changes), record_path(bundle))
    result = run("promote", bundle, "--store", store)
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_gate_against_what_is_not_current_is_refused(bundle: Path, store: Path, tmp_path: Path) -> None:
    run("promote", make_small_bundle(tmp_path / "first", seed=2), "--store", store, "--force", "the first")
    write_record(record_for(bundle), record_path(bundle))
    result = run("promote", bundle, "--store", store)
    assert result.exit_code == 1
    assert "the gate compared with revision 0000000000000000, the current one is" in result.stderr
    current = BundleStore(store).current_revision()
    assert current is not None
    elsewhere = tmp_path / "record.json"
    write_record(record_for(bundle, against_revision=current), elsewhere)
    assert run("promote", bundle, "--store", store, "--gate", elsewhere).exit_code == 0


def test_force_is_recorded_with_its_reason_and_the_record_that_failed(bundle: Path, store: Path) -> None:
    write_record(record_for(bundle, passed=False), record_path(bundle))
    assert run("promote", bundle, "--store", store, "--force", "an incident").exit_code == 0
    (entry,) = BundleStore(store).history()
    assert entry.forced == "an incident"
    assert entry.gate is not None and entry.gate["passed"] is False


def test_back_and_the_history(bundle: Path, store: Path, tmp_path: Path) -> None:
    other = make_small_bundle(tmp_path / "other", seed=2)
    for path in (bundle, other):
        run("promote", path, "--store", store, "--force", "test")
    assert run("rollback", "--store", store).exit_code == 0
    assert BundleStore(store).current_revision() == load_bundle(bundle).revision.hex()
    document = json.loads(run("history", "--store", store, "--json").stdout)
    assert [step["step"] for step in document["steps"]] == ["promoted", "promoted", "rolled_back"]
    assert all(step["who"] for step in document["steps"])
    assert "rolled back" in run("history", "--store", store).stdout


def test_the_store_is_found_by_the_bundle_that_serves(
    bundle: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TURNOUT_BUNDLE", raising=False)
    assert run("rollback").exit_code == 2
    monkeypatch.setenv("TURNOUT_BUNDLE", str(store / "current"))
    assert run("promote", bundle, "--force", "test").exit_code == 0
    assert BundleStore(store).current_revision() is not None


def test_a_challenger(bundle: Path, store: Path) -> None:
    assert run("challenger", "--store", store).exit_code == 2
    assert run("challenger", bundle, "--store", store).exit_code == 0
    assert load_bundle(store / "challenger").revision == load_bundle(bundle).revision
    assert run("challenger", "--end", "--store", store).exit_code == 0
    assert not (store / "challenger").is_symlink()
    assert run("challenger", "--end", "--store", store).exit_code == 1


def test_a_record_is_read_as_it_was_written(bundle: Path, tmp_path: Path) -> None:
    record = record_for(bundle)
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
