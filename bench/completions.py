"""`Complete` beside direct calls: what it adds to one call, what a core carries, and `Route` beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.complete import measuring, priority
from bench.machine import describe_machine


def run(*, quick: bool) -> dict[str, Any]:
    """Measures everything; about three minutes, twenty seconds if `quick`.

    Raises:
        WrongAnswerError: an answer is not the upstream's; nothing is reported then.
        ServerError: a server did not start.
    """
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="turnout-bench-") as name:
        result = measuring.run_all(Path(name), quick=quick)
        result["priority"] = priority.run(Path(name), quick=quick)
    return {"bench": "completions", "quick": quick, "machine": machine, **result}


def print_summary(result: dict[str, Any]) -> None:
    """The figures in short, for the terminal."""
    for pair, added in result["latency"]["added"].items():
        figures = ", ".join(f"{key} {value['median']:+.0f}" for key, value in added.items())
        print(f"{pair}: {figures}")
    for name, cell in result["throughput"].items():
        print(
            f"{name}: {cell['calls_per_core_s']['median']:.0f} calls a second of a core, "
            f"{cell['calls_per_s']['median']:.0f} a second in all"
        )
    streams = result["streams"]
    print(f"{streams['whole']} of {streams['streams']} streams whole in {streams['seconds']} s")
    for port, states in result["priority"]["ports"].items():
        told = ", ".join(
            f"{state} {cell['p50_us']:.0f} / {cell['p99_us']:.0f}" for state, cell in states.items()
        )
        print(f"Route, {port}, p50 / p99 us: {told}")
