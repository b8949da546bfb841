"""Runs an answer's code and unit tests in processes that are locked in as far as the machine lets us."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

CHILD = Path(__file__).with_name("sandbox_child.py")
HOLDS = ("namespaces", "landlock", "seccomp")
"""What can hold a test; docs/labels.md says what each keeps out."""
_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
# More than this no child writes that behaves.
_MAX_ANSWER_BYTES = 1024


@dataclass(frozen=True)
class SandboxLimits:
    """What one test may use.

    Attributes:
        time_s: seconds of the clock and of the processor.
        memory_bytes: of addresses.
        file_bytes: of each file.
    """

    time_s: float = 10.0
    memory_bytes: int = 2 << 30
    file_bytes: int = 16 << 20


@dataclass(frozen=True)
class Ran:
    """How a test ended: `passed`, and what held it, of HOLDS; nothing if it did not even begin."""

    passed: bool
    held: frozenset[str]


def code_of(text: str) -> str:
    """The code of an answer: its fenced blocks, joined, else all of it."""
    blocks = _FENCE.findall(text)
    return "\n".join(blocks) if blocks else text


async def run_tests(
    text: str, tests: Sequence[str], room: asyncio.Semaphore, limits: SandboxLimits | None = None
) -> float:
    """The share of tests that an answer's code passes, each run in a process and a folder of its own.

    Args:
        text: the answer.
        tests: Python that raises where it fails; it sees what the code has defined.
        room: how many run at once.
        limits: of each test; None: the usual ones.
    """

    async def passes(test: str) -> bool:
        async with room:
            return (await run_test(code_of(text), test, limits or SandboxLimits())).passed

    return sum(await asyncio.gather(*map(passes, tests))) / len(tests)


async def probe() -> frozenset[str]:
    """What holds tests on this machine."""
    return (await run_test("", "", SandboxLimits())).held


async def run_test(code: str, test: str, limits: SandboxLimits) -> Ran:
    """Runs code and then a test."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="turnout-test-", ignore_cleanup_errors=True) as folder:
        asked = {
            "code": code,
            "test": test,
            "folder": folder,
            "token": token,
            "cpu_s": math.ceil(limits.time_s),
            "memory_bytes": limits.memory_bytes,
            "file_bytes": limits.file_bytes,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-B",
            str(CHILD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(limits.time_s):
                answered = await _converse(process, orjson.dumps(asked))
        except TimeoutError:
            answered = b""
        finally:
            # The code may have left processes in its group that hold the pipe.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    held, _, told = answered.decode("ascii", "replace").partition("\n")
    return Ran(told == token, frozenset(held.split()) & frozenset(HOLDS))


async def _converse(process: asyncio.subprocess.Process, asked: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(asked)
        await process.stdin.drain()
    process.stdin.close()
    answered = b""
    while len(answered) < _MAX_ANSWER_BYTES and (more := await process.stdout.read(_MAX_ANSWER_BYTES)):
        answered += more
    return answered
