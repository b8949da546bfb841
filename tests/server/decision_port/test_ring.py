"""Decisions of the port in the outcome store: by the ring, whatever the snapshot, as many as were drawn."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import select
from turnout.v1.routing_pb2 import RouteRequest
from turnout_fastpath import Engine, Request, StateBlock
from turnout_fastpath.bundle import inputs_revision
from turnout_server.doors.decision_port import port as port_module
from turnout_server.doors.decision_port.port import DecisionPort
from turnout_server.doors.decision_port.ring import Ring
from turnout_server.observability.metrics import Metrics
from turnout_server.quality.ring_feed import RingFeed
from turnout_server.quality.route_recorder import RouteRecorder
from turnout_server.quality.store.place import find_place, make_engine
from turnout_server.quality.store.redaction import redact
from turnout_server.quality.store.sampling import is_drawn
from turnout_server.quality.store.schema import COUNTS, DECISIONS
from turnout_server.quality.store.store import Options, OutcomeStore
from turnout_server.reloading import Source
from turnout_server.routing import Router
from turnout_server.settings import Settings

from tests.server.decision_port.conftest import RunningPort

HERE = Path(__file__).parent
RING = Path(port_module.__file__).parent


@pytest.mark.parametrize("optimise", ["-O1", "-O3"])
def test_the_ring_itself(tmp_path: Path, optimise: str) -> None:
    program = tmp_path / "ring_race"
    flags = [optimise, "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{RING}"]
    subprocess.run(["cc", *flags, str(HERE / "ring_race.c"), "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [0, 64, 5000, 4097])
def test_a_ring_has_a_size_that_works(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes, needed: a power of two, at least 4096"):
        Ring(size)


class Recorded:
    """A port whose decisions go to a store of its own."""

    def __init__(
        self, running: RunningPort, router: Router, store: OutcomeStore, feed: RingFeed, path: Path
    ) -> None:
        self.running = running
        self.router = router
        self.feed = feed
        self.store = store
        self._path = path

    def read(self) -> tuple[dict[str, Any], int]:
        """Rows of decisions by id, and how many were counted."""
        self.feed.turn()
        assert self.store.flush(10)
        place = find_place(str(self._path))
        assert place is not None
        with make_engine(place, read_only=True).begin() as connection:
            rows = {row["decision_id"]: row for row in connection.execute(select(DECISIONS)).mappings()}
            counted = sum(row.decisions for row in connection.execute(select(COUNTS)))
        return rows, counted


def make_recorded(
    settings: Settings, path: Path, share: float
) -> tuple[DecisionPort, Router, OutcomeStore, RingFeed, Metrics]:
    place = find_place(str(path))
    assert place is not None
    metrics = Metrics()
    router = Router(Engine(Source(settings.policy, settings.bundle).compile(StateBlock())), metrics)
    store = OutcomeStore(place, Options(redact=redact))
    port = DecisionPort(
        settings, router, metrics, recorder=RouteRecorder(store, router, share), keep_share=share
    )
    return port, router, store, RingFeed(port, store), metrics


async def record(settings: Settings, path: Path, share: float) -> AsyncIterator[Recorded]:
    port, router, store, feed, metrics = make_recorded(settings, path, share)
    running = RunningPort(port, await port.start(), router._engine, metrics)
    await port.open()
    try:
        yield Recorded(running, router, store, feed, path)
    finally:
        await running.hang_up()
        await port.stop()
        store.close()


@pytest.fixture
async def recorded(port_settings: Settings, tmp_path: Path, request: Any) -> AsyncIterator[Recorded]:
    async for one in record(port_settings, tmp_path / "outcomes.db", request.param):
        yield one


@pytest.mark.parametrize("recorded", [1.0, 0.3], indirect=True)
async def test_a_share_is_kept_and_all_are_counted(recorded: Recorded, request: Any) -> None:
    share = request.node.callspec.params["recorded"]
    answers = []
    for i in range(150):
        message = RouteRequest(prompt=f"What is {i}?")
        message.caller.tenant = f"tenant-ä-{i % 3}"
        # Python decides what is to be explained.
        message.explain = i % 10 == 0
        answers.append((message, await recorded.running.stub.Route(message)))
    rows, counted = recorded.read()
    assert counted == 150
    assert set(rows) == {answer.decision_id for _, answer in answers if is_drawn(answer.decision_id, share)}
    assert 20 < len(rows) <= 150
    for message, answer in answers:
        if (row := rows.get(answer.decision_id)) is None:
            continue
        assert (row["tier"], row["policy"], row["deployment"]) == (answer.tier, "default", answer.deployment)
        assert row["tenant"] == message.caller.tenant
        assert (
            row["policy_revision"] == answer.revisions.policy and row["tokens_total"] == answer.tokens_total
        )
        assert row["propensity"] == answer.propensity and row["strategy"] == "single"
        assert row["prompt"] is None and row["features"] is None and row["inputs_revision"] == ""
        told = {c.tier: c.p_sufficient for c in answer.candidates if c.HasField("p_sufficient")}
        assert json.loads(row["p_sufficient"]) == told
    _, again = recorded.read()
    assert again == 150


@pytest.fixture
def keeping(port_settings: Settings, document: dict[str, Any], tmp_path: Path) -> Settings:
    """A policy that has text and features kept."""
    document["policies"]["default"]["record"] = {"text": True, "features": True}
    path = tmp_path / "keeping.yaml"
    path.write_bytes(orjson.dumps(document))
    return dataclasses.replace(port_settings, policy=path)


async def test_text_and_features_are_kept_as_the_policy_says(keeping: Settings, tmp_path: Path) -> None:
    async for recorded in record(keeping, tmp_path / "outcomes.db", 1.0):
        for explain in (False, True):
            message = RouteRequest(explain=explain)
            for role, text in (
                (3, "Be kind."),
                (1, "First?"),
                (2, "Yes."),
                (1, "Write to joe@example.com, please."),
            ):
                message.messages.add(role=role, content=text)
            answer = await recorded.running.stub.Route(message)
            rows, _ = recorded.read()
            row = rows[answer.decision_id]
            assert row["prompt"] == "Write to <email>, please."
            turns: Any = [("system", "Be kind."), ("user", "First?"), ("assistant", "Yes.")]
            request = Request(messages=[*turns, ("user", "Write to joe@example.com, please.")])
            wanted = recorded.router._engine.classifier_inputs(request)
            np.testing.assert_array_equal(np.frombuffer(row["features"], "<f4"), wanted)
            assert row["inputs_revision"] == inputs_revision(recorded.router.snapshot.bundle)
        long = await recorded.running.stub.Route(RouteRequest(prompt="word " * 20_000))
        rows, _ = recorded.read()
        assert rows[long.decision_id]["prompt"] is None
        assert rows[long.decision_id]["features"] is not None


@pytest.mark.parametrize("recorded", [1.0], indirect=True)
async def test_decisions_keep_the_names_of_their_own_snapshot(
    recorded: Recorded, document: dict[str, Any], port_settings: Settings, tmp_path: Path
) -> None:
    first = await recorded.running.stub.Route(RouteRequest(prompt="hello"))
    for deployment in (one for tier in document["tiers"] for one in tier["chain"]):
        deployment["name"] = f"new-{deployment['name']}"
    path = tmp_path / "new.yaml"
    path.write_bytes(orjson.dumps(document))
    snapshot = Source(path, port_settings.bundle).compile(StateBlock())
    await recorded.router.install(snapshot)
    await recorded.running.port.install(snapshot)
    second = await recorded.running.stub.Route(RouteRequest(prompt="hello"))
    rows, counted = recorded.read()
    assert rows[first.decision_id]["deployment"] == first.deployment
    assert rows[second.decision_id]["deployment"] == second.deployment == f"new-{first.deployment}"
    assert counted == 2


async def test_a_full_ring_drops_detail_and_no_count(
    port_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_module, "RING_BYTES", 4096)
    async for recorded in record(port_settings, tmp_path / "outcomes.db", 1.0):
        await asyncio.gather(*(recorded.running.stub.Route(RouteRequest(prompt="hi")) for _ in range(200)))
        dropped = recorded.running.port.kept_dropped
        rows, counted = recorded.read()
        assert dropped > 0 and len(rows) + dropped == 200
        assert counted == 200


def test_deciding_alone_without_a_store_imports_no_completion(bundle: Path) -> None:
    script = """
import sys
from turnout_server.decision_serving import DecisionService
from turnout_server.settings import load_settings
service = DecisionService(load_settings({"store": "off", "bundle": sys.argv[1]}).settings)
assert service.recording is None
found = [name for name in sys.modules if name.startswith(("turnout_server.completion", "turnout_server.quality", "sqlalchemy"))]
assert not found, found
"""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script, bundle],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
