"""What is measured of the arms: latency one at a time, calls a second of a core, many streams at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import numpy as np

from bench.complete.callers import COMPLETE, COMPLETE_STREAM, DIRECT, DIRECT_STREAM, Caller, Callers
from bench.complete.services import Services, serving
from bench.sampling import figure, spread

TOKENS = 20
CONNECTIONS = 8
# Calls under way while throughput is measured.
AT_ONCE = 32
STREAMS = 256
WARM_UP = 50


@contextlib.asynccontextmanager
async def calling(services: Services, connections: int = 1) -> AsyncIterator[Callers]:
    """Callers with connections of their own."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(
                    services.turnout.address, options=[("grpc.use_local_subchannel_pool", 1)]
                )
            )
            for _ in range(connections)
        ]
        yield Callers(services, session, channels)


async def measure_latency(services: Services, rounds: int, calls: int) -> dict[str, Any]:
    """One call at a time; the arms take turns, call by call."""
    async with calling(services) as callers:
        arms = callers.arms()
        for caller in arms.values():
            for _ in range(WARM_UP):
                await caller()
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
        pooled: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(rounds):
            first: dict[str, list[int]] = {name: [] for name in arms}
            whole: dict[str, list[int]] = {name: [] for name in arms}
            for _ in range(calls):
                for name, caller in arms.items():
                    timed = await caller()
                    first[name].append(timed.first_ns)
                    whole[name].append(timed.whole_ns)
            for name in arms:
                pooled[name] += whole[name]
                rows[name].append(
                    {
                        "p50_us": figure(float(np.percentile(whole[name], 50)) / 1000),
                        "p99_us": figure(float(np.percentile(whole[name], 99)) / 1000),
                        "first_p50_us": figure(float(np.percentile(first[name], 50)) / 1000),
                        "first_p99_us": figure(float(np.percentile(first[name], 99)) / 1000),
                    }
                )
    added = {}
    for name, against in ((COMPLETE, DIRECT), (COMPLETE, DIRECT_STREAM), (COMPLETE_STREAM, DIRECT_STREAM)):
        added[f"{name} - {against}"] = {
            key: spread(
                [mine[key] - theirs[key] for mine, theirs in zip(rows[name], rows[against], strict=True)]
            )
            for key in rows[name][0]
        }
    return {"calls_a_round": calls, "rounds": rows, "added": added}


async def measure_throughput(services: Services, rounds: int, seconds: float) -> dict[str, Any]:
    """Closed loop: calls a second, and the service's CPU a call, of which the calls a second of one core follow."""
    found: dict[str, list[dict[str, float]]] = {}
    async with calling(services, CONNECTIONS) as callers:
        for name in (COMPLETE, COMPLETE_STREAM):
            caller = callers.arms()[name]
            await drive(caller, AT_ONCE, 0.5)
            found[name] = []
            for _ in range(rounds):
                cpu, began = services.turnout.cpu_ns(), time.perf_counter()
                done = await drive(caller, AT_ONCE, seconds)
                took = time.perf_counter() - began
                cpu_us = (services.turnout.cpu_ns() - cpu) / done / 1000
                found[name].append(
                    {
                        "calls": done,
                        "calls_per_s": figure(done / took),
                        "server_cpu_us": figure(cpu_us),
                        "calls_per_core_s": figure(1e6 / cpu_us),
                    }
                )
    return {
        name: {
            "rounds": rows,
            **{key: spread([row[key] for row in rows]) for key in ("calls_per_s", "calls_per_core_s")},
        }
        for name, rows in found.items()
    }


async def drive(caller: Caller, at_once: int, seconds: float) -> int:
    """Calls until the time is over; how many were made."""
    end = time.perf_counter() + seconds

    async def one() -> int:
        done = 0
        while time.perf_counter() < end:
            await caller()
            done += 1
        return done

    return sum(await asyncio.gather(*(one() for _ in range(at_once))))


async def measure_streams(services: Services) -> dict[str, Any]:
    """So many paced streams at once, each to its end; an answer that is not whole raises."""
    async with calling(services, CONNECTIONS) as callers:
        await callers.complete_stream()
        began = time.perf_counter()
        timed = await asyncio.gather(*(callers.complete_stream() for _ in range(STREAMS)))
        took = time.perf_counter() - began
    firsts = [one.first_ns / 1000 for one in timed]
    return {
        "streams": STREAMS,
        "model": services.model,
        "seconds": figure(took),
        "whole": len(timed),
        "first_p50_us": figure(float(np.percentile(firsts, 50))),
        "first_p99_us": figure(float(np.percentile(firsts, 99))),
    }


def run_all(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Latency and throughput before an upstream that answers at once, streams before a paced one."""
    rounds, calls, seconds = (2, 50, 0.5) if quick else (7, 300, 3.0)

    async def fast(services: Services) -> dict[str, Any]:
        return {
            "latency": await measure_latency(services, rounds, calls),
            "throughput": await measure_throughput(services, rounds, seconds),
        }

    with serving(folder, f"stream-{TOKENS}") as services:
        result = asyncio.run(fast(services))
    with serving(folder, f"paced-{TOKENS}-50") as services:
        result["streams"] = asyncio.run(measure_streams(services))
    return result
