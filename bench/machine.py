"""What a figure must be read beside: the machine, the versions, the load."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "onnxruntime", "grpcio", "protobuf", "uvloop", "model2vec", "tokenizers")
# What a measurement writes itself does not make the code another one.
OWN_OUTPUT = ("bench/results", "bench/baseline_instructions.json", "README.md", "docs/plots")


def describe_machine(tools: Iterable[tuple[str, ...]] = ()) -> dict[str, Any]:
    """The facts that are saved with every measurement, taken at its start.

    Args:
        tools: commands that print the version of a program that takes part.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load_average": list(os.getloadavg()),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": _package_versions(),
        "tools": {command[0]: _first_line(command) for command in tools},
        "revision": _revision(),
    }


def _cpu_model() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    family = re.search(r"^model\s*:\s*(\d+)$", text, re.MULTILINE)
    if found is None:
        return platform.machine()
    return found[1] + (f" (model {family[1]})" if family else "")


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _revision() -> str:
    """The git revision, with "+changes" where files differ from it; "unknown" outside a repository."""
    revision = _output(("git", "rev-parse", "--short=12", "HEAD"))
    if revision is None:
        return "unknown"
    others = [f":(exclude){path}" for path in OWN_OUTPUT]
    changed = _output(("git", "status", "--porcelain", "--untracked-files=no", "--", ".", *others))
    return revision + ("+changes" if changed else "")


def _first_line(command: tuple[str, ...]) -> str:
    return (_output(command) or "unknown").partition("\n")[0]


def _output(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
