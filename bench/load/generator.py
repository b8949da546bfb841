"""The load generator (native/generator.c): many requests in turn, closed or open loop, full histograms."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout.v1.routing_pb2 import RouteRequest

from bench.h2load import FRAME_PREFIX_BYTES, LoadError, frame
from bench.load.histogram import Histogram
from bench.machine import REPOSITORY

BUILD = REPOSITORY / "build" / "load"
MAKE = "make -C bench/load/arms"
OK, RESOURCE_EXHAUSTED = "0", "8"
WARM_UP_S = 0.2
DRAIN_S = 2.0
# Beyond the run itself.
PATIENCE_S = 30


@dataclass(frozen=True)
class Shape:
    """How a server is called.

    Attributes:
        connections: open at once.
        streams: calls under way at once on each, at most.
        seconds: that are counted, behind a warm-up.
        rate: calls a second in open loop; 0 means a closed loop.
    """

    connections: int
    streams: int
    seconds: float
    rate: float = 0.0


@dataclass(frozen=True)
class Load:
    """What one run gave.

    Attributes:
        seconds: of the counted stretch.
        good_per_s, shed_per_s: calls answered OK, or RESOURCE_EXHAUSTED, in the counted stretch.
        answered_in_window: calls answered in it, whatever the status.
        statuses: answers of the whole run by gRPC status.
        sent, failed, unanswered: calls of the whole run; `failed` had no gRPC status.
        unsent: calls of an open loop that were due in the counted stretch and found no free stream.
        details: answers of the whole run that were errors with rich details.
        first_details: base64 of the first such details.
        request_bytes: of the whole run, with gRPC's framing.
        message_bytes: mean of an OK answer, without framing.
        server_cpu_us: CPU of the server process a call answered in the counted stretch; 0 if not asked for.
        own_core_share: CPU of the generator over the counted stretch.
        latency: from when a call was due to its OK answer; calls without an answer with the time they waited.
        refused: the same of RESOURCE_EXHAUSTED.
        late: how long after it was due each call was sent.
    """

    seconds: float
    good_per_s: float
    shed_per_s: float
    answered_in_window: int
    statuses: Mapping[str, int]
    sent: int
    failed: int
    unanswered: int
    unsent: int
    details: int
    first_details: str
    request_bytes: int
    message_bytes: float
    server_cpu_us: float
    own_core_share: float
    latency: Histogram
    refused: Histogram
    late: Histogram


def write_requests(path: Path, prompts: Iterable[str]) -> int:
    """Writes the file that the generator cycles over, and returns the mean bytes of a framed request."""
    frames = [frame(RouteRequest(prompt=prompt).SerializeToString()) for prompt in prompts]
    path.write_bytes(b"".join(struct.pack("<I", len(each)) + each for each in frames))
    return round(sum(map(len, frames)) / len(frames))


def command_of(
    host: str, port: int, requests: Path, shape: Shape, *, pid: int = 0, seed: int = 1
) -> list[str]:
    """The command line of a run.

    Raises:
        LoadError: the generator is not built.
    """
    program = BUILD / "generator"
    if not program.exists():
        raise LoadError(f"{program} is missing: {MAKE}")
    options = {
        "host": host,
        "port": port,
        "requests": requests,
        "connections": shape.connections,
        "streams": shape.streams,
        "warm-up-s": WARM_UP_S,
        "seconds": shape.seconds,
        "drain-s": DRAIN_S,
        "rate": shape.rate,
        "pid": pid,
        "seed": seed,
    }
    return [str(program), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]


def drive(host: str, port: int, requests: Path, shape: Shape, *, pid: int = 0, seed: int = 1) -> Load:
    """Runs the generator.

    Args:
        host, port: of any server of `Route` over cleartext HTTP/2.
        requests: from `write_requests`.
        shape: how it is called.
        pid: of the server's process, for its CPU time; 0 if it is not to be had.
        seed: of the arrivals.

    Raises:
        LoadError: it failed, or lost a connection.
    """
    command = command_of(host, port, requests, shape, pid=pid, seed=seed)
    limit_s = WARM_UP_S + shape.seconds + DRAIN_S + PATIENCE_S
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode:
        raise LoadError(f"the generator ended with {done.returncode}: {done.stderr[-500:].strip()}")
    return read_load(done.stdout)


def read_load(output: str) -> Load:
    """Reads the generator's report.

    Raises:
        LoadError: connections were lost, or the counts do not add up.
    """
    said: dict[str, Any] = json.loads(output)
    statuses, window = said["statuses"], said["window_statuses"]
    if said["connections_lost"]:
        raise LoadError(f"the server closed {said['connections_lost']} connections")
    accounted = said["answered"] + said["failed"] + said["unanswered"]
    if accounted != said["sent"] or sum(statuses.values()) != said["answered"]:
        raise LoadError(f"{said['sent']} calls sent, {accounted} accounted for, {statuses} by status")
    seconds = said["seconds"]
    answered = sum(window.values())
    good = statuses.get(OK, 0)
    return Load(
        seconds=seconds,
        good_per_s=window.get(OK, 0) / seconds,
        shed_per_s=window.get(RESOURCE_EXHAUSTED, 0) / seconds,
        answered_in_window=answered,
        statuses=statuses,
        sent=said["sent"],
        failed=said["failed"],
        unanswered=said["unanswered"],
        unsent=said["unsent"],
        details=said["details"],
        first_details=said["first_details"],
        request_bytes=said["request_bytes"],
        message_bytes=said["message_bytes"] / good - FRAME_PREFIX_BYTES if good else 0.0,
        server_cpu_us=said["server_cpu_ns"] / answered / 1000 if answered else 0.0,
        own_core_share=said["own_cpu_ns"] / seconds / 1e9,
        latency=Histogram.read(said["latency"]),
        refused=Histogram.read(said["refused"]),
        late=Histogram.read(said["late"]),
    )
