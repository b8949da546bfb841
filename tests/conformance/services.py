"""The three services that rows are run against."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance import scripted
from tests.conformance.seen import Ledger

STOP_S = 30.0


@dataclass(frozen=True)
class Services:
    """What runs.

    Attributes:
        addresses: by the name that rows give.
        ledger: what the scripted one sees.
    """

    addresses: dict[str, str]
    ledger: Ledger


@contextmanager
def running(arguments: tuple[str, ...] = ()) -> Iterator[Services]:
    """Starts `turnout serve` with both ports, and the scripted service; ends them after.

    Args:
        arguments: further ones of `turnout serve`.

    Raises:
        RuntimeError: `turnout serve` does not come up.
    """
    command = [sys.executable, "-m", "turnout_server.cli", "serve", "--host", "127.0.0.1"]
    command += ["--port", "0", "--decision-port", "0", "--metrics-port", "0", "--store", "off", *arguments]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=root)
    with process:
        try:
            main, decision = _wait_for_ports(process)
            # A pipe that nobody reads would stop the service.
            drain = threading.Thread(target=_drain, args=(process,))
            drain.start()
            ledger = Ledger()
            with scripted.serving(ledger) as other:
                yield Services({"main": main, "decision": decision, "scripted": other}, ledger)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    drain.join()


def _drain(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    for _ in process.stdout:
        pass


def _wait_for_ports(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    missing = {"supervising_started", "serving_started", "deciding_started"}
    ports: dict[str, int] = {}
    assert process.stdout is not None
    for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "supervising_started":
            ports = event
        missing.discard(event["event"])
        if not missing:
            return f"127.0.0.1:{ports['port']}", f"127.0.0.1:{ports['decision_port']}"
    raise RuntimeError("turnout serve ended before both ports served; `turnout serve` says why")
