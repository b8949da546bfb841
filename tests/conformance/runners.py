"""How each client's runner is started, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# All cases of one client; some wait for deadlines.
RUN_S = 300.0

# By client; the folder it is run in, and the command, which gets the path of cases.json.
RUNNERS: Mapping[str, tuple[Path, tuple[str, ...]]] = {
    "python": (ROOT, (sys.executable, "-m", "tests.conformance.python_runner")),
    "python-asyncio": (ROOT, (sys.executable, "-m", "tests.conformance.python_runner", "--asyncio")),
    "java": (
        ROOT / "clients/java",
        ("java", "-cp", "target/classes:target/test-classes:target/lib/*", "dev.turnout.ConformanceRunner"),
    ),
    "cpp": (ROOT / "clients/cpp", ("build/conformance_runner",)),
    "go": (ROOT, (str(ROOT / "build" / "clients" / "go-conformance"),)),
    "rust": (ROOT, (str(ROOT / "build" / "clients" / "rust-conformance"),)),
    "typescript": (ROOT / "clients" / "typescript", ("node", "dist/conformance/runner.js")),
}


class RunnerError(Exception):
    """A runner did not do its part."""


def run(client: str, cases: list[dict[str, Any]], scratch: Path) -> dict[str, dict[str, Any]]:
    """The outcomes of cases by their id, from one client.

    Raises:
        RunnerError: the runner failed, or left a case out.
    """
    path = scratch / f"{client}.json"
    path.write_text(json.dumps({"cases": cases}), encoding="utf-8")
    folder, command = RUNNERS[client]
    try:
        done = subprocess.run(
            [*command, str(path)], cwd=folder, stdout=subprocess.PIPE, timeout=RUN_S, check=False
        )
    except FileNotFoundError as error:
        raise RunnerError(f"{client}: {command[0]} is not there; is the client built?") from error
    except subprocess.TimeoutExpired as error:
        raise RunnerError(f"{client}: not done within {RUN_S:g} s") from error
    if done.returncode != 0:
        raise RunnerError(f"{client}: exit status {done.returncode}")
    outcomes: dict[str, dict[str, Any]] = {}
    for line in done.stdout.splitlines():
        if line.strip():
            result = json.loads(line)
            outcomes[result["id"]] = result["outcome"]
    if missing := {case["id"] for case in cases} - set(outcomes):
        raise RunnerError(f"{client}: no outcome of {len(missing)} cases, such as {min(missing)}")
    return outcomes
