"""The snippets of the README and of the pages run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "clients" / "python" / "README.md"]
PORT = 50051


def snippets(language: str) -> Iterator[tuple[str, str]]:
    """Name and text of every fenced block of a language."""
    for page in PAGES:
        blocks = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        for number, block in enumerate(blocks, 1):
            yield f"{page.relative_to(ROOT)}:{number}", block


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`turnout serve` as the README starts it, on the port that the snippets name."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            pytest.skip(f"port {PORT} is taken on this machine")
    log = tmp_path_factory.mktemp("serve") / "log"
    turnout = Path(sys.executable).with_name("turnout")
    command = [str(turnout)] if turnout.exists() else [sys.executable, "-m", "turnout_server.cli"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "serve", "--metrics-port", "0"], stdout=output, stderr=output)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{PORT}") as channel:
                grpc.channel_ready_future(channel).result(timeout=30)
            yield
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0, log.read_text()


@pytest.mark.parametrize(
    ("name", "code"), [pytest.param(*snippet, id=snippet[0]) for snippet in snippets("python")]
)
def test_python_snippet_runs(name: str, code: str, server: None) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, f"{name}\n{result.stderr}"


def test_the_terminal_command_of_the_readme_decides() -> None:
    line = next(line for _, block in snippets("sh") for line in block.splitlines() if " route " in line)
    turnout = shutil.which("turnout", path=str(Path(sys.executable).parent))
    if turnout is None:
        pytest.skip("turnout is not installed in this environment")
    result = subprocess.run(
        line.replace(".venv/bin/turnout", turnout),
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "tier" in result.stdout


def test_every_relative_link_points_at_something() -> None:
    missing = []
    for page in [*PAGES, *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert not missing


@pytest.mark.skipif(os.environ.get("TURNOUT_FULL") != "1", reason="takes a minute; TURNOUT_FULL=1 runs it")
def test_the_worked_example_of_evaluation_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (example, *_) = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    folder = str(Path(sys.executable).parent)
    if shutil.which("turnout", path=folder) is None:
        pytest.skip("turnout is not installed in this environment")
    result = subprocess.run(
        ["bash", "-e", "-c", example],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "store" / "current").is_symlink()
