"""One command against any turnout address: what it can do, and how it behaves beneath and beyond that."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.h2load import LoadError
from bench.load.comparison import FRACTIONS, OPEN_STREAMS, add_coverage
from bench.load.figures import summarise
from bench.load.generator import Load, Shape, drive, write_requests
from bench.load.metrics import Coverage, difference, fetch_coverage
from bench.prompts import MIXED, data_folder, load_prompts

PROMPTS = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `load` that have to do with a deployment."""
    parser.add_argument("--target", metavar="HOST:PORT", help="load this server alone; cleartext HTTP/2")
    parser.add_argument("--metrics", metavar="URL", help="its metrics endpoint, for coverage")
    parser.add_argument("--pid", type=int, default=0, help="its process on this machine, for CPU")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--streams", type=int, default=8, help="calls under way on each, closed loop")
    parser.add_argument("--rate", type=float, help="calls a second, open loop alone; else found")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help='JSON Lines with a "prompt" each')
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")


def read_prompts(path: Path) -> list[str]:
    """Prompts of a JSON Lines file.

    Raises:
        LoadError: a line has none, or there are no lines.
    """
    prompts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            prompts.append(str(json.loads(line)["prompt"]))
        except (ValueError, KeyError, TypeError) as error:
            raise LoadError(f'{path}, line {number}: no JSON object with a "prompt"') from error
    if not prompts:
        raise LoadError(f"{path}: no prompts")
    return prompts


def split_target(target: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        LoadError: it is not HOST:PORT.
    """
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise LoadError(f"--target {target}: must be HOST:PORT, the port 1 to 65535")
    return host.strip("[]"), int(port)


def run_target(options: argparse.Namespace) -> dict[str, Any]:
    """Runs closed loop, then open loop at fractions of what that gave, or at one rate.

    Raises:
        LoadError: options are wrong, or a run failed.
        OSError: the metrics endpoint cannot be reached.
    """
    host, port = split_target(options.target)
    prompts = (
        read_prompts(options.prompts)
        if options.prompts
        else load_prompts(PROMPTS, data_folder()).classes[MIXED]
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="turnout-load-") as name:
        requests = Path(name) / "requests.bin"
        write_requests(requests, prompts)

        def measure(shape: Shape) -> Load:
            before = fetch_coverage(options.metrics) if options.metrics else None
            load = drive(host, port, requests, shape, pid=options.pid, seed=time.time_ns())
            counted: Coverage | None = None
            if before is not None:
                # Others may call the server too: these counts are not held against ours.
                counted = difference(fetch_coverage(options.metrics), before)
            row = {"rate": shape.rate, **summarise([load]), "statuses": dict(load.statuses)}
            rows.append(row | {"coverage": add_coverage([counted] if counted else [])})
            _print_row(rows[-1])
            return load

        print(
            "   due/s      OK/s  refused/s  CPU us    p50 us    p90 us    p99 us  p99.9 us  generator's core"
        )
        rates = [options.rate] if options.rate else []
        if not rates:
            load = measure(Shape(options.connections, options.streams, options.seconds))
            if not load.good_per_s:
                raise LoadError(f"{options.target} answered nothing with OK: by status {dict(load.statuses)}")
            rates = [max(1.0, round(load.good_per_s * fraction)) for fraction in FRACTIONS]
        for rate in rates:
            measure(Shape(options.connections, OPEN_STREAMS, options.seconds, rate))
    result = {
        "target": options.target,
        "connections": options.connections,
        "streams": options.streams,
        "runs": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _print_row(row: dict[str, Any]) -> None:
    due = f"{row['rate']:8.0f}" if row["rate"] else "  closed"
    times = "".join(
        f"{row[key]:10.0f}" if row[key] is not None else "         -"
        for key in ("p50_us", "p90_us", "p99_us", "p999_us")
    )
    print(
        f"{due} {row['good_per_s']:9.0f} {row['shed_per_s']:10.0f} {row['server_cpu_us']:7.1f}{times} {row['own_core_share']:6.2f}"
    )
    none = row["failed"] + row["unanswered"] + row["unsent"]
    if none:
        print(f"         {none:.0f} calls without an answer; by status {row['statuses']}")
    if row["coverage"]:
        print(f"         coverage: {row['coverage']}")
