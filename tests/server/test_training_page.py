"""The worked example of the training page, run as it is printed."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from turnout_server import cli
from typer.testing import CliRunner

PAGE = Path(__file__).parents[2] / "docs/training.md"
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    for line in block.splitlines()
]


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = []
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program == "python":
            assert arguments[0] == "-m"
            monkeypatch.setattr(sys, "argv", arguments[1:])
            # As in a process of its own: runpy warns of what another test has imported.
            monkeypatch.delitem(sys.modules, arguments[1], raising=False)
            runpy.run_module(arguments[1], run_name="__main__")
            continue
        assert program == "turnout"
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == 0, f"{command}\n{result.output}"
        printed.append(result.output)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {
        "labels.jsonl", "traffic.jsonl", "my-bundle", "on-top", "calibrated", "reliability.svg", "train.json", "bars.json",
    }  # fmt: skip
    assert sum("paste under a policy" in text for text in printed) == 3
