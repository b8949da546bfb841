"""Outages whose only evidence is silence: what they cost upstream, in virtual time and over real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from turnout.v1 import completion_pb2_grpc
from turnout.v1.completion_pb2 import CompleteRequest

from tests.faults import Fault, FaultServer, Wire
from tests.server.completion.traffic import Course, State, States, run_traffic
from tests.server.completion.wall import KEY_VARIABLE, policy_of, walled
from tests.server.test_workers import Process

PAIR = {"small": ["a", "b"], "frontier": ["c"]}
TWO_PAIRS = {"small": ["a", "b"], "frontier": ["c", "d"]}
SINGLES = {"small": ["a"], "frontier": ["c"]}


def all_of(state: State, from_s: float = 0.0, until_s: float = 1e9, names: str = "abcd") -> States:
    """These deployments are in a state for a time, and answer else."""

    def states(name: str, at_s: float) -> State:
        return state if name in names and from_s <= at_s < until_s else State.ANSWERS

    return states


@pytest.mark.parametrize(
    ("tiers", "max_tier", "state", "workers"),
    [
        pytest.param(PAIR, "small", State.SILENT, 1, id="silent-pair"),
        pytest.param(SINGLES, "", State.SILENT, 1, id="silent-two-tiers"),
        pytest.param(TWO_PAIRS, "", State.SILENT, 1, id="silent-two-tiers-of-two"),
        pytest.param(TWO_PAIRS, "", State.SILENT, 2, id="silent-two-tiers-of-two-two-workers"),
        pytest.param(TWO_PAIRS, "", State.UNREACHABLE, 1, id="unreachable"),
        pytest.param(TWO_PAIRS, "", State.STALLS, 1, id="stalls"),
        pytest.param(TWO_PAIRS, "", State.ERRS, 1, id="errs"),
    ],
)
def test_a_full_outage_never_costs_more_than_a_fifth_beyond_the_requests(
    bundle: Path, tiers: dict[str, list[str]], max_tier: str, state: State, workers: int
) -> None:
    """At 100 requests a second, while the first limit runs and after: at every second from the first on."""
    course = run_traffic(bundle, tiers, all_of(state), seconds=22, workers=workers, max_tier=max_tier)
    assert len(course.served) == 2200
    assert not any(served for _, served in course.served)
    assert course.ratio <= 1.2
    assert course.worst_ratio(from_s=1) <= 1.2


@pytest.mark.parametrize("deadline_s", [None, 5.0])
def test_an_outage_amid_traffic_costs_no_more(bundle: Path, deadline_s: float | None) -> None:
    """What answered a moment ago is taken to be alive for a moment; a near deadline shortens the limit."""
    course = run_traffic(
        bundle,
        TWO_PAIRS,
        all_of(State.SILENT, from_s=5),
        seconds=25,
        deadline_s=deadline_s,
        first_token_s=0.5,
        answer_s=2.0,
    )
    calls = sum(at_s >= 5 for at_s, _ in course.calls)
    requests = sum(at_s >= 5 for at_s, _ in course.served)
    assert calls <= 1.2 * requests
    assert not any(served for at_s, served in course.served if at_s >= 5)


def test_hedges_are_within_it(bundle: Path) -> None:
    course = run_traffic(
        bundle,
        TWO_PAIRS,
        all_of(State.SILENT, from_s=3),
        seconds=23,
        sections={"hedging": {"enabled": True, "share": 0.2}},
    )
    calls = sum(at_s >= 3 for at_s, _ in course.calls)
    assert calls <= 1.2 * sum(at_s >= 3 for at_s, _ in course.served)


@pytest.mark.parametrize("rate", [0.5, 3, 100])
def test_while_one_deployment_is_silent_everyone_is_served_by_the_other(bundle: Path, rate: float) -> None:
    course = run_traffic(
        bundle,
        PAIR,
        all_of(State.SILENT, from_s=5, names="a"),
        seconds=max(25, 30 / rate),
        rate=rate,
        max_tier="small",
    )
    assert all(served for _, served in course.served)


def test_new_calls_leave_a_silent_deployment_before_its_limit_is_over(bundle: Path) -> None:
    """With first tokens within 0.2 s, a second's silence is enough; then only probes go there."""
    course = run_traffic(
        bundle, PAIR, all_of(State.SILENT, from_s=5, names="a"), seconds=20, rate=100, max_tier="small"
    )
    late = [at_s for at_s, name in course.calls if name == "a" and at_s >= 6.5]
    assert len(late) < 20


def test_traffic_is_back_within_30_s_of_a_silent_outage(bundle: Path) -> None:
    course = run_traffic(bundle, TWO_PAIRS, all_of(State.SILENT, from_s=2, until_s=40), seconds=80, rate=10)
    late = [served for at_s, served in course.served if at_s >= 70]
    assert late
    assert all(late)
    assert {name for at_s, name in course.calls if at_s >= 75} == {"a"}


def test_a_deployments_own_limit_is_waited_for(bundle: Path) -> None:
    """`b` may think for half a minute; `a` may not."""

    def patient(limits: dict[str, float]) -> Course:
        return run_traffic(
            bundle,
            {"small": ["b"], "frontier": ["c"]},
            all_of(State.ANSWERS),
            seconds=5,
            rate=2,
            max_tier="small",
            limits=limits,
            first_token_s=30.0,
            answer_s=31.0,
        )

    assert all(served for _, served in patient({"b": 60.0}).served)
    assert not any(served for _, served in patient({}).served)


BLACK_HOLE = {
    "small": [Fault.SILENCE.value, "silence.2"],
    "frontier": ["silence.3", "silence.4"],
}


async def load(stubs: list[Any], requests: int, rate: float) -> list[grpc.StatusCode]:
    """Requests at a rate, in turn to each stub; how each ended."""

    async def ask(stub: Any) -> grpc.StatusCode:
        try:
            await stub.Complete(CompleteRequest(prompt="Where?"), timeout=20.0, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    tasks = []
    for i in range(requests):
        tasks.append(asyncio.ensure_future(ask(stubs[i % len(stubs)])))
        await asyncio.sleep(1 / rate)
    return await asyncio.gather(*tasks)


async def test_a_black_hole_over_sockets(tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(
        tmp_path, bundle, BLACK_HOLE["small"], BLACK_HOLE["frontier"], first_token_s=1.0
    ) as wall:
        codes = await load([wall.stub], 300, rate=100)
        assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
        assert 300 <= wall.upstream.ledger.count() <= 1.2 * 300


async def test_a_black_hole_before_two_worker_processes(tmp_path: Path, bundle: Path, log: object) -> None:
    policy = tmp_path / "black-hole.yaml"
    async with FaultServer() as upstream:
        policy.write_text(json.dumps(policy_of(upstream.url, BLACK_HOLE, Wire.OPENAI)))
        process = Process(
            *("--bundle", str(bundle), "--policy", str(policy)),
            *("--port", "0", "--metrics-port", "0", "--workers", "2", "--store", "off"),
            *("--first-token-s", "1", "--drain-grace-s", "0", "--reload-poll-s", "3600"),
            environ={KEY_VARIABLE: "sk-wall"},
        )
        try:
            port = (await asyncio.to_thread(process.wait_for, "supervising_started"))["port"]
            await asyncio.to_thread(process.wait_for, "serving_started", 2)
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            # Connections of their own, which the kernel spreads over the workers.
            channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(16)]
            stubs: list[Any] = [completion_pb2_grpc.CompletionServiceStub(one) for one in channels]
            codes = await load(stubs, 300, rate=100)
            assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
            assert 300 <= upstream.ledger.count() <= 1.2 * 300
            for channel in channels:
                await channel.close(None)
        finally:
            await asyncio.to_thread(process.close)
