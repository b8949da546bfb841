"""Server processes under measurement: started on free loopback ports, their CPU time read, ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.machine import REPOSITORY

START_S = 60
STOP_S = 20


class ServerError(RuntimeError):
    """The server did not come up."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        pid: of its one process.
        port: on 127.0.0.1.
        metrics_port: of its metrics endpoint; None without one.
    """

    pid: int
    port: int
    metrics_port: int | None = None

    @property
    def address(self) -> str:
        """For a gRPC channel."""
        return f"127.0.0.1:{self.port}"

    def cpu_ns(self) -> int:
        """CPU time of the process so far, user and system, all its threads: utime + stime of /proc, in ns."""
        # clock_getcpuclockid(3); Python has it for threads only.
        return time.clock_gettime_ns((~self.pid << 3) | 2)


def serve_command(*options: str) -> list[str]:
    """`turnout serve` on loopback, its metrics on a free port."""
    ports = ["--host", "127.0.0.1", "--metrics-port", "0"]
    return [sys.executable, "-m", "turnout_server.cli", "serve", *ports, *options]


def turnout_command(*options: str, decision_port: bool = False) -> list[str]:
    """`turnout serve` with one worker and its main port on a free port, with other options besides.

    Args:
        options: further ones.
        decision_port: True: with the decision port too, under a supervisor; else it is one process.
    """
    ports = ["--port", "0", "--decision-port", "0" if decision_port else "off"]
    return serve_command("--workers", "1", *ports, *options)


def decision_command(*options: str) -> list[str]:
    """`turnout serve --decision-only`, one thread on a free port, with other options besides."""
    return serve_command("--decision-only", "--decision-threads", "1", "--decision-port", "0", *options)


def echo_command(response: Path, *, lean: bool) -> list[str]:
    """The echo server; see echo_server.py."""
    module = "bench.lean_echo_server" if lean else "bench.echo_server"
    return [sys.executable, "-m", module, "--response", str(response)]


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[Server]:
    """Starts a server, waits for the line of JSON with its port, and ends it behind the block.

    Args:
        command: what to run, in the repository's folder.
        log: where its output goes.

    Raises:
        ServerError: it ended, or was silent for too long; the message holds its output.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=REPOSITORY)
    try:
        yield _wait_for_server(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_server(process: subprocess.Popen[bytes], log: Path) -> Server:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        for line in log.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                # The decision port alone has its own name for it.
                port = said.get("port", said.get("decision_port")) if isinstance(said, dict) else None
                if isinstance(port, int):
                    return Server(process.pid, port, said.get("metrics_port"))
        if process.poll() is not None:
            break
        time.sleep(0.05)
    output = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise ServerError(f"{' '.join(process.args)}: no port; exit code {process.poll()}; output:\n{output}")  # type: ignore[arg-type]
