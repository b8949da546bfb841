"""The load generator: h2load, one POST of the same bytes over and over, every call's time kept."""

from __future__ import annotations

import re
import resource
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.omission import from_due
from bench.sampling import Floats

ROUTE_PATH = "/turnout.v1.RoutingService/Route"
HEADERS = ("content-type: application/grpc", "te: trailers")
FRAME_PREFIX_BYTES = 5
TIMEOUT_S = 120


class LoadError(RuntimeError):
    """A call failed, or h2load did."""


@dataclass(frozen=True)
class Run:
    """What one run of h2load gave.

    Attributes:
        calls: calls made, all of them answered with HTTP status 200.
        seconds: from the first call's start to the last one's end.
        message_bytes: mean size of the answers, without gRPC's framing; an error has none, so that the right size
            says that there was none.
        latencies_us: (calls,) ascending.
        own_cpu_s: CPU time of h2load itself.
    """

    calls: int
    seconds: float
    message_bytes: float
    latencies_us: Floats
    own_cpu_s: float

    @property
    def calls_per_s(self) -> float:
        """Throughput."""
        return self.calls / self.seconds


def frame(message: bytes) -> bytes:
    """A message as it goes into an HTTP/2 body: gRPC's five bytes, uncompressed, before it."""
    return struct.pack(">BI", 0, len(message)) + message


def drive(
    port: int,
    body: Path,
    *,
    calls: int,
    clients: int,
    streams: int,
    rate: float = 0.0,
    path: str = ROUTE_PATH,
    headers: Sequence[str] = HEADERS,
) -> Run:
    """Makes `calls` calls in a closed loop, or at a rate.

    Args:
        port: of the server, on 127.0.0.1.
        body: file with the framed request.
        calls: at least `clients`.
        clients: connections.
        streams: calls under way at once on each connection.
        rate: calls a second, over all connections; 0 means a closed loop. Latencies then run from when calls were due.
        path: that is posted to.
        headers: of the request.

    Raises:
        LoadError: h2load or a call failed.
    """
    log = body.with_suffix(".log")
    # It would be appended to.
    log.unlink(missing_ok=True)
    command = ["h2load", "-n", str(calls), "-c", str(clients), "-m", str(streams), "-t", "1"]
    if rate:
        command.append(f"--rps={rate / clients}")
    command += [part for header in headers for part in ("-H", header)]
    command += ["-d", str(body), f"--log-file={log}", f"http://127.0.0.1:{port}{path}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise LoadError(f"h2load ended with {done.returncode}: {done.stderr[-500:]}")
    own_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return read_run(done.stdout, log.read_text(encoding="ascii"), own_cpu_s, rate)


def read_run(output: str, log: str, own_cpu_s: float, rate: float = 0.0) -> Run:
    """Reads h2load's report and its log of calls.

    Args:
        output: what it printed.
        log: lines of start (us since the epoch), HTTP status, duration (us).
        own_cpu_s: CPU time that it took.
        rate: calls a second that were due; 0 means a closed loop.

    Raises:
        LoadError: a call failed, or the report is none.
    """
    counts = re.search(r"^requests: (\d+) total, .* (\d+) succeeded, (\d+) failed", output, re.MULTILINE)
    data = re.search(r"\((\d+)\) data$", output, re.MULTILINE)
    if counts is None or data is None:
        raise LoadError(f"h2load printed no report: {output[-500:]}")
    calls, succeeded = int(counts[1]), int(counts[2])
    table = np.array([line.split()[:3] for line in log.splitlines()], dtype=np.float64).reshape(-1, 3)
    if succeeded != calls or len(table) != calls or (table[:, 1] != 200).any():
        raise LoadError(f"{succeeded} of {calls} calls succeeded: {counts[0]}")
    starts, latencies = table[:, 0], table[:, 2]
    seconds = float((starts + latencies).max() - starts.min()) / 1e6
    if rate:
        latencies = from_due(starts, latencies, rate)
    return Run(
        calls=calls,
        seconds=seconds,
        message_bytes=int(data[1]) / calls - FRAME_PREFIX_BYTES,
        latencies_us=np.sort(latencies),
        own_cpu_s=own_cpu_s,
    )
