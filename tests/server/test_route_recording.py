"""Decisions in the outcome store, from each door of the two services, each once."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import select
from turnout.v1.completion_pb2 import CompleteRequest
from turnout.v1.completion_pb2_grpc import CompletionServiceStub
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteStreamRequest
from turnout.v1.routing_pb2_grpc import RoutingServiceStub
from turnout_server import cli
from turnout_server.decision_serving import DecisionService
from turnout_server.observability.metrics import STORE_ROWS
from turnout_server.quality.store.place import find_place, make_engine
from turnout_server.quality.store.schema import COUNTS, DECISIONS
from turnout_server.settings import Settings, load_settings

from tests.server.conftest import started


@pytest.fixture
def keeping(settings: Settings, document: dict[str, Any], tmp_path: Path) -> Settings:
    """All decisions are kept, with text and features."""
    document["policies"]["default"]["record"] = {"text": True, "features": True}
    policy = tmp_path / "keeping.json"
    policy.write_text(json.dumps(document))
    return dataclasses.replace(
        settings, policy=policy, store=str(tmp_path / "outcomes.db"), store_sample=1.0, decision_port=0
    )


def read(settings: Settings) -> tuple[dict[str, Any], int]:
    place = find_place(settings.store)
    assert place is not None
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        rows = {row["decision_id"]: row for row in connection.execute(select(DECISIONS)).mappings()}
        counted = sum(row.decisions for row in connection.execute(select(COUNTS)))
    engine.dispose()
    return rows, counted


async def ask_all(stub: Any) -> dict[str, str]:
    """One decision by each method, and what it was asked."""
    asked = {}
    for i, message in enumerate((RouteRequest(prompt="one"), RouteRequest(prompt="two", explain=True))):
        asked[(await stub.Route(message)).decision_id] = ("one", "two")[i]
    batch = await stub.RouteBatch(RouteBatchRequest(requests=[RouteRequest(prompt="three"), RouteRequest()]))
    asked[batch.results[0].response.decision_id] = "three"
    call = stub.RouteStream()
    await call.write(RouteStreamRequest(request=RouteRequest(prompt="four")))
    await call.done_writing()
    async for answer in call:
        asked[answer.result.response.decision_id] = "four"
    return asked


async def test_the_main_port_records_each_decision_once(keeping: Settings, log: object) -> None:
    async with started(keeping) as running:
        asked = await ask_all(RoutingServiceStub(running.channel))
        completed = await CompletionServiceStub(running.channel).Complete(CompleteRequest(prompt="five"))
        asked[completed.decision.decision_id] = "five"
        store = running.service.store
        assert store is not None
        assert await asyncio.to_thread(store.flush, 10)
        found = Counter({labels: values[0] for name, labels, values in running.service.sums().values
                         if name == STORE_ROWS.name})  # fmt: skip
        assert found["decisions", "written"] == 5
    rows, counted = read(keeping)
    assert {key: row["prompt"] for key, row in rows.items()} == asked and len(asked) == 5
    assert counted == 5
    assert all(row["features"] and row["inputs_revision"] for row in rows.values())
    answers = {asked[key]: row["answer"] for key, row in rows.items()}
    assert answers.pop("five") == completed.message.content
    assert set(answers.values()) == {None}


async def test_a_sidecar_records_where_it_is_told_to(keeping: Settings, log: object) -> None:
    service = DecisionService(keeping)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def tell(port: int) -> None:
        ready.set_result(port)

    running = asyncio.create_task(service.run(stop, tell))
    port = await ready
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        asked = await ask_all(RoutingServiceStub(channel))
    stop.set()
    await running
    rows, counted = read(keeping)
    assert {key: row["prompt"] for key, row in rows.items()} == asked and len(asked) == 4
    assert counted == 4
    assert all(row["features"] and row["inputs_revision"] for row in rows.values())


def test_deciding_alone_stores_nothing_unless_it_is_told_where() -> None:
    usual = load_settings({}).settings
    assert usual.store == "auto"
    assert cli._without_main_port(usual).store == "off"
    told = load_settings({"store": "/tmp/here.db"}).settings
    assert cli._without_main_port(told).store == "/tmp/here.db"
