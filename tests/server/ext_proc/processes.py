"""`turnout serve` as an operator starts it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.server.ext_proc.conftest import policy
from tests.server.ext_proc.settling import until


@asynccontextmanager
async def serving_process(
    folder: Path, ports: tuple[int, int], words: Sequence[str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service once both of its ports are open, with the gateway's policy as `policy.yaml` where it runs.

    Args:
        folder: where it runs, and its log lies.
        ports: the main one and the decision port.
        words: of the command line, behind `turnout`.
    """
    # JSON is YAML.
    (folder / "policy.yaml").write_text(json.dumps(policy()), encoding="utf-8")
    knobs = {
        "--host": "127.0.0.1",
        "--port": ports[0],
        "--decision-port": ports[1],
        "--metrics-port": "off",
        "--store": "off",
        "--drain-grace-s": 0,
    }
    told = [str(word) for pair in knobs.items() for word in pair]
    with (folder / "turnout.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "turnout_server.cli", *words, *told, cwd=folder, stdout=log, stderr=log
        )
    try:
        for port in ports:

            async def is_open(port: int = port) -> bool:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, (folder / "turnout.log").read_text()
                    return False
                writer.close()
                return True

            await until(is_open)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
