"""`python -m tests.faults --port 0`: the fake upstream as a process; prints its port as JSON on one line."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal

from tests.faults.server import FaultServer, describe_faults


async def run(port: int, time_factor: float, retry_after_s: float) -> None:
    """Serves until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with FaultServer(port, time_factor=time_factor, retry_after_s=retry_after_s) as server:
        print(json.dumps({"port": server.port}), flush=True)
        await stopped.wait()


parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
parser.add_argument("--time-factor", type=float, default=1.0, help="real seconds for each second of a fault")
parser.add_argument("--retry-after-s", type=float, default=2.0, help="what rate limits say to wait")
parser.add_argument("--list", action="store_true", help="print the faults as JSON, and serve nothing")
arguments = parser.parse_args()
if arguments.list:
    print(json.dumps(describe_faults(), indent=1))
else:
    asyncio.run(run(arguments.port, arguments.time_factor, arguments.retry_after_s))
