"""Metrics, logs and the port on which they are asked for."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import logging
import os
import random
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteStreamRequest
from turnout_fastpath import Engine
from turnout_server.lifecycle import StartError, open_endpoint
from turnout_server.observability import metrics as metrics_module
from turnout_server.observability.decision_log import DecisionLog
from turnout_server.observability.logs import configure_logs, get_logger
from turnout_server.observability.metrics import (
    COVERAGE,
    FAMILIES,
    HANDLING,
    INFO,
    RELOADS,
    Metrics,
    Sums,
    add_up,
)
from turnout_server.settings import LogFormat, LogLevel, Settings

from tests.server.conftest import Running, read_log, request_of, started
from tests.server.rich_errors import failure_of

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_metrics(text: str) -> Values:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def fetch(url: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def test_the_families_are_there_and_right(settings: Settings, log: object) -> None:
    async with started(dataclasses.replace(settings, log_sample=1.0)) as running:
        endpoint = open_endpoint(
            dataclasses.replace(settings, metrics_port=0),
            lambda: [running.service.metrics.sums()],
            lambda: running.service.port.health.is_serving,
        )
        assert endpoint is not None
        try:
            await use_every_method(running)
            status, text = await fetch(f"http://127.0.0.1:{endpoint.port}/metrics")
        finally:
            endpoint.close()
    assert status == 200
    values = read_metrics(text)

    def value(name: str, **labels: str) -> float:
        return values[name, tuple(sorted(labels.items()))]

    def rpc(name: str, method: str, **labels: str) -> float:
        kind = "bidi_stream" if method == "RouteStream" else "unary"
        service = "turnout.v1.RoutingService"
        return value(name, grpc_type=kind, grpc_service=service, grpc_method=method, **labels)

    assert rpc("grpc_server_started_total", "Route") == 5
    assert rpc("grpc_server_handled_total", "Route", grpc_code="OK") == 2
    assert rpc("grpc_server_handled_total", "Route", grpc_code="INVALID_ARGUMENT") == 2
    assert rpc("grpc_server_handled_total", "Route", grpc_code="RESOURCE_EXHAUSTED") == 1
    assert rpc("grpc_server_handling_seconds_count", "Route") == 4
    assert rpc("grpc_server_handled_total", "RouteBatch", grpc_code="OK") == 1
    assert rpc("grpc_server_started_total", "RouteStream") == 2
    # 1 DEFAULTED and 1 DECIDED by Route, 2 of 3 by RouteBatch, 2 by RouteStream.
    assert value("turnout_coverage_total", outcome="decided") == 5
    assert value("turnout_coverage_total", outcome="defaulted") == 1
    assert value("turnout_coverage_total", outcome="shed") == 1
    assert value("turnout_decision_seconds_count") == 6
    assert value("turnout_decision_seconds_bucket", le="+Inf") == 6
    decisions = {labels: v for (name, labels), v in values.items() if name == "turnout_decisions_total"}
    assert sum(decisions.values()) == 6
    assert sum(v for labels, v in decisions.items() if ("status", "defaulted") in labels) == 1
    assert all({"policy", "tier", "status"} == {key for key, _ in labels} for labels in decisions)
    assert value("turnout_reasons_total", kind="default", id="rules_only") == 1
    assert value("turnout_reasons_total", kind="rule", id="short") == 6
    assert value("turnout_errors_total", reason="PROMPT_REQUIRED") == 2
    assert value("turnout_errors_total", reason="MALFORMED_REQUEST") == 1
    assert value("turnout_errors_total", reason="OVERLOADED") == 1
    assert value("turnout_config_reloads_total", result="accepted") == 0
    for stage in ("read", "decide", "write"):
        assert value("turnout_stage_seconds_count", stage=stage) == 2
    (info,) = [dict(labels) for (name, labels) in values if name == "turnout_info"]
    snapshot = running.service.router.snapshot
    assert info["policy_revision"] == snapshot.policies.revision.hex()
    assert info["bundle_revision"] == snapshot.bundle.revision.hex()
    names = set(text.split())
    for family in FAMILIES:
        suffix = "" if family.is_gauge or family.bounds else "_total"
        assert family.name + suffix in names


def test_every_family_is_shown() -> None:
    defined = {
        name for name, value in vars(metrics_module).items() if isinstance(value, metrics_module.Family)
    }
    assert {name for name in defined if getattr(metrics_module, name) not in FAMILIES} == set()
    assert len(defined) == len(FAMILIES) == len({family.name for family in FAMILIES})


async def use_every_method(running: Running) -> None:
    good = RouteRequest(prompt="hello")
    await running.stub.Route(good)
    await running.stub.Route(RouteRequest(prompt="hello", policy="hasty"), timeout=30)
    await failure_of(running.stub.Route(RouteRequest()))
    await failure_of(running.raw("Route")(b"\xff"))
    await running.stub.RouteBatch(RouteBatchRequest(requests=[good, RouteRequest(), good]))

    async def items() -> AsyncIterator[RouteStreamRequest]:
        for _ in range(2):
            yield RouteStreamRequest(request=good)

    assert len([reply async for reply in running.stub.RouteStream(items())]) == 2
    limit = running.service.port.admission.limit
    running.service.port.admission.limit = 0
    await failure_of(running.stub.Route(good))
    running.service.port.admission.limit = limit
    stream = running.stub.RouteStream()
    await stream.write(RouteStreamRequest(request=RouteRequest(prompt="x", policy="none")))
    await stream.read()
    await stream.done_writing()
    await stream.read()


async def test_probes(settings: Settings, log: object) -> None:
    ready = False
    endpoint = open_endpoint(dataclasses.replace(settings, metrics_port=0), list, lambda: ready)
    assert endpoint is not None
    try:
        base = f"http://127.0.0.1:{endpoint.port}"
        assert await fetch(f"{base}/healthz") == (200, "ok\n")
        assert await fetch(f"{base}/readyz") == (503, "not ready\n")
        ready = True
        assert await fetch(f"{base}/readyz") == (200, "ready\n")
        assert (await fetch(f"{base}/else"))[0] == 404
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{endpoint.port} for metrics: "):
            open_endpoint(dataclasses.replace(settings, metrics_port=endpoint.port), list, lambda: True)
    finally:
        endpoint.close()
    assert open_endpoint(settings, list, lambda: True) is None


def test_sums_travel_and_add_up() -> None:
    one, two = Metrics(), Metrics()
    for metrics, n in ((one, 1), (two, 2)):
        metrics.watch(INFO, lambda: (("v", "p", "b", "f"), 1))
        for _ in range(n):
            metrics.count(COVERAGE, "decided").add()
        metrics.timing(HANDLING, "unary", "s", "m").observe(0.0015)
    parts = [Sums.from_json(json.loads(json.dumps(metrics.sums().values))) for metrics in (one, two)]
    assert parts[0] == one.sums()
    added = {(name, labels): values for name, labels, values in add_up(parts).values}
    assert added["turnout_coverage", ("decided",)] == [3.0]
    *counts, total = added["grpc_server_handling_seconds", ("unary", "s", "m")]
    assert sum(counts) == 2
    assert counts[HANDLING.bounds.index(0.002)] == 2
    assert total == pytest.approx(0.003)
    assert added["turnout_info", ("v", "p", "b", "f")] == [2.0]
    assert add_up([]) == Sums([])
    kept = {name for name, _, _ in parts[0].without_gauges().values}
    assert "turnout_info" not in kept
    assert RELOADS.name in kept


async def test_decisions_are_logged_without_text(
    settings: Settings, log: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hunter2 is the password"
    requests = [
        RouteRequest(prompt=secret),
        RouteRequest(prompt=secret, explain=True),
        request_of(
            {"messages": [{"role": 3, "content": secret}, {"parts": [{"text": secret}], "name": "bob"}]}
        ),
        RouteRequest(prompt=secret * 5000),
        RouteRequest(prompt=secret, policy="hunter2"),
        request_of({"prompt": secret, "constraints": {"max_cost_usd": -1}}),
    ]
    async with started(dataclasses.replace(settings, log_sample=1.0)) as running:
        for request in requests[:4]:
            await running.stub.Route(request)
        for request in requests[4:]:
            await failure_of(running.stub.Route(request))
        await running.stub.RouteBatch(RouteBatchRequest(requests=requests))
        stream = running.stub.RouteStream()
        for request in requests:
            await stream.write(RouteStreamRequest(request=request, correlation_id="hunter2"))
            await stream.read()
        await stream.done_writing()
        await stream.read()
        broken = requests[0].SerializeToString() + b"\x32\x01\xff"
        await failure_of(running.raw("Route")(broken))
    lines = read_log(log)
    decisions = [line for line in lines if line["event"] == "decision_made"]
    assert len(decisions) == 12
    first = decisions[0]
    assert (first["text_bytes"], first["level"], first["status"]) == (len(secret), "info", "decided")
    assert first["pid"] == os.getpid()
    assert first["text_hash"] == decisions[1]["text_hash"] != decisions[3]["text_hash"]
    assert len(first["digest"]) == len(first["decision_id"]) == 32
    raw = log.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "hunter2" not in raw
    assert "password" not in raw


def test_a_share_of_decisions_is_drawn() -> None:
    drawn = DecisionLog(0.25, random.Random(3))
    assert 200 < sum(drawn.draws() for _ in range(1000)) < 300
    assert not any(DecisionLog(0).draws() for _ in range(1000))
    assert all(DecisionLog(1).draws() for _ in range(1000))


def test_libraries_log_in_the_same_form_without_messages_of_causes(log: io.TextIOWrapper) -> None:
    try:
        raise ValueError("my secret")
    except ValueError:
        logging.getLogger("grpc.somewhere").exception("a call failed\nmy secret")
    logging.getLogger("grpc.somewhere").info("chatter")
    (line,) = read_log(log)
    assert line["event"] == "library_logged"
    assert (line["library"], line["message"], line["error"]) == (
        "grpc.somewhere",
        "a call failed",
        "ValueError",
    )
    assert line["level"] == "error"
    assert "secret" not in str(line)


def test_a_log_that_cannot_be_written_fails_nothing() -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    for layout in LogFormat:
        stream = io.TextIOWrapper(cast(Any, Full()), encoding="utf-8", write_through=True)
        configure_logs(LogLevel.INFO, layout, stream)
        get_logger().info("something_happened")


def test_the_console_layout_and_the_level() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    configure_logs(LogLevel.WARNING, LogFormat.CONSOLE, stream)
    get_logger().info("too_quiet")
    get_logger().warning("loud_enough", port=1)
    text = stream.buffer.getvalue().decode()
    assert "loud_enough" in text
    assert "too_quiet" not in text


def test_counting_a_decision(bundle: Path) -> None:
    metrics = Metrics()
    engine = Engine.load(bundle)
    for decision in (engine.route("hello"), engine.route("hello"), engine.route("hello", rules_only=True)):
        metrics.count_decision(decision)
    values = {(name, labels): values for name, labels, values in metrics.sums().values}
    tier = engine.route("hello").tier
    assert values["turnout_decisions", ("default", tier, "decided")] == [2.0]
    assert values["turnout_decisions", ("default", "mid", "defaulted")] == [1.0]
