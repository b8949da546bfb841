"""The command line: `python -m bench kernels|peers|rpc|instructions|all`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from types import ModuleType
from typing import Any

from bench.results import save_result

BENCHES = {
    "kernels": "the decision and its kernels, in process",
    "peers": "model2vec and Hugging Face tokenizers on the same prompts",
    "rpc": "Route beside a grpcio echo, driven by h2load",
    "instructions": "instructions of a decision, counted by callgrind",
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
        if name == "instructions":
            command.add_argument(
                "--check", action="store_true", help="fail if a decision costs more than before"
            )
            command.add_argument("--write-baseline", action="store_true", help="make the counts the baseline")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    options = make_parser().parse_args(arguments)
    if options.command == "all":
        for name in BENCHES:
            run_bench(name, options.quick)
        return 0
    module, result = run_bench(options.command, options.quick)
    if options.command == "instructions":
        if options.write_baseline:
            module.write_baseline(result)
        if options.check:
            return 0 if module.check(result) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
