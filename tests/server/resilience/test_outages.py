"""Outages under load: how many attempts they cost, how soon they are seen, and how soon they are over."""

from __future__ import annotations

import pytest
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breakers import Use

from tests.server.resilience.traffic import Upstream, World

CHAINS = [[["a"]], [["a", "b"]], [["a", "b", "c"]], [["a"], ["b"]], [["a", "b"], ["c", "d"]]]


def down(names: str, fault: FaultKind, begin_s: float, end_s: float, takes_s: float = 0.01) -> Upstream:
    """Deployments that fail for a time, and else answer within 0.2 s."""

    def upstream(name: str, now_s: float) -> tuple[FaultKind | None, float]:
        if name in names and begin_s <= now_s < end_s:
            return fault, takes_s
        return None, 0.2

    return upstream


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chains", CHAINS, ids=str)
def test_a_full_outage_costs_at_most_a_fifth_more_attempts_than_requests(
    chains: list[list[str]], workers: int
) -> None:
    world = World(chains, down("abcd", FaultKind.SERVER_ERROR, 0, 1e9), workers)
    world.run(10)
    assert len(world.served) == 1000
    assert not any(served for _, served in world.served)
    assert 1000 <= len(world.attempts) <= 1.2 * 1000


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_outage_in_silence_costs_no_more_over_two_minutes(workers: int) -> None:
    """By the breakers alone: what comes before the first evidence, in the first 10 s, fails over once."""
    world = World([["a", "b"]], down("ab", FaultKind.FIRST_TOKEN_TIMEOUT, 0, 1e9, 10.0), workers)
    world.run(120, rate=20)
    assert len(world.attempts) <= 1.2 * 2400


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("rate", [10, 100])
def test_an_outage_is_seen_within_a_second_and_nobody_notices(workers: int, rate: float) -> None:
    world = World([["a", "b"]], down("a", FaultKind.SERVER_ERROR, 5, 1e9), workers)
    world.run(30, rate)
    calls = [attempt for attempt in world.attempts if attempt.deployment == "a" and attempt.at_s >= 5]
    assert all(served for _, served in world.served)
    assert max(call.at_s for call in calls if call.use is Use.SERVE) < 6
    assert len(world.attempts) <= 1.2 * len(world.served)
    # Decisions leave it alone too, and do not name nothing.
    assert (world.state.is_closed("a"), world.state.is_closed("b")) == (True, False)
    # One probe at a time: 1, 2, 4, 8, 15 s apart.
    probes = [call.at_s for call in calls if call.use is Use.PROBE]
    assert 3 <= len(probes) <= 7


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chains", CHAINS[::2], ids=str)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("fault", "takes_s"), [(FaultKind.SERVER_ERROR, 0.01), (FaultKind.FIRST_TOKEN_TIMEOUT, 10.0)]
)
def test_traffic_is_back_within_30_s_of_recovery(
    chains: list[list[str]], workers: int, seed: int, fault: FaultKind, takes_s: float
) -> None:
    end_s = 41.0 + 7 * seed
    world = World(chains, down("abcd", fault, 2, end_s, takes_s), workers, seed=seed)
    world.run(end_s + 40, rate=5)
    late = [served for at_s, served in world.served if at_s > end_s + 30]
    assert late
    assert all(late)
    calls = [
        attempt for attempt in world.attempts if attempt.at_s > end_s + 30 and attempt.use is not Use.PROBE
    ]
    assert {call.use for call in calls} == {Use.SERVE}
    assert calls[-1].deployment == "a"
    assert not world.state.is_closed("a")


def test_half_of_the_calls_failing_is_seen_too() -> None:
    turns = iter(range(10**6))

    def upstream(name: str, now_s: float) -> tuple[FaultKind | None, float]:
        failing = name == "a" and now_s >= 5 and next(turns) % 2 == 0
        return (FaultKind.SERVER_ERROR if failing else None), 0.01

    world = World([["a", "b"]], upstream)
    world.run(10)
    after = [a.at_s for a in world.attempts if a.deployment == "a" and a.at_s >= 5 and a.use is Use.SERVE]
    assert len(after) < 150


def test_one_deployment_down_does_not_close_its_account() -> None:
    world = World([["a", "b"]], down("a", FaultKind.SERVER_ERROR, 1, 1e9), accounts={"a": "x", "b": "x"})
    world.run(20)
    assert all(served for _, served in world.served)
    assert {attempt.use for attempt in world.attempts if attempt.deployment == "b"} == {Use.SERVE}
