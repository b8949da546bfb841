"""An engine inside somebody else's process: the page's snippets, forks, threads, and engines side by side."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from turnout_fastpath import Engine

from tests.fastpath.documents import document
from tests.fastpath.synthetic import write_synthetic

PAGE = Path(__file__).parents[2] / "docs" / "in-process.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
PROMPTS = ("What are your business hours?", "Review this contract clause", "Почему небо голубое?", "x" * 5000)


def digests(engine: Engine) -> list[str]:
    """Of each prompt's decision."""
    return [engine.route(prompt).digest for prompt in PROMPTS]


@pytest.mark.parametrize("code", SNIPPETS, ids=["asyncio", "threads"])
def test_the_pages_snippets_run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("small") + done.stdout.count("frontier") >= 2


def test_a_fork_decides_alike() -> None:
    engine = Engine.load()
    expected = digests(engine)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # No test of the parent's may run on in here.
        try:
            os.write(writing, "\n".join(digests(engine)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode().split("\n")
    assert os.waitpid(child, 0)[1] == 0
    assert told == expected == digests(engine)


def _digests_of_a_new_engine(results: multiprocessing.Queue[list[str]]) -> None:
    results.put(digests(Engine.load()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_decides_alike(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    results: multiprocessing.Queue[list[str]] = context.Queue()
    child = context.Process(target=_digests_of_a_new_engine, args=(results,))
    child.start()
    try:
        assert results.get(timeout=60) == digests(Engine.load())
    finally:
        child.join()
        results.close()
        results.join_thread()
    assert child.exitcode == 0


def test_many_threads_decide_alike() -> None:
    engine = Engine.load()
    expected = digests(engine)
    with ThreadPoolExecutor(8) as threads:
        assert all(found == expected for found in threads.map(lambda _: digests(engine), range(64)))


def test_engines_side_by_side_know_nothing_of_each_other(tmp_path: Path) -> None:
    shipped = Engine.load()
    expected = digests(shipped)
    policies = document()
    other = Engine.load(write_synthetic(tmp_path / "bundle"), policies)
    own = digests(other)
    assert set(own).isdisjoint(expected)
    assert other.route("hello").policy == policies["default_policy"]
    assert digests(shipped) == expected
    assert digests(other) == own
