"""Judges, shadows and ensembles of the simulated provider, through a service's whole life."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from turnout.v1 import completion_pb2_grpc
from turnout.v1.completion_pb2 import CompleteRequest
from turnout.v1.routing_pb2 import STRATEGY_ENSEMBLE
from turnout_server.completion.attempt import Purpose
from turnout_server.providers.simulated import SimulatedModel, SimulatedProvider
from turnout_server.quality.invoice import make_invoice
from turnout_server.quality.store.outcomes import read_outcome
from turnout_server.quality.store.place import find_place, make_engine
from turnout_server.quality.store.reading import read_costs
from turnout_server.serving import Service
from turnout_server.settings import Settings

MODELS = {name: SimulatedModel() for name in ("sim-small", "sim-mid", "sim-frontier")}


class Sleeper:
    """Time that stands still for one model, until it is cancelled."""

    def __init__(self) -> None:
        self.asleep = 0

    async def __call__(self, seconds: float) -> None:
        if seconds > 1:
            self.asleep += 1
            await asyncio.Event().wait()


@pytest.fixture
def graded(policy: Path, document: dict[str, Any], settings: Settings, tmp_path: Path) -> Settings:
    """Everything is judged and shadowed; what is decided goes to the cheapest tier."""
    mine = document["policies"]["default"]
    mine |= {
        "judge": {"tier": "frontier", "share": 1.0},
        "shadow": {"share": 1.0},
        "rules": [],
        "buckets": [],
    }
    mine["safe_tier"] = "small"
    mine["bars"] = {"default": 0.0}
    policy.write_text(json.dumps(document))
    return replace(settings, store=str(tmp_path / "outcomes.db"))


async def serve(settings: Settings, provider: SimulatedProvider, calls: list[CompleteRequest]) -> Service:
    """A service's life from start to drain, around these calls."""
    service = Service(settings)
    service.completer._dispatcher._caller._providers = {"simulated": provider}
    stop = asyncio.Event()

    async def ask(port: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = completion_pb2_grpc.CompletionServiceStub(channel)
            for call in calls:
                await stub.Complete(call)
        stop.set()

    await service.run(stop, ask)
    return service


async def test_what_is_under_way_is_finished_within_the_drain(graded: Settings, log: object) -> None:
    call = CompleteRequest(prompt="Where does the line end?", decision_id="ab" * 16)
    await serve(graded, SimulatedProvider(MODELS), [call])
    place = find_place(graded.store)
    assert place is not None
    engine = make_engine(place, read_only=True)
    with engine.connect() as connection:
        found = read_outcome(connection, call.decision_id)
        costs = read_costs(connection, call.decision_id)
    engine.dispose()
    assert found is not None
    # The simulated judge marks well whatever it sees; in both orders it prefers what stands first.
    assert {(one.source, one.score) for one in found.scores} == {
        (Purpose.JUDGE, 1.0),
        (Purpose.SHADOW, 0.5),
    }
    assert [one.other_tier for one in found.comparisons] == ["frontier"]
    purposes = sorted(one.purpose for one in costs)
    assert purposes == ["judge", "judge", "judge", "serve", "shadow"]
    assert make_invoice(costs).agrees
    assert {one.model_version for one in found.attempts} == {"sim-small-1", "sim-frontier-1"}


async def test_what_hangs_is_cancelled_beyond_the_drain_and_billed(graded: Settings, log: object) -> None:
    sleep = Sleeper()
    models = MODELS | {"sim-frontier": SimulatedModel(first_token_s=15.0)}
    call = CompleteRequest(prompt="Where does the line end?", decision_id="cd" * 16)
    provider = SimulatedProvider(models, sleep=sleep)
    async with asyncio.timeout(20):
        service = await serve(replace(graded, drain_s=0.1), provider, [call])
    assert sleep.asleep == 2
    assert service.completer.grading.lanes.under_way == 0
    place = find_place(graded.store)
    assert place is not None
    engine = make_engine(place, read_only=True)
    with engine.connect() as connection:
        costs = read_costs(connection, call.decision_id)
    engine.dispose()
    assert sorted((one.purpose, one.result, one.estimated) for one in costs) == [
        ("judge", "cancelled", True),
        ("serve", "served", False),
        ("shadow", "cancelled", True),
    ]


async def test_the_shipped_policy_can_be_forced_to_an_ensemble(settings: Settings, log: object) -> None:
    service = await serve(
        settings,
        SimulatedProvider(MODELS),
        [CompleteRequest(prompt="Where does the line end?", strategy=STRATEGY_ENSEMBLE)],
    )
    counts = {(name, labels): values[0] for name, labels, values in service.sums().values}
    assert counts["turnout_ensembles", ("gates", "frontier")] == 1
