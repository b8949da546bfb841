"""Two public load generators on the same arms, so that figures do not hang on our own: h2load and ghz.

h2load repeats one body, and so reaches every arm's ceiling; ghz takes the prompts in turn from a file of data, at a
rate that it can hold.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from turnout.v1 import routing_pb2

from bench import h2load
from bench.h2load import LoadError
from bench.omission import from_due
from bench.sampling import figure, quantile
from bench.servers import Server

CALL = "turnout.v1.RoutingService.Route"
GHZ_RATE = 1000
GHZ_CONNECTIONS = 8
GHZ_CONCURRENCY = 64
TIMEOUT_S = 60


def run_h2load(
    server: Server, prompt: str, folder: Path, *, clients: int, streams: int, calls: int, rate: float = 0.0
) -> dict[str, Any]:
    """Calls a second and CPU of one body over and over, in closed loop or at a rate.

    Raises:
        LoadError: a call failed.
    """
    body = folder / "h2load.bin"
    body.write_bytes(h2load.frame(routing_pb2.RouteRequest(prompt=prompt).SerializeToString()))
    cpu_ns = server.cpu_ns()
    done = h2load.drive(server.port, body, calls=calls, clients=clients, streams=streams, rate=rate)
    cpu_ns = server.cpu_ns() - cpu_ns
    return {
        "calls": done.calls,
        "rate": rate,
        "calls_per_s": figure(done.calls_per_s),
        "server_cpu_us": figure(cpu_ns / done.calls / 1000),
        "own_core_share": figure(done.own_cpu_s / done.seconds),
        "p50_us": quantile(done.latencies_us, 0.50),
        "p99_us": quantile(done.latencies_us, 0.99),
    }


def write_data(path: Path, prompts: Sequence[str]) -> None:
    """A file of data for ghz, whose calls take the messages in turn. It reads each as a Go template."""
    literal = [{"prompt": prompt.replace("{{", "{{`{{`}}")} for prompt in prompts]
    path.write_text(json.dumps(literal), encoding="utf-8")


def write_protoset(path: Path) -> None:
    """The contract as ghz reads it: the routing file and what it imports."""
    files = FileDescriptorSet()
    seen: set[str] = set()

    def visit(descriptor: FileDescriptor) -> None:
        if descriptor.name in seen:
            return
        seen.add(descriptor.name)
        for needed in descriptor.dependencies:
            visit(needed)
        descriptor.CopyToProto(files.file.add())

    visit(routing_pb2.DESCRIPTOR)
    path.write_bytes(files.SerializeToString())


def run_ghz(server: Server, prompts: Sequence[str], folder: Path, *, seconds: float) -> dict[str, Any] | None:
    """Different prompts at a fixed rate, sent whether answers come or not; None where ghz is not installed.

    Raises:
        LoadError: ghz or a call failed.
    """
    program = shutil.which("ghz")
    if program is None:
        return None
    data, protoset = folder / "ghz.json", folder / "ghz.protoset"
    write_data(data, prompts)
    write_protoset(protoset)
    calls = max(1, round(GHZ_RATE * seconds))
    command = [program, "--insecure", "--protoset", str(protoset), "--call", CALL, "--data-file", str(data)]
    command += ["--async", "--rps", str(GHZ_RATE), "-n", str(calls), "--connections", str(GHZ_CONNECTIONS)]
    command += ["-c", str(GHZ_CONCURRENCY), "-O", "json", server.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise LoadError(f"ghz ended with {done.returncode}: {done.stderr[-500:]}")
    return read_ghz(done.stdout, calls)


def read_ghz(output: str, calls: int) -> dict[str, Any]:
    """Reads ghz's report.

    It times a call from when it was sent; latencies here run from when it was due.

    Raises:
        LoadError: a call failed.
    """
    said = json.loads(output)
    codes = said.get("statusCodeDistribution") or {}
    if codes != {"OK": calls}:
        raise LoadError(f"ghz: {calls} calls, by status {codes}")
    latencies = np.array([each["latency"] for each in said["details"]], np.float64) / 1000
    # A call's time stamp is that of its end.
    ends = np.array([_read_time_us(each["timestamp"]) for each in said["details"]])
    ascending = np.sort(from_due(ends - latencies, latencies, GHZ_RATE))
    quantiles = {"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99, "p999_us": 0.999}
    return {
        "calls": calls,
        "rate": GHZ_RATE,
        "calls_per_s": figure(float(said["rps"])),
        **{name: figure(quantile(ascending, q)) for name, q in quantiles.items()},
        "p99_from_sending_us": figure(quantile(np.sort(latencies), 0.99)),
    }


def _read_time_us(text: str) -> float:
    """Microseconds within a day, of an RFC 3339 time with up to nine decimals; runs last seconds."""
    found = re.search(r"T(\d\d):(\d\d):(\d\d(?:\.\d+)?)", text)
    if found is None:
        raise LoadError(f"ghz: {text!r} is no time")
    return (int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])) * 1e6
