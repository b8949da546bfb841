"""The fake as a process of its own, asked and changed over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Fault, Wire
from tests.faults.asking import PATIENCE_S, Line, ask

ROOT = Path(__file__).parents[2]


@pytest.fixture
def port() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.faults", "--port", "0", "--time-factor", "0.001"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0


async def control(port: int, action: str, **fields: Any) -> Any:
    """What the control path answers."""
    async with Line(port) as line:
        await line.send(f"/control/{action}", fields)
        return (await line.receive()).json


async def test_the_process(port: int) -> None:
    await control(port, "play", model="mine", fault=Fault.SERVER_ERROR, times=1, text="hello there")
    statuses = [(await ask(port, Wire.GEMINI, "mine", stream=True)).status for _ in range(2)]
    assert statuses == [500, 200]
    await control(port, "down")
    assert (await ask(port, Wire.OPENAI, Fault.OUTAGE, stream=False)).status == 503
    await control(port, "up")
    assert (await ask(port, Wire.OPENAI, Fault.OUTAGE, stream=False)).status == 200
    seen = await control(port, "seen")
    assert seen["requests_by_model"] == {"mine": 2, "outage": 2}
    first = seen["requests"][0]
    assert (first["wire"], first["status"], first["fault"]) == ("gemini", 500, "server-error")
    assert [what for what, _ in first["moments"]] == ["arrived", "head-sent", "finished"]
    await control(port, "clear")
    assert (await control(port, "seen"))["requests"] == []
    assert "no such action" in (await control(port, "explode"))["error"]
