"""Processes: `turnout serve` as it is started, alone and with workers."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from turnout.v1 import routing_pb2_grpc
from turnout.v1.routing_pb2 import RouteRequest
from turnout_server.lifecycle import StartError
from turnout_server.ports import reserve_port
from turnout_server.settings import Settings
from turnout_server.worker import read_settings, write_settings
from turnout_server.workers import Backoff

# Until a process that is started has said that it serves; far above what it takes.
PATIENCE_S = 60.0


class Process:
    """`turnout serve` in a process of its own, and what it logs."""

    def __init__(self, *arguments: str) -> None:
        if "--decision-port" not in arguments:
            arguments = (*arguments, "--decision-port", "off")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "turnout_server.cli", "serve", "--host", "127.0.0.1", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._workers: list[int] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """The next `count` events of a name; the last of them."""
        deadline = time.monotonic() + PATIENCE_S
        found: dict[str, Any] = {}
        while count:
            line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"the process ended before {event}; it logged {self.events}"
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                self.events.append(found)
                count -= found["event"] == event
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.finish_log()
        return code

    def finish_log(self) -> None:
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            with contextlib.suppress(ValueError):
                self.events.append(json.loads(line))

    def workers(self) -> list[int]:
        """Process ids of the workers, to be ended with this one if they do not end by themselves."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._workers = [int(child) for child in found]
        return self._workers

    def close(self) -> None:
        if self.process.poll() is None:
            self.workers()
            self.process.kill()
            self.process.wait()
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def launch(bundle: Path, policy: Path) -> Iterator[Any]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        common = ("--bundle", str(bundle), "--policy", str(policy), "--port", "0", "--metrics-port", "0")
        process = Process(*common, "--drain-grace-s", "0", "--reload-poll-s", "3600", *arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


@contextlib.contextmanager
def connected(port: int, n: int = 1) -> Iterator[list[grpc.Channel]]:
    """Channels with connections of their own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(n)]
    yield channels
    for channel in channels:
        channel.close()


def route(channel: grpc.Channel, prompt: str = "hello") -> Any:
    stub = routing_pb2_grpc.RoutingServiceStub(channel)
    return stub.Route(RouteRequest(prompt=prompt), timeout=PATIENCE_S, wait_for_ready=True)


def fetch(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as reply:
        text: str = reply.read().decode()
        return text


def until_metrics_say(port: int, line: str) -> str:
    """Asks for the metrics until they hold a line; workers send theirs now and then."""
    deadline = time.monotonic() + PATIENCE_S
    while line not in (text := fetch(port, "/metrics")):
        assert time.monotonic() < deadline, f"no {line} in {text}"
        time.sleep(0.05)
    return text


def until_ready(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert fetch(port, "/readyz") == "ready\n"
            return
        except urllib.error.HTTPError as error:
            error.close()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_process(launch: Any) -> None:
    process = launch("--log-sample", "1")
    serving = process.wait_for("serving_started")
    with connected(serving["port"]) as (channel,):
        assert route(channel, "a secret prompt").tier
        health = health_pb2_grpc.HealthStub(channel)
        reply = health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert fetch(serving["metrics_port"], "/readyz") == "ready\n"
    until_metrics_say(serving["metrics_port"], 'turnout_coverage_total{outcome="decided"} 1.0')
    process.process.send_signal(signal.SIGHUP)
    process.wait_for("config_unchanged")
    assert process.end() == 0
    names = [event["event"] for event in process.events]
    assert names[-2:] == ["draining_started", "serving_stopped"]
    assert "secret" not in json.dumps(process.events)


def test_ctrl_c_drains_too(launch: Any) -> None:
    process = launch()
    process.wait_for("serving_started")
    assert process.end(signal.SIGINT) == 0


def test_a_second_server_on_the_port_is_an_error(launch: Any) -> None:
    first = launch()
    port = str(first.wait_for("serving_started")["port"])
    second = launch("--port", port)
    assert second.process.wait(PATIENCE_S) == 1
    shared = launch("--port", port, "--workers", "2")
    assert shared.process.wait(PATIENCE_S) == 1
    with connected(int(port)) as (channel,):
        assert route(channel).tier


def test_what_cannot_start_says_why_and_ends(launch: Any, tmp_path: Path) -> None:
    for workers in ("1", "2"):
        process = launch("--bundle", str(tmp_path / "none"), "--workers", workers)
        assert process.process.wait(PATIENCE_S) == 1
        process.finish_log()
        assert not any(event["event"] == "serving_started" for event in process.events)


def test_workers(launch: Any, policy: Path, document: dict[str, Any]) -> None:
    process = launch("--workers", "2", "--log-sample", "1")
    supervising = process.wait_for("supervising_started")
    port, metrics_port = supervising["port"], supervising["metrics_port"]
    process.wait_for("serving_started", 2)
    until_ready(metrics_port)
    with connected(port, 24) as channels:
        digests = {route(channel).digest for channel in channels}
    # Workers decide alike, and none lacks a decision.
    assert len(digests) == 1
    text = until_metrics_say(metrics_port, 'turnout_coverage_total{outcome="decided"} 24.0')
    assert 'grpc_code="OK",grpc_method="Route"' in text
    assert any(line.startswith("turnout_info{") and line.endswith(" 2.0") for line in text.splitlines())

    os.kill(process.workers()[0], signal.SIGKILL)
    ended = process.wait_for("worker_ended")
    assert ended["exit_code"] == -signal.SIGKILL
    process.wait_for("serving_started")
    until_metrics_say(metrics_port, "turnout_worker_restarts_total 1.0")
    # What the dead one counted is not lost.
    with connected(port, 6) as channels:
        for channel in channels:
            route(channel)
    until_metrics_say(metrics_port, 'turnout_coverage_total{outcome="decided"} 30.0')

    document["policies"]["default"]["bars"]["default"] = 0.3
    policy.write_text(json.dumps(document))
    process.process.send_signal(signal.SIGHUP)
    process.wait_for("config_accepted", 2)
    until_metrics_say(metrics_port, 'turnout_config_reloads_total{result="accepted"} 2.0')

    with connected(port) as (channel,):
        route(channel)
        assert process.end() == 0
    names = [event["event"] for event in process.events]
    assert names.count("draining_started") == names.count("serving_stopped") == 2
    assert names[-1] == "supervising_stopped"


def test_workers_end_with_their_supervisor(launch: Any) -> None:
    process = launch("--workers", "2")
    process.wait_for("serving_started", 2)
    process.workers()
    process.process.kill()
    # Their log ends when the last of them does.
    process.finish_log()
    names = [event["event"] for event in process.events]
    assert names.count("serving_stopped") == 2


def test_settings_travel_whole() -> None:
    settings = Settings(port=0, decision_port=None, workers=3, state=Path("/tmp/a b"), drain_s=0.25)
    assert read_settings(write_settings(settings)) == settings
    assert read_settings(write_settings(Settings())) == Settings()


def test_the_backoff_doubles_until_a_worker_lives() -> None:
    now = 0.0
    backoff = Backoff(lambda: now, first_s=0.1, most_s=1.0, stable_s=60.0)
    delays = []
    for lived_s in (0, 1, 2, 0, 59, 60, 0):
        backoff.note_start()
        now += lived_s
        delays.append(backoff.next_s())
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 0.1, 0.2])


def test_a_reserved_port_is_shared_but_not_stolen() -> None:
    with reserve_port("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
            with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: "):
                reserve_port("127.0.0.1", port)
