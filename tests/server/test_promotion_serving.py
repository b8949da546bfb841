"""`turnout serve --bundle STORE/current` in a process of its own, with a challenger, while bundles are promoted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from pathlib import Path

import grpc
from turnout.v1 import routing_pb2_grpc
from turnout.v1.routing_pb2 import RouteRequest
from turnout_fastpath.bundle import load_bundle
from turnout_server.bundle_store import BundleStore

from tests.server.small_bundle import make_small_bundle
from tests.server.test_workers import Process


def test_a_running_server_follows_the_store(policy: Path, tmp_path: Path) -> None:
    first, second = (make_small_bundle(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    store = BundleStore(tmp_path / "store")
    store.promote(load_bundle(first), who="test")
    arguments = ["--port", "0", "--metrics-port", "0", "--decision-port", "off", "--reload-poll-s", "0.1"]
    arguments += ["--bundle", str(store.folder / "current"), "--policy", str(policy)]
    process = Process(*arguments, "--challenger", str(store.folder / "challenger"))
    try:
        started = process.wait_for("serving_started")
        seen: Counter[str] = Counter()
        failures: list[grpc.RpcError] = []
        done = threading.Event()

        def call() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{started['port']}") as channel:
                stub = routing_pb2_grpc.RoutingServiceStub(channel)
                while not done.is_set():
                    try:
                        answer = stub.Route(RouteRequest(prompt="what is the capital"), timeout=30)
                        seen[answer.revisions.bundle] += 1
                    except grpc.RpcError as error:
                        failures.append(error)

        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            store.challenge(load_bundle(second), who="test")
            process.wait_for("challenger_accepted")
            # By the command, as an operator does it.
            command = [sys.executable, "-m", "turnout_server.cli", "promote", str(second)]
            command += ["--store", str(store.folder), "--force", "test"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            accepted = process.wait_for("config_accepted")
            assert accepted["bundle_revision"] == load_bundle(second).revision.hex()
            store.rollback(who="test")
            accepted = process.wait_for("config_accepted")
            assert accepted["bundle_revision"] == load_bundle(first).revision.hex()
            metrics = f"http://127.0.0.1:{started['metrics_port']}/metrics"
            with urllib.request.urlopen(metrics, timeout=30) as response:
                text = response.read().decode()
        finally:
            done.set()
            for caller in callers:
                caller.join()
        assert failures == []
        assert set(seen) == {load_bundle(path).revision.hex() for path in (first, second)}
        assert "turnout_challenger_decisions_total{" in text
        assert process.end() == 0
        assert not [event for event in process.events if event["event"] == "config_rejected"]
    finally:
        process.close()
    assert [
        json.loads(line)["step"] for line in (store.folder / "journal.jsonl").read_text().splitlines()
    ] == [
        "promoted",
        "challenged",
        "promoted",
        "rolled_back",
    ]
