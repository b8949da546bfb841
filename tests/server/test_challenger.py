"""The challenger: unseen by callers, bounded, and counted by what it would have decided otherwise."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest
from turnout_fastpath import Engine, Request, StateBlock, load_policy
from turnout_server.challenger import Challenger, compare
from turnout_server.observability.metrics import Metrics
from turnout_server.reloading import Source
from turnout_server.settings import Settings

from tests.server.conftest import Running, read_log, started
from tests.server.small_bundle import make_small_bundle

PROMPTS = ["hello", "what is the capital of france", "prove the theorem", "write python", "why", "sorts list"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_bundle(tmp_path_factory.mktemp("bundles") / "other", seed=8)


def values(metrics: Metrics, family: str) -> dict[tuple[str, ...], list[float]]:
    return {labels: found for name, labels, found in metrics.sums().values if name == family}


def total(metrics: Metrics, family: str) -> float:
    return sum(found[0] for found in values(metrics, family).values())


async def settle(running: Running, n: int) -> None:
    """Scores until `n` requests are counted."""
    challenger = running.service.challenger
    assert challenger is not None
    async with asyncio.timeout(10):
        while total(running.service.metrics, "turnout_challenger_decisions") < n:
            await challenger.score()
            await asyncio.sleep(0)


async def test_what_it_would_decide_is_counted_and_nothing_else_changes(
    settings: Settings, log: io.TextIOWrapper, bundle: Path, other: Path, policy: Path
) -> None:
    async with started(settings) as alone:
        expected = [await alone.stub.Route(RouteRequest(prompt=prompt)) for prompt in PROMPTS]
    async with started(dataclasses.replace(settings, challenger=other)) as running:
        assert running.service.challenger is not None
        await running.service.challenger.look()
        answers = [await running.stub.Route(RouteRequest(prompt=prompt)) for prompt in PROMPTS]
        batch = RouteBatchRequest(requests=[RouteRequest(prompt=prompt) for prompt in PROMPTS])
        await running.stub.RouteBatch(batch)
        await settle(running, 2 * len(PROMPTS))
        metrics = running.service.metrics
        counted = values(metrics, "turnout_challenger_decisions")
        distances = values(metrics, "turnout_challenger_p_sufficient_distance")
        info = values(metrics, "turnout_challenger_info")
    assert [answer.digest for answer in answers] == [answer.digest for answer in expected]
    champion, challenger = (Engine(Source(policy, path).compile(StateBlock())) for path in (bundle, other))
    pairs: dict[tuple[str, ...], float] = {}
    for prompt in PROMPTS:
        pair = (champion.route(prompt).tier, challenger.route(prompt).tier)
        pairs[pair] = pairs.get(pair, 0) + 2
    assert {pair: found[0] for pair, found in counted.items()} == pairs
    assert sum(sum(found[:-1]) for found in distances.values()) == 2 * len(PROMPTS)
    assert list(info) == [(challenger.snapshot.bundle.revision.hex(),)]


async def test_it_agrees_with_itself(settings: Settings, log: object, bundle: Path) -> None:
    async with started(dataclasses.replace(settings, challenger=bundle)) as running:
        assert running.service.challenger is not None
        await running.service.challenger.look()
        for prompt in PROMPTS:
            await running.stub.Route(RouteRequest(prompt=prompt))
        await settle(running, len(PROMPTS))
        metrics = running.service.metrics
        assert all(a == b for a, b in values(metrics, "turnout_challenger_decisions"))
        # All in the first bin, and their sum is 0.
        for found in values(metrics, "turnout_challenger_p_sufficient_distance").values():
            assert found[0] == sum(found[:-1]) and found[-1] == 0


def offering(policy: Path, other: Path, **limits: Any) -> tuple[Challenger, Metrics, Engine]:
    metrics, state = Metrics(), StateBlock()
    engine = Engine(Source(policy, other).compile(state))
    return Challenger(Source(policy, other), state, metrics, **limits), metrics, engine


async def test_what_finds_no_room_is_counted(policy: Path, other: Path, log: object) -> None:
    challenger, metrics, engine = offering(policy, other, capacity=3, capacity_bytes=100)
    small, large = Request("hello"), Request("x" * 99)
    decision = engine.decide(small)
    challenger.offer(small, decision)
    assert total(metrics, "turnout_challenger_lost") == 0, "nothing is lost before there is a challenger"
    await challenger.look()
    for request in (small, large, small, small, small):
        challenger.offer(request, decision)
    assert values(metrics, "turnout_challenger_lost")["full",] == [2]
    await challenger.score()
    assert total(metrics, "turnout_challenger_decisions") == 3
    challenger.offer(large, decision)
    await challenger.score()
    assert total(metrics, "turnout_challenger_decisions") == 4


async def test_what_it_cannot_decide_is_counted(
    policy: Path, other: Path, log: object, document: dict[str, Any]
) -> None:
    challenger, metrics, engine = offering(policy, other)
    await challenger.look()
    request = Request("hello", policy="gone")
    challenger.offer(request, engine.route("hello"))
    await challenger.score()
    assert values(metrics, "turnout_challenger_lost")["failed",] == [1]


async def test_a_tier_that_was_drawn_is_not_compared(other: Path, tmp_path: Path, log: object) -> None:
    document = load_policy()
    document["policies"]["default"]["control_share"] = 0.5
    policy = tmp_path / "policy.json"
    policy.write_text(__import__("json").dumps(document))
    challenger, metrics, engine = offering(policy, other)
    await challenger.look()
    drawn = 0
    for i in range(40):
        request = Request("hello", session_id=str(i))
        decision = engine.decide(request)
        drawn += any(reason.kind.name in ("CONTROL", "EXPLORE") for reason in decision.reasons)
        challenger.offer(request, decision)
    await challenger.score()
    assert 0 < drawn < 40
    assert total(metrics, "turnout_challenger_decisions") == 40 - drawn


async def test_it_comes_goes_and_may_be_broken(
    settings: Settings, log: io.TextIOWrapper, other: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "challenger"
    async with started(dataclasses.replace(settings, challenger=folder)) as running:
        challenger = running.service.challenger
        assert challenger is not None
        await challenger.look()
        assert list(values(running.service.metrics, "turnout_challenger_info")) == [("",)]
        shutil.copytree(other, folder)
        await challenger.look()
        manifest = folder / "manifest.json"
        whole = manifest.read_text()
        manifest.write_text("broken")
        await challenger.look()
        # The one before stays.
        await running.stub.Route(RouteRequest(prompt="hello"))
        await settle(running, 1)
        manifest.write_text(whole)
        shutil.rmtree(folder)
        await challenger.look()
        await running.stub.Route(RouteRequest(prompt="hello"))
        await challenger.score()
        assert total(running.service.metrics, "turnout_challenger_decisions") == 1
    events = [line["event"] for line in read_log(log) if line["event"].startswith("challenger")]
    assert events == ["challenger_accepted", "challenger_rejected", "challenger_ended"]


async def test_it_runs_by_itself(settings: Settings, log: object, other: Path) -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    async with started(settings) as _:
        from turnout_server.serving import Service

        service = Service(dataclasses.replace(settings, challenger=other, reload_poll_s=0.1))

        async def is_ready(port: int) -> None:
            ready.set()

        task = asyncio.create_task(service.run(stop, is_ready))
        await asyncio.wait_for(ready.wait(), 30)
        async with asyncio.timeout(30):
            while not total(service.metrics, "turnout_challenger_decisions"):
                service.router.decide(Request("hello"))
                await asyncio.sleep(0.01)
        stop.set()
        await task


def test_distance_is_the_mean_over_judged_tiers(bundle: Path, other: Path, policy: Path) -> None:
    champion, challenger = (
        Engine(Source(policy, path).compile(StateBlock())).route("hello") for path in (bundle, other)
    )
    expected = [
        abs(a.p_sufficient - b.p_sufficient)
        for a, b in zip(champion.candidates, challenger.candidates, strict=True)
        if a.p_sufficient is not None and b.p_sufficient is not None
    ]
    found = compare(champion, challenger)
    assert found.distance == pytest.approx(sum(expected) / len(expected))
    assert (found.tier, found.challenger_tier) == (champion.tier, challenger.tier)
