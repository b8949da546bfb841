"""`turnout collect` as it is typed: up to a gated bundle, after a kill, and when something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from turnout_server import cli
from turnout_server.settings import KNOBS
from typer.testing import CliRunner, Result

from tests.faults import FaultServer, Wire
from tests.server.completion.wall import KEY_VARIABLE, policy_of

# What the simulated provider says well has no comma; what it says badly has.
PATTERN = r"^[A-Z][a-z ]+\.$"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for knob in KNOBS:
        monkeypatch.delenv(knob.variable, raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def write_prompts(path: Path, n: int, start: int = 0) -> Path:
    rows = [
        {
            "id": f"p{i}",
            "prompt": f"Tell me of {'track ' * (i % 30)} {i}.",
            "task": "chat",
            "pattern": PATTERN,
        }
        for i in range(start, start + n)
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


def test_from_prompts_to_a_gated_bundle(bundle: Path, tmp_path: Path) -> None:
    labels, unseen = tmp_path / "labels.jsonl", tmp_path / "unseen.jsonl"
    for path, start in ((labels, 0), (unseen, 1000)):
        prompts = write_prompts(tmp_path / "prompts.jsonl", 120, start)
        done = run(
            "collect", prompts, "--tiers", "small,mid,frontier", "--out", path, "--yes", "--concurrency", 64,
            "--max-output-tokens", 60,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert "wrote" in done.output and "120 of 120 rows" in done.output
    steps = [
        ("train", labels, "--from", bundle, "--out", tmp_path / "trained"),
        ("calibrate", tmp_path / "trained", labels, "--out", tmp_path / "calibrated"),
        ("evaluate", tmp_path / "calibrated", unseen, "--json", tmp_path / "figures.json"),
        ("gate", tmp_path / "calibrated", unseen, "--against", bundle, "--delta", 1, "--allow-undecided"),
    ]
    for step in steps:
        done = run(*step)
        assert done.exit_code == 0, (step, done.output)
    assert json.loads((tmp_path / "figures.json").read_bytes())


async def test_a_killed_run_goes_on_and_pays_for_nothing_twice(bundle: Path, tmp_path: Path) -> None:
    rows, concurrency = 150, 8
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "labels.jsonl"
    asked = [{"id": str(i), "prompt": f"Question {i}", "expected": "word"} for i in range(rows)]
    prompts.write_bytes(b"\n".join(map(orjson.dumps, asked)))
    async with FaultServer() as upstream:
        models = {"small": ["ordinary.small"], "frontier": ["ordinary.frontier"]}
        policy = tmp_path / "policy.json"
        policy.write_text(json.dumps(policy_of(upstream.url, models, Wire.OPENAI)))
        command = (
            sys.executable, "-m", "turnout_server.cli", "collect", prompts, "--tiers", "small,frontier", "--out", out,
            "--policy", policy, "--bundle", bundle, "--yes", "--concurrency", concurrency,
        )  # fmt: skip
        environ = os.environ | {KEY_VARIABLE: "key", "PYTHONPATH": os.pathsep.join(sys.path)}

        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                *map(str, command),
                env=environ,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )

        for kill_at in (40, 130):
            process = await start()
            while len(upstream.ledger.requests) < kill_at and process.returncode is None:
                await asyncio.sleep(0.005)
            process.kill()
            await process.communicate()
            assert process.returncode == -9 and not out.exists()
        paid = {tuple(record["key"]) for record in read_journal(out) if record["t"] == "answer"}
        before = Counter(key_of(seen) for seen in upstream.ledger.requests)
        assert before.total() - len(paid) <= 2 * concurrency
        process = await start()
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed.decode()
        after = Counter(key_of(seen) for seen in upstream.ledger.requests)
    assert len(after) == 2 * rows
    # Only what was on its way at a kill was asked again.
    assert after.total() - 2 * rows <= 2 * concurrency
    answers = Counter(tuple(record["key"]) for record in read_journal(out) if record["t"] == "answer")
    assert set(answers.values()) == {1} and len(answers) == 2 * rows
    assert "calls were on their way when a run ended" in printed.decode() or after.total() == 2 * rows
    assert len(out.read_text().splitlines()) == rows


def key_of(seen: Any) -> tuple[str, str]:
    return seen.model, seen.body["messages"][-1]["content"]


def read_journal(out: Path) -> list[dict[str, Any]]:
    path = out.with_name(out.name + ".journal")
    return [
        orjson.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
    ]


def test_the_budget_is_kept_over_runs(tmp_path: Path) -> None:
    prompts, out = write_prompts(tmp_path / "prompts.jsonl", 40), tmp_path / "labels.jsonl"
    command = ("collect", prompts, "--tiers", "small,frontier", "--out", out, "--yes", "--max-output-tokens", 40,
               "--concurrency", 16)  # fmt: skip
    poor = run(*command, "--budget-usd", "0.005")
    assert poor.exit_code == 0, poor.output
    assert "the budget is spent" in poor.output
    assert spent(out) <= 5_000_000
    assert 0 < len(out.read_text().splitlines()) < 40
    rich = run(*command, "--budget-usd", "1")
    assert rich.exit_code == 0 and "40 of 40 rows" in rich.output
    calls = [record for record in read_journal(out) if record["t"] == "answer"]
    assert len(calls) == len({tuple(record["key"]) for record in calls}) == 80


def spent(out: Path) -> int:
    return sum(record["nano"] for record in read_journal(out) if record["t"] in ("answer", "spent"))


def test_nothing_is_asked_before_somebody_said_yes(tmp_path: Path) -> None:
    prompts, out = write_prompts(tmp_path / "prompts.jsonl", 5), tmp_path / "labels.jsonl"
    done = run("collect", prompts, "--tiers", "small,frontier", "--out", out)
    assert done.exit_code == 2
    assert "estimated cost" in done.output and "--yes" in done.output
    assert not out.exists() and spent(out) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tiers", "small"), "--tiers: 'small', needed: two or more of small, mid, frontier, each once"),
        (("--tiers", "small,huge"), "--tiers: 'small,huge', needed"),
        (("--tiers", "small,frontier", "--judge", "mid"), "--judge: mid is weaker than frontier"),
        (("--tiers", "small,frontier", "--judge", "none"), "--judge: 'none', needed: a tier of the policy"),
        (("--tiers", "small,frontier", "--grader", "taste"), "--grader: 'taste', needed: exact, numeric"),
    ],
)
def test_misuse_is_named(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    prompts = write_prompts(tmp_path / "prompts.jsonl", 5)
    done = run("collect", prompts, "--out", tmp_path / "labels.jsonl", "--yes", *options)
    assert done.exit_code == 2
    assert message in done.output


def test_bad_data_names_row_and_column_and_asks_nothing(tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path / "prompts.jsonl", 2)
    with prompts.open("ab") as file:
        file.write(b'\n{"prompt": "x", "pattern": "("}\n{"prompt": "x"}\n')
    done = run("collect", prompts, "--tiers", "small,frontier", "--out", tmp_path / "labels.jsonl", "--yes")
    assert done.exit_code == 1
    assert "row 3: pattern: no pattern of RE2" in done.output
    assert "row 4: grader: none" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prompts.jsonl"]


def test_an_output_without_its_journal_is_not_overwritten(tmp_path: Path) -> None:
    prompts, out = write_prompts(tmp_path / "prompts.jsonl", 2), tmp_path / "labels.jsonl"
    out.write_text("precious")
    done = run("collect", prompts, "--tiers", "small,frontier", "--out", out, "--yes")
    assert done.exit_code == 2 and out.read_text() == "precious"
