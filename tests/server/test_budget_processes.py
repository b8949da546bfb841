"""Budgets over real processes: workers that share a budget, a kill and a restart, machines that tell each other."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]
from grpc_status import rpc_status
from turnout.v1 import completion_pb2_grpc
from turnout.v1.completion_pb2 import CompleteRequest

from tests.server.resilience.test_shared_limits import Server
from tests.server.test_workers import PATIENCE_S, Process, connected, until_metrics_say

MAX_OUTPUT_TOKENS = 20
# Three bytes a token, three tokens a message; dollars a million tokens are thousands of nano-dollars a token.
INPUT_TOKENS, INPUT_NANO, OUTPUT_NANO = 5, 150, 600
ESTIMATE = INPUT_TOKENS * INPUT_NANO + MAX_OUTPUT_TOKENS * OUTPUT_NANO


def a_day(nano_usd: int) -> dict[str, str]:
    return {"day_usd": f"0.{nano_usd:09d}"}


@pytest.fixture
def start(bundle: Path, policy: Path, document: dict[str, Any], tmp_path: Path) -> Iterator[Any]:
    """Starts servers whose tenant acme has a budget a day, in nano-dollars; None: no budget yet."""
    started: list[Process] = []
    folder = tmp_path

    def begin(day_nano_usd: int | None, *arguments: str, environ: dict[str, str] | None = None) -> Process:
        document["budgets"]["tenants"] = {} if day_nano_usd is None else {"acme": a_day(day_nano_usd)}
        document["policies"]["default"] |= {"bars": {"default": 0.0}, "safe_tier": "small", "buckets": []}
        for deployment in document["tiers"][0]["chain"]:
            price = document["prices"][deployment["price"]]
            assert (price["input_usd_per_mtok"], price["output_usd_per_mtok"]) == (0.15, 0.6)
        policy.write_text(json.dumps(document))
        process = Process(
            *("--bundle", str(bundle), "--policy", str(policy), "--port", "0", "--metrics-port", "0"),
            *("--drain-grace-s", "0", "--reload-poll-s", "3600", "--store", str(folder / "outcomes.db")),
            *arguments,
            environ=environ,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.close()


def complete(channel: grpc.Channel) -> int | dict[str, str]:
    """One call of acme: its cost in nano-dollars, or the metadata of the refusal."""
    request = CompleteRequest(prompt="Where?", max_output_tokens=MAX_OUTPUT_TOKENS)
    request.caller.tenant = "acme"
    stub: Any = completion_pb2_grpc.CompletionServiceStub(channel)
    try:
        answer = stub.Complete(request, timeout=PATIENCE_S, wait_for_ready=True)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
        return read_refusal(error)
    return int(answer.cost.nano_usd)


def read_refusal(error: Any) -> dict[str, str]:
    status = rpc_status.from_call(error)
    info = ErrorInfo()
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details if detail.Is(ErrorInfo.DESCRIPTOR))
    assert info.reason == "BUDGET_EXHAUSTED"
    return dict(info.metadata)


def ask_at_once(port: int, n: int, connections: int = 16) -> list[int | dict[str, str]]:
    with connected(port, connections) as channels, ThreadPoolExecutor(n) as pool:
        return list(pool.map(lambda i: complete(channels[i % connections]), range(n)))


def costs(found: list[int | dict[str, str]]) -> list[int]:
    return [one for one in found if isinstance(one, int)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_hundred_at_once_on_a_budget_for_ten(start: Any, workers: str) -> None:
    process = start(10 * ESTIMATE, "--workers", workers)
    if workers == "1":
        ports = process.wait_for("serving_started")
    else:
        ports = process.wait_for("supervising_started")
        process.wait_for("serving_started", 2)
    found = ask_at_once(ports["port"], 200)
    served = costs(found)
    assert 1 <= len(served) < 200
    assert sum(served) <= 10 * ESTIMATE + ESTIMATE
    # What is left would not hold another one, whichever worker is asked.
    assert sum(served) > 9 * ESTIMATE
    assert not costs(ask_at_once(ports["port"], 16))
    refused = 200 - len(served) + 16
    labels = 'budget="spend_day",name="acme",scope="tenant"'
    text = until_metrics_say(ports["metrics_port"], f"turnout_budget_refusals_total{{{labels}}} {refused}.0")
    # Told by one worker alone.
    assert f"turnout_budget_limit_nano_usd{{{labels}}} {10 * ESTIMATE}.0" in text
    assert process.end() == 0


def test_two_workers_take_up_a_new_budget_under_load_and_count_to_the_unit(
    start: Any, policy: Path, document: dict[str, Any]
) -> None:
    process = start(None, "--workers", "2")
    ports = process.wait_for("supervising_started")
    process.wait_for("serving_started", 2)
    budget = 900_000_000
    stop = threading.Event()
    found: list[int | dict[str, str]] = []

    def ask(channel: grpc.Channel) -> None:
        while not stop.is_set():
            found.append(complete(channel))

    def go_on(calls: int) -> None:
        seen = len(found)
        until(lambda: len(found) >= seen + calls)

    with connected(ports["port"], 8) as channels, ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(ask, channel) for channel in channels]
        go_on(100)
        document["budgets"]["tenants"] = {"acme": a_day(budget)}
        policy.write_text(json.dumps(document))
        process.process.send_signal(signal.SIGHUP)
        process.wait_for("config_accepted", 2)
        go_on(50)
        stop.set()
        for caller in callers:
            caller.result()
    assert len(costs(found)) == len(found)
    until(lambda: left_of_budget(ports["metrics_port"]) == budget - sum(costs(found)))
    assert process.end() == 0


def test_a_killed_service_remembers_what_it_spent(start: Any) -> None:
    budget = 6 * ESTIMATE
    spent = 0
    # Three are killed as soon as they have answered, with costs that no database has.
    for run in range(3):
        process = start(budget, *(() if run < 2 else ("--workers", "2")))
        port = process.wait_for("serving_started")["port"]
        served = costs(ask_at_once(port, 2, 1))
        assert len(served) == 2
        spent += sum(served)
        process.workers()
        for pid in [process.process.pid, *process._workers]:
            os.kill(pid, signal.SIGKILL)
        process.process.wait()
        process.finish_log()
    process = start(budget)
    port = process.wait_for("serving_started")["port"]
    assert any(event["event"] == "budgets_restored" for event in process.events)
    found = ask_at_once(port, 20, 1)
    assert spent + sum(costs(found)) <= budget + ESTIMATE
    refused = next(one for one in found if not isinstance(one, int))
    assert int(refused["left"]) < ESTIMATE
    assert spent + sum(costs(found)) + int(refused["left"]) <= budget
    assert process.end() == 0


def test_a_store_that_cannot_be_read_keeps_nobody_waiting(start: Any, tmp_path: Path) -> None:
    (tmp_path / "outcomes.db").write_bytes(b"no database at all, and that for more than a page of it\n" * 100)
    process = start(3 * ESTIMATE)
    port = process.wait_for("serving_started")["port"]
    assert any(event["event"] == "budgets_not_restored" for event in process.events)
    assert costs(ask_at_once(port, 1, 1))
    assert process.end() == 0


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    if server.process.poll() is None:
        os.kill(server.process.pid, signal.SIGCONT)
    server.stop()


def test_machines_heed_each_other_and_a_server_that_is_away_or_hangs_stops_nobody(
    start: Any, valkey: Server, tmp_path: Path
) -> None:
    budget = 40 * ESTIMATE
    machines = [
        start(budget, "--shared-limits", valkey.url, "--store", str(tmp_path / f"{name}.db"))
        for name in ("one", "other")
    ]
    ports = [machine.wait_for("serving_started") for machine in machines]
    one, other = (told["port"] for told in ports)
    spent = sum(costs(ask_at_once(one, 30)))
    assert spent > 20 * ESTIMATE
    until(lambda: left_of_budget(ports[1]["metrics_port"]) <= budget - spent)
    # Together within the budget: what each spends now, the other has heard of.
    found = ask_at_once(other, 60)
    assert spent + sum(costs(found)) <= budget + ESTIMATE
    assert len(costs(found)) < 60
    os.kill(valkey.process.pid, signal.SIGSTOP)
    until_failing(ports[1]["metrics_port"])
    assert len(ask_at_once(one, 20)) == 20
    valkey.stop()
    # Both answer, whatever they answer, and drain.
    assert len(ask_at_once(one, 20)) == len(ask_at_once(other, 20)) == 20
    assert [machine.end() for machine in machines] == [0, 0]


def left_of_budget(metrics_port: int) -> float:
    """What a machine says is left of the budget."""
    text = until_metrics_say(metrics_port, "turnout_budget_left_nano_usd{")
    line = next(line for line in text.splitlines() if line.startswith("turnout_budget_left_nano_usd{"))
    return float(line.split()[-1])


def until_failing(metrics_port: int) -> None:
    def fails() -> bool:
        text = until_metrics_say(metrics_port, 'turnout_shared_limits_exchanges_total{result="failed"}')
        prefix = 'turnout_shared_limits_exchanges_total{result="failed"}'
        return any(line.startswith(prefix) and float(line.split()[-1]) > 0 for line in text.splitlines())

    until(fails)


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
