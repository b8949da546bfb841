"""`python -m tests.conformance`: runs clients through the table. See the README beside this file."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.conformance.conforming import Verdict, run_client
from tests.conformance.matrix import make_matrix, write_matrix
from tests.conformance.runners import ROOT, RUNNERS
from tests.conformance.services import running
from tests.conformance.table import load_rows, make_cases


def compare(clients: list[str], *, write: bool, fresh: bool) -> bool:
    """Runs clients, prints what differs and the matrix; whether all passed.

    Args:
        clients: which.
        write: whether the matrix is put into the README.
        fresh: whether the README's matrix must be this one.
    """
    rows = load_rows()
    verdicts: dict[str, list[Verdict]] = {}
    with running() as services, tempfile.TemporaryDirectory() as scratch:
        for client in clients:
            verdicts[client] = run_client(client, rows, services, Path(scratch))
    failed = passed = 0
    for ones in verdicts.values():
        for one in ones:
            passed += not one.differences
            failed += bool(one.differences)
            for difference in one.differences:
                print(f"{one.case.id}: {difference[:400]}")
    matrix = make_matrix(verdicts)
    print(matrix)
    if write:
        write_matrix(matrix, ROOT / "README.md")
    is_fresh = not fresh or matrix in (ROOT / "README.md").read_text(encoding="utf-8")
    if not is_fresh:
        print("README.md: another matrix; run `python -m tests.conformance --write`")
    print(f"{passed} passed, {failed} failed")
    return failed == 0 and is_fresh


def check() -> bool:
    """Runs the `check` of every client that has one, with a service for its example; whether all passed."""
    passed = True
    with running() as services:
        environ = os.environ | {"TURNOUT_ADDRESS": services.addresses["main"]}
        for script in sorted((ROOT / "clients").glob("*/check")):
            began = time.monotonic()
            print(f"-- {script.parent.name}", flush=True)
            code = subprocess.run([str(script)], env=environ, check=False).returncode
            print(
                f"-- {script.parent.name}: exit status {code}, {time.monotonic() - began:.0f} s", flush=True
            )
            passed = passed and code == 0
    return passed


def serve(path: Path) -> None:
    """Starts the services and writes the cases, until it is interrupted."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    with running() as services:
        cases = [
            case.document(services.addresses[case.service]) for case in make_cases(load_rows(), "by-hand")
        ]
        path.write_text(json.dumps({"cases": cases}, indent=1), encoding="utf-8")
        print(json.dumps(services.addresses), flush=True)
        interrupted.wait()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--clients", default=",".join(RUNNERS), help="which, with commas between")
    parser.add_argument("--write", action="store_true", help="put the matrix into README.md")
    parser.add_argument("--fresh", action="store_true", help="fail if README.md has another matrix")
    commands = parser.add_subparsers(dest="command")
    serving = commands.add_parser("serve", help="start the services, write the cases, and wait")
    serving.add_argument("path", type=Path)
    commands.add_parser("check", help="build and test every client, and run its example")
    arguments = parser.parse_args()
    if arguments.command == "check":
        return 0 if check() else 1
    if arguments.command == "serve":
        serve(arguments.path)
        return 0
    clients = arguments.clients.split(",")
    if unknown := set(clients) - set(RUNNERS):
        parser.error(f"--clients: {sorted(unknown)[0]} is none of {', '.join(RUNNERS)}")
    return 0 if compare(clients, write=arguments.write, fresh=arguments.fresh) else 1


if __name__ == "__main__":
    sys.exit(main())
