"""`Route` while `Complete` is saturated: its latency alone, beside completions, and beside as much unrelated work.

A probe in a process of its own asks at fixed times, open loop, and counts from when a call was due.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from turnout.v1 import routing_pb2, routing_pb2_grpc

from bench.complete.callers import COMPLETE, PROMPT
from bench.complete.measuring import AT_ONCE, CONNECTIONS, TOKENS, calling, drive
from bench.complete.services import Services, serving
from bench.machine import REPOSITORY
from bench.sampling import figure

PROBE_PER_S = 50
PATIENCE_S = 30.0
ALONE, COMPLETING, BUSY = "alone", "Complete saturated", "equal unrelated load"
# A process that keeps a share of a core busy, in slices of so many seconds.
SLICE_S = 0.01


def probe(address: str, seconds: float) -> dict[str, float]:
    """Latency of `Route` at fixed times, us from when each call was due; for a process of its own."""
    request = routing_pb2.RouteRequest(prompt=PROMPT)
    found: list[float] = []

    def note(due: float) -> Callable[[Any], None]:
        return lambda _: found.append((time.perf_counter() - due) * 1e6)

    with grpc.insecure_channel(address) as channel:
        stub: Any = routing_pb2_grpc.RoutingServiceStub(channel)
        for _ in range(20):
            stub.Route(request, timeout=PATIENCE_S, wait_for_ready=True)
        calls = []
        began = time.perf_counter()
        for number in range(int(seconds * PROBE_PER_S)):
            due = began + number / PROBE_PER_S
            while (left := due - time.perf_counter()) > 0:
                time.sleep(left)
            # A late answer does not keep the next call from being made when it is due.
            call = stub.Route.future(request, timeout=PATIENCE_S)
            call.add_done_callback(note(due))
            calls.append(call)
        for call in calls:
            call.result()
    return {
        "calls": len(found),
        "p50_us": figure(float(np.percentile(found, 50))),
        "p99_us": figure(float(np.percentile(found, 99))),
    }


def burn(share: float) -> None:
    """Keeps a share of a core busy, for ever."""
    while True:
        began = time.perf_counter()
        while time.perf_counter() - began < SLICE_S * share:
            pass
        if (rest := SLICE_S * (1 - share)) > 0:
            time.sleep(rest)


def run(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Both ports, in the three states; the unrelated load is what the completions cost in all, caller included."""
    seconds = 3.0 if quick else 20.0
    with serving(folder, f"stream-{TOKENS}", decision_port=True) as services:
        ports = {"main port": services.turnout.port, "decision port": _decision_port(folder / "turnout.log")}
        addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        result: dict[str, Any] = {"probes_per_s": PROBE_PER_S, "ports": {name: {} for name in ports}}
        for name, address in addresses.items():
            result["ports"][name][ALONE] = _probe_apart(address, seconds)
        shares = []
        for name, address in addresses.items():
            with _completing(services, folder) as share:
                result["ports"][name][COMPLETING] = _probe_apart(address, seconds)
                shares.append(share())
        result["busy_cores"] = figure(float(np.mean(shares)))
        for name, address in addresses.items():
            with _burning(float(np.mean(shares))):
                result["ports"][name][BUSY] = _probe_apart(address, seconds)
    return result


def _decision_port(log: Path) -> int:
    found = re.search(rb'"decision_port": ?(\d+)', log.read_bytes())
    if found is None:
        raise RuntimeError(f"{log}: no decision port")
    return int(found[1])


def _probe_apart(address: str, seconds: float) -> dict[str, Any]:
    code = f"import json; from bench.complete.priority import probe; print(json.dumps(probe({address!r}, {seconds})))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY, check=True, timeout=seconds + 60
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@contextlib.contextmanager
def _completing(services: Services, folder: Path) -> Iterator[Any]:
    """Completions as fast as they go, from a process of its own; yields what tells the cores that are busy."""
    process = multiprocessing.get_context("fork").Process(
        target=_complete_for_ever, args=(services,), daemon=True
    )
    process.start()
    time.sleep(1.5)
    began, before = time.perf_counter(), _busy_s()
    try:
        yield lambda: (_busy_s() - before) / (time.perf_counter() - began)
    finally:
        process.kill()
        process.join()


def _complete_for_ever(services: Services) -> None:
    async def go() -> None:
        async with calling(services, CONNECTIONS) as callers:
            await drive(callers.arms()[COMPLETE], AT_ONCE, 3600)

    asyncio.run(go())


def _busy_s() -> float:
    """CPU seconds of all processes of the machine, but for waiting."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system = (int(value) for value in fields[:3])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _burning(cores: float) -> Iterator[None]:
    """Busy processes, together as many cores."""
    context = multiprocessing.get_context("fork")
    shares = [min(1.0, cores - whole) for whole in range(int(np.ceil(cores)))]
    processes = [context.Process(target=burn, args=(share,), daemon=True) for share in shares]
    for process in processes:
        process.start()
    time.sleep(0.5)
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()
