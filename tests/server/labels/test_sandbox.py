"""What an answer's code can and cannot do. What the machine does not grant is not asked of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from turnout_server.labels.sandbox import SandboxLimits, code_of, probe, run_test, run_tests

LIMITS = SandboxLimits(time_s=5)


@pytest.fixture(scope="module")
def held() -> frozenset[str]:
    return asyncio.run(probe())


@pytest.mark.parametrize(
    ("code", "test", "passed"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2", True),
        ("def f(x): return x", "assert f(1) == 2", False),
        ("def f(:", "pass", False),
        ("import sys; sys.exit(0)", "pass", False),
        ("import os; os._exit(0)", "pass", False),
        ("raise KeyboardInterrupt", "pass", False),
        ("if __name__ == '__main__': raise SystemExit", "pass", True),
        ("print('x' * 100_000)", "pass", True),
        ("open('here', 'w').write('x')", "assert open('here').read() == 'x'", True),
        ("import json, decimal, asyncio, collections", "pass", True),
        ("memory = bytearray(4 << 30)", "pass", False),
        ("with open('big', 'wb') as f: f.write(bytes(64 << 20))", "pass", False),
    ],
)
async def test_code_is_run_and_tested(code: str, test: str, passed: bool) -> None:
    assert (await run_test(code, test, LIMITS)).passed is passed


async def test_what_does_not_end_is_ended() -> None:
    assert not (await run_test("while True: pass", "pass", SandboxLimits(time_s=0.5))).passed


async def test_no_process_is_left() -> None:
    marked = f"left-{os.getpid()}"
    code = f"import os, sys, time\nif os.fork() == 0:\n    os.execv(sys.executable, ['{marked}', '-c', 'import time; time.sleep(60)'])"
    await run_test(code, "pass", LIMITS)
    names = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [name for name in names if marked.encode() in name]


async def test_nothing_of_the_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    test = "import os\nassert 'SOME_API_KEY' not in os.environ and set(os.environ) <= {'PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_CTYPE', 'PWD'}"
    assert (await run_test("", test, LIMITS)).passed


async def test_there_is_no_network(held: frozenset[str]) -> None:
    if not held & {"namespaces", "seccomp"}:
        pytest.skip("this machine grants neither namespaces nor seccomp")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)"
        assert not (await run_test(code, "pass", LIMITS)).passed


async def test_files_of_others_cannot_be_read_or_written(held: frozenset[str], tmp_path: Path) -> None:
    if "landlock" not in held:
        pytest.skip("this machine does not grant Landlock")
    secret = tmp_path / "key"
    secret.write_text("secret")
    for code in (
        f"open({str(secret)!r}).read()",
        f"open({str(secret)!r}, 'w')",
        f"import os; os.unlink({str(secret)!r})",
    ):
        assert not (await run_test(code, "pass", LIMITS)).passed
    assert secret.read_text() == "secret"


async def test_other_processes_cannot_be_ended(held: frozenset[str]) -> None:
    if not held & {"namespaces", "seccomp"}:
        pytest.skip("this machine grants neither namespaces nor seccomp")
    other = await asyncio.create_subprocess_exec("sleep", "60")
    assert not (await run_test(f"import os\nos.kill({other.pid}, 9)", "pass", LIMITS)).passed
    assert other.returncode is None
    other.kill()
    await other.wait()


async def test_the_score_is_the_share_of_tests() -> None:
    answer = "Sure:\n```python\ndef f(x):\n    return x * 2\n```\nand that is all."
    tests = ["assert f(1) == 2", "assert f(0) == 0", "assert f(3) == 7", "raise ValueError"]
    assert await run_tests(answer, tests, asyncio.Semaphore(2)) == 0.5


def test_the_code_of_an_answer() -> None:
    assert code_of("x = 1") == "x = 1"
    assert code_of("```\na\n```\ntext\n```py\nb\n```") == "a\n\nb\n"
