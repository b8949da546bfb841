"""The compiled generator against the bare echo, both built here; skipped without gcc and libnghttp2's headers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.h2load import LoadError
from bench.load import generator
from bench.load.generator import Shape, command_of, drive, read_load, write_requests
from bench.load.histogram import bounds_of
from bench.machine import REPOSITORY
from bench.servers import Server, running

PROMPTS = ["one", "two words", "three words here " * 100]
MESSAGE = b"x" * 250


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (
        not shutil.which("gcc")
        or not shutil.which("make")
        or not Path("/usr/include/nghttp2/nghttp2.h").exists()
    ):
        pytest.skip("needs gcc, make and libnghttp2-dev")
    folder = tmp_path_factory.mktemp("load")
    programs = [str(folder / name) for name in ("generator", "nghttp2_echo")]
    arms = REPOSITORY / "bench" / "load" / "arms"
    subprocess.run(["make", "-s", "-C", str(arms), f"BUILD={folder}", *programs], check=True, timeout=120)
    return folder


@pytest.fixture
def echo(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(generator, "BUILD", built)
    (tmp_path / "response.bin").write_bytes(MESSAGE)
    command = [str(built / "nghttp2_echo"), str(tmp_path / "response.bin")]
    with running(command, tmp_path / "echo.log") as server:
        yield server


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests.bin"
    write_requests(path, PROMPTS)
    return path


@pytest.mark.parametrize("rate", [0.0, 500.0])
def test_every_call_is_accounted_for(echo: Server, requests: Path, rate: float) -> None:
    load = drive("127.0.0.1", echo.port, requests, Shape(2, 50, 0.2, rate), pid=echo.pid)
    assert load.statuses == {"0": load.sent}
    assert (load.failed, load.unanswered, load.unsent) == (0, 0, 0)
    assert load.message_bytes == len(MESSAGE)
    assert load.server_cpu_us > 0
    # The three bodies in turn: a whole number of cycles, and at most two more.
    sizes = [int.from_bytes(each[1:5], "big") + 5 for each in _frames(requests)]
    assert load.request_bytes == sum(sizes) * (load.sent // 3) + sum(sizes[: load.sent % 3])


def test_buckets_are_those_that_python_reads(echo: Server, requests: Path) -> None:
    shape = Shape(1, 4, 0.2)
    done = subprocess.run(
        command_of("127.0.0.1", echo.port, requests, shape),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    said = json.loads(done.stdout)["latency"]
    low, high = (sum(bounds_of(bucket)[side] * n for bucket, n in said["buckets"]) for side in (0, 1))
    assert low <= said["sum_ns"] < high
    assert read_load(done.stdout).latency.count == said["count"]


def test_open_loop_counts_what_a_stopped_server_held_back(echo: Server, requests: Path) -> None:
    rate, stop_s = 1000.0, 0.3

    def stop() -> None:
        time.sleep(0.4)
        os.kill(echo.pid, signal.SIGSTOP)
        time.sleep(stop_s)
        os.kill(echo.pid, signal.SIGCONT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    # Few streams: most of what is due meanwhile cannot even be sent.
    load = drive("127.0.0.1", echo.port, requests, Shape(1, 10, 1.0, rate))
    stopper.join()
    slow = sum(
        int(n) for bucket, n in enumerate(load.latency.counts) if bounds_of(bucket)[0] > stop_s / 2 * 1e9
    )
    # Those due in the first half of the stop; ten would be what a generator sees that waits for answers.
    assert slow > rate * stop_s / 4
    assert load.statuses == {"0": load.sent}


def test_a_server_that_never_answers_leaves_calls_unanswered(
    echo: Server, requests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "DRAIN_S", 0.1)
    os.kill(echo.pid, signal.SIGSTOP)
    try:
        load = drive("127.0.0.1", echo.port, requests, Shape(1, 5, 0.3, 100.0))
    finally:
        os.kill(echo.pid, signal.SIGCONT)
    assert load.unanswered == 5
    assert load.unsent > 0
    assert load.latency.count >= load.unsent


def test_no_server_is_named(built: Path, requests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "BUILD", built)
    with pytest.raises(LoadError, match="nobody listens there"):
        drive("127.0.0.1", 1, requests, Shape(1, 1, 0.1))


def test_without_the_program_the_message_says_how_to_build_it(
    tmp_path: Path, requests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "BUILD", tmp_path)
    with pytest.raises(LoadError, match="make -C bench/load/arms"):
        drive("127.0.0.1", 1, requests, Shape(1, 1, 0.1))


def _frames(path: Path) -> list[bytes]:
    data, found = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found
