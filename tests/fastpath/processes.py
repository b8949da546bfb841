"""Processes that do the same thing at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence


def run_together(script: str, *arguments: Sequence[str], codes: Sequence[int] | None = None) -> list[str]:
    """What processes print that run a script side by side; it awaits its start with `sys.stdin.readline()`.

    Args:
        script: Python source.
        arguments: the command line of each process.
        codes: expected exit codes, by default all 0.
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *line],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in arguments
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == list(codes or [0] * len(started))
    return printed
