"""Hostile clients against a decision port of its own: `python -m tests.server.decision_port.hostile --seconds N`.

Frames go over loopback, from a few connections at once that end as peers do: hung up, cut off, half-closed or not read.
Meanwhile an honest client's every call has to be answered, snapshots are swapped, counts read and kept decisions drained. Memory and descriptors are read when a third of the time has
passed and at the end, with all connections closed; they have to be flat between.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from turnout.v1.routing_pb2 import RouteRequest
from turnout_fastpath import Engine
from turnout_server.doors.decision_port.port import DecisionPort
from turnout_server.observability.metrics import Metrics
from turnout_server.routing import Router
from turnout_server.settings import Settings

from tests.server.decision_port.hostile_frames import HostileConnection
from tests.server.decision_port.raw_client import RawClient

ATTACKERS = 3
SWAP_S = 0.5
FRAMES_A_WRITE = 20
WRITES = (1, 3, 10, 30)
# What allocators and caches of a size class may still take after a third of the time; a sanitiser keeps what is freed.
IS_SANITISED = "san.so" in os.environ.get("LD_PRELOAD", "")
MAX_GROWTH_BYTES = (1024 if IS_SANITISED else 24) << 20
MESSAGE = RouteRequest(prompt="hello").SerializeToString()


@dataclass
class Tally:
    """What was done, and what it left behind."""

    frames: int = 0
    connections: int = 0
    answered: int = 0
    growth_bytes: int = 0
    descriptors_before: int = 0
    descriptors_after: int = 0

    def defects(self) -> list[str]:
        """What a server may not do under attack."""
        found = []
        if self.growth_bytes > MAX_GROWTH_BYTES:
            found.append(f"{self.growth_bytes} bytes more memory, limit: {MAX_GROWTH_BYTES}")
        if self.descriptors_after > self.descriptors_before:
            found.append(f"{self.descriptors_after} descriptors, before: {self.descriptors_before}")
        if not self.answered:
            found.append("no honest call was answered")
        return found


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Open in this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def attack(port: int, source: Random) -> int:
    """One hostile connection; returns how many frames it sent."""
    hostile = HostileConnection(source)
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        reads = source.random() < 0.8
        if not reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if source.random() < 0.3:
            # Cut off: a reset instead of an end.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The server hangs up on most, and stops reading from who does not read.
        with contextlib.suppress(OSError):
            client.sendall(hostile.opening())
            for _ in range(source.choice(WRITES)):
                client.sendall(hostile.frames(FRAMES_A_WRITE))
                sent += FRAMES_A_WRITE
                if reads:
                    with contextlib.suppress(BlockingIOError):
                        client.recv(1 << 20, socket.MSG_DONTWAIT)
            if source.random() < 0.3:
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 20):
                    pass
    return sent


def be_hostile(port: int, seconds: float, seed: int) -> Tally:
    """Attacks for a time, and calls honestly meanwhile."""
    tally = Tally()
    lock = threading.Lock()
    ends = time.monotonic() + seconds

    def keep_attacking(number: int) -> None:
        source = Random(f"{seed} {number}")
        while time.monotonic() < ends:
            sent = attack(port, source)
            with lock:
                tally.frames += sent
                tally.connections += 1

    attackers = [threading.Thread(target=keep_attacking, args=(number,)) for number in range(ATTACKERS)]
    for thread in attackers:
        thread.start()
    try:
        with RawClient(port) as client:
            while time.monotonic() < ends:
                headers, _ = client.result(client.ask(MESSAGE))
                assert headers["grpc-status"] == "0", headers
                tally.answered += 1
                time.sleep(0.001)
    finally:
        for thread in attackers:
            thread.join()
    return tally


async def be_hostile_to_a_new_port(settings: Settings, seconds: float, seed: int) -> Tally:
    """Attacks a port that is made for it, for a third of the time and then, measured, for the rest."""
    metrics = Metrics()
    router = Router(Engine.load(settings.bundle), metrics)
    port = DecisionPort(settings, router, metrics, keep_share=1.0)
    number = await port.start()
    swapping = asyncio.create_task(_keep_swapping(port, router))
    stopped = threading.Event()
    draining = threading.Thread(target=_keep_draining, args=(port, stopped))
    draining.start()
    try:
        await port.open()
        first = await asyncio.to_thread(be_hostile, number, seconds / 3, seed)
        await _all_closed(port)
        before, open_before = resident_bytes(), descriptors()
        tally = await asyncio.to_thread(be_hostile, number, seconds * 2 / 3, seed + 1)
        await _all_closed(port)
        tally.growth_bytes = resident_bytes() - before
        tally.descriptors_before, tally.descriptors_after = open_before, descriptors()
    finally:
        swapping.cancel()
        await asyncio.gather(swapping, return_exceptions=True)
        await port.stop()
        stopped.set()
        draining.join()
    tally.frames += first.frames
    tally.connections += first.connections
    tally.answered += first.answered
    return tally


async def _keep_swapping(port: DecisionPort, router: Router) -> None:
    while True:
        await asyncio.sleep(SWAP_S)
        await port.install(router.snapshot)
        await asyncio.to_thread(port.sums)


def _keep_draining(port: DecisionPort, stopped: threading.Event) -> None:
    """As the feed of the store does, from a thread of its own."""
    while not stopped.wait(0.05):
        for _ in port.drain_kept():
            pass


async def _all_closed(port: DecisionPort) -> None:
    async with asyncio.timeout(60):
        while port.connections:
            await asyncio.sleep(0.02)


def main() -> int:
    """Runs for the time that is asked; 1 if the server did what it may not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    settings = Settings(
        host="127.0.0.1",
        port=0,
        decision_port=0,
        decision_threads=options.threads,
        metrics_port=None,
        log_sample=0.0,
    )
    tally = asyncio.run(be_hostile_to_a_new_port(settings, options.seconds, options.seed))
    print(tally)
    for defect in tally.defects():
        print(defect, file=sys.stderr)
    return 1 if tally.defects() else 0


if __name__ == "__main__":
    raise SystemExit(main())
