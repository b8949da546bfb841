"""Half of what the service can carry, for minutes: whether its memory, descriptors and threads stay as they are.

python -m bench.complete.soak --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.complete.callers import COMPLETE, COMPLETE_STREAM
from bench.complete.measuring import AT_ONCE, CONNECTIONS, TOKENS, calling, drive
from bench.complete.services import Services, serving
from bench.machine import describe_machine
from bench.results import save_result
from bench.sampling import figure

EVERY_S = 2.0
# A shorter run is a smoke run.
FULL_S = 600.0
# Of the run: what is still being filled, such as pools and caches, is not a leak.
SETTLING = 0.25
RESAMPLES = 2000


async def soak(services: Services, seconds: float) -> dict[str, Any]:
    """Whole and streamed completions by turns at half of the rate that a closed loop reaches."""
    async with calling(services, CONNECTIONS) as callers:
        arms = [callers.arms()[name] for name in (COMPLETE, COMPLETE_STREAM)]
        full = sum([await drive(arm, AT_ONCE, 3.0) for arm in arms]) / 6.0
        gap_s = 2 / full
        samples: list[dict[str, float]] = []
        calls: set[asyncio.Task[Any]] = set()
        failures: list[BaseException] = []

        def ended(task: asyncio.Task[Any]) -> None:
            calls.discard(task)
            if (error := task.exception()) is not None:
                failures.append(error)

        began = time.perf_counter()
        number = 0
        while (now := time.perf_counter() - began) < seconds:
            if now >= len(samples) * EVERY_S:
                samples.append({"s": figure(now), **_read(services.turnout.pid)})
            task = asyncio.ensure_future(arms[number % 2]())
            calls.add(task)
            task.add_done_callback(ended)
            number += 1
            if (rest := began + number * gap_s - time.perf_counter()) > 0:
                await asyncio.sleep(rest)
        await asyncio.gather(*calls, return_exceptions=True)
    if failures:
        raise failures[0]
    settled = samples[int(len(samples) * SETTLING) :]
    at = np.array([sample["s"] for sample in settled])
    rss = np.array([sample["rss_kib"] for sample in settled])
    slope, low, high = _slope(at, rss)
    return {
        "seconds": figure(seconds),
        "calls": number,
        "calls_per_s": figure(number / seconds),
        "rss_kib_a_minute": {"slope": figure(slope * 60), "low": figure(low * 60), "high": figure(high * 60)},
        "rss_kib": {"first": rss[0], "last": rss[-1]},
        "descriptors": {"least": min(s["fds"] for s in settled), "most": max(s["fds"] for s in settled)},
        "threads": {"least": min(s["threads"] for s in settled), "most": max(s["threads"] for s in settled)},
        "samples": samples,
    }


def _read(pid: int) -> dict[str, float]:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return {
        "rss_kib": float(status["VmRSS"].split()[0]),
        "threads": float(status["Threads"]),
        "fds": float(len(list(Path(f"/proc/{pid}/fd").iterdir()))),
    }


def _slope(at: npt.NDArray[Any], value: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Least squares slope a second, and its 95% interval by a bootstrap over blocks of samples."""
    random = np.random.default_rng(1)
    block = max(1, len(at) // 20)
    starts = np.arange(len(at) - block + 1)
    found = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate(
            [np.arange(start, start + block) for start in random.choice(starts, len(at) // block)]
        )
        if np.ptp(at[chosen]) > 0:
            found.append(np.polyfit(at[chosen], value[chosen], 1)[0])
    low, high = np.percentile(found, [2.5, 97.5])
    return float(np.polyfit(at, value, 1)[0]), float(low), float(high)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.complete.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=FULL_S)
    options = parser.parse_args()
    machine = describe_machine()
    with (
        tempfile.TemporaryDirectory(prefix="turnout-soak-") as folder,
        serving(Path(folder), f"stream-{TOKENS}") as services,
    ):
        result = asyncio.run(soak(services, options.seconds))
    quick = options.seconds < FULL_S
    path = save_result("soak", {"bench": "soak", "quick": quick, "machine": machine, **result}, quick=quick)
    print(json.dumps({key: value for key, value in result.items() if key != "samples"}, indent=1))
    print(f"saved in {path}")


if __name__ == "__main__":
    main()
