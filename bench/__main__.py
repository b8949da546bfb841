"""The command line: `python -m bench kernels|peers|rpc|instructions|load|all|report`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.machine import REPOSITORY
from bench.results import folder_of, load_results, save_result

BENCHES = {
    "kernels": "the decision and its kernels, in process",
    "peers": "model2vec and Hugging Face tokenizers on the same prompts",
    "rpc": "Route beside a grpcio echo, driven by h2load",
    "instructions": "instructions of a decision, counted by callgrind",
    "completions": "Complete beside direct calls of the same upstream",
    "envoy": "requests through a real Envoy: without a processor, with one that does nothing, and with ours",
    "load": "the decision port under load beside echoes, closed and open loop",
}


def run_bench(name: str, quick: bool) -> tuple[ModuleType, dict[str, Any]]:
    """Runs one benchmark, prints its figures and saves them."""
    module = importlib.import_module(f"bench.{name}")
    print(f"== {name}: {BENCHES[name]}", flush=True)
    began = time.monotonic()
    result: dict[str, Any] = module.run(quick=quick)
    module.print_summary(result)
    path = save_result(name, result, quick=quick)
    print(f"== {name}: {time.monotonic() - began:.0f} s, saved in {path}", flush=True)
    return module, result


def make_parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks; see bench/README.md.")
    commands = parser.add_subparsers(dest="command", required=True)
    quick_help = "a smoke run: noisy figures, kept apart in bench/results/raw/quick"
    for name, meaning in {**BENCHES, "all": "all of them, one after the other"}.items():
        command = commands.add_parser(name, help=meaning)
        command.add_argument("--quick", action="store_true", help=quick_help)
        if name == "load":
            from bench.load.deployment import add_options

            add_options(command)
        if name == "instructions":
            command.add_argument(
                "--check", action="store_true", help="fail if a decision costs more than before"
            )
            command.add_argument("--write-baseline", action="store_true", help="make the counts the baseline")
    report = commands.add_parser("report", help="write the README's table and the plots from saved results")
    report.add_argument("--quick", action="store_true", help="from the results of smoke runs")
    report.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    report.add_argument("--readme", type=Path, default=REPOSITORY / "README.md", metavar="FILE")
    report.add_argument("--plots", type=Path, default=REPOSITORY / "docs" / "plots", metavar="FOLDER")
    return parser


def report_results(options: argparse.Namespace) -> int:
    """Writes the report, or compares it with what is there; returns the exit code."""
    from bench.report import ReportError, compose_report, find_stale, write_report

    try:
        files = compose_report(load_results(folder_of(options.quick)), options.readme, options.plots)
    except ReportError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.check:
        stale = find_stale(files)
        print(
            "\n".join(f"not what `python -m bench report` writes: {path}" for path in stale) or "up to date"
        )
        return 1 if stale else 0
    write_report(files)
    print("\n".join(f"wrote {path}" for path in files))
    return 0


def load_target(options: argparse.Namespace) -> int:
    """Loads a user's own deployment; returns the exit code."""
    from bench.h2load import LoadError
    from bench.load.deployment import run_target

    try:
        run_target(options)
    except (LoadError, OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def write_page(result: dict[str, Any], quick: bool) -> None:
    """Writes the page of the load tests with its plots; that of a smoke run lies with its result."""
    from bench.load.page import compose_files
    from bench.report import write_report

    docs = folder_of(quick) if quick else REPOSITORY / "docs"
    write_report(compose_files(result, docs / "load.md", docs / "plots"))
    print(f"wrote {docs / 'load.md'}")


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    options = make_parser().parse_args(arguments)
    if options.command == "report":
        return report_results(options)
    if options.command == "all":
        for name in BENCHES:
            run_bench(name, options.quick)
        return 0
    if options.command == "load" and options.target:
        return load_target(options)
    module, result = run_bench(options.command, options.quick)
    if options.command == "load":
        write_page(result, options.quick)
    if options.command == "instructions":
        if options.write_baseline:
            module.write_baseline(result)
        if options.check:
            return 0 if module.check(result) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
