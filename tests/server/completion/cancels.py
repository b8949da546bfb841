"""Cancels by the thousand, in mixed phases: python -m tests.server.completion.cancels --calls 10000

A caller leaves before the first token, in mid-stream, or while a whole answer is awaited. Afterwards no task, no socket
and no descriptor is left, and every attempt is counted as cancelled. The test suite runs five hundred.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import tempfile
from pathlib import Path
from typing import Any

from turnout.v1.completion_pb2 import CompleteRequest, CompleteStreamRequest
from turnout_server.observability.logs import configure_logs
from turnout_server.settings import LogFormat, LogLevel

from tests.faults import Fault
from tests.server.completion.wall import Wall, walled
from tests.server.small_bundle import make_small_bundle

UNARY = "slow-body.unary"
MODELS = [Fault.SILENCE, Fault.SLOW_BODY, UNARY]
# Of each phase at once.
EACH = 20
PATIENCE_S = 10.0


async def cancel_many(folder: Path, bundle: Path, *, calls: int) -> None:
    """Makes and cancels at least so many calls.

    Raises:
        AssertionError: something is left.
    """
    async with walled(
        folder, bundle, MODELS, first_token_s=60.0, inter_token_s=60.0, max_completions=4096
    ) as wall:
        ledger = wall.upstream.ledger
        await wall.ask(CompleteRequest(prompt="warm"), timeout_s=0.3)
        await ledger.until(lambda: ledger.in_flight == 0)
        gc.collect()
        tasks, descriptors = len(asyncio.all_tasks()), _count_descriptors()
        cancelled = seen = 0
        while cancelled < calls:
            cancelled += await _cancel_round(wall)
            seen += ledger.count()
            # What has ended is forgotten: looking through all of it at each event takes longer with each round.
            ledger.clear()
        async with asyncio.timeout(PATIENCE_S):
            while wall.service.port.completions.in_flight or ledger.open_connections > 1:
                await asyncio.sleep(0.01)
            while len(asyncio.all_tasks()) > tasks or _count_descriptors() > descriptors:
                await asyncio.sleep(0.01)
        counted = [
            values[0]
            for name, labels, values in wall.service.sums().values
            if name == "turnout_attempts" and labels[2] == "cancelled"
        ]
        assert sum(counted) >= cancelled, f"{sum(counted)} attempts counted of {cancelled} calls"
        assert seen >= cancelled


async def _cancel_round(wall: Wall) -> int:
    """Calls in each phase, cancelled once the upstream has begun to serve all of them; how many."""
    ledger = wall.upstream.ledger
    silent = [_stream(wall, Fault.SILENCE) for _ in range(EACH)]
    flowing = [_stream(wall, Fault.SLOW_BODY) for _ in range(EACH)]
    unary = [wall.stub.Complete(_request(UNARY)) for _ in range(EACH)]
    calls = [*silent, *flowing, *unary]
    await ledger.until(lambda: ledger.in_flight == len(calls))
    for call in flowing[: EACH // 2]:
        async for event in call:
            if event.WhichOneof("event") == "text":
                break
    for call in calls:
        assert call.cancel()
    await ledger.until(lambda: ledger.in_flight == 0)
    return len(calls)


def _request(model: str) -> CompleteRequest:
    request = CompleteRequest(prompt="Where?")
    request.constraints.allowed_deployments.append(model)
    return request


def _stream(wall: Wall, model: str) -> Any:
    return wall.stub.CompleteStream(CompleteStreamRequest(request=_request(model)))


def _count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def main() -> None:
    """Runs, and says what it found."""
    parser = argparse.ArgumentParser(
        description="Cancels calls in mixed phases; fails where anything is left."
    )
    parser.add_argument("--calls", type=int, default=10_000, help="calls to make and cancel (10000)")
    calls = parser.parse_args().calls
    configure_logs(LogLevel.ERROR, LogFormat.JSON, io.TextIOWrapper(io.BytesIO()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(cancel_many(folder, make_small_bundle(folder / "bundle"), calls=calls))
    print(f"{calls} calls cancelled; no task, socket or descriptor left")


if __name__ == "__main__":
    main()
