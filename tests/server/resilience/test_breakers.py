"""All breakers together: what is picked, what decisions see, accounts, and the last one of a chain."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath import Engine, StateBlock
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breaker import Health
from turnout_server.resilience.breakers import Breakers, Permit, Use

from tests.fastpath.documents import document
from tests.fastpath.synthetic import write_synthetic
from tests.server.resilience.fake_clock import FakeClock
from tests.server.resilience.sources import Highest

CHAINS = [["a", "b", "c"], ["d"]]
ACCOUNTS = {"a": "x", "b": "x", "c": "y", "d": "z"}
FAILURES = [
    FaultKind.SERVER_ERROR,
    FaultKind.OVERLOADED,
    FaultKind.CONNECTION,
    FaultKind.FIRST_TOKEN_TIMEOUT,
    FaultKind.STALLED,
    FaultKind.CUT,
    FaultKind.MALFORMED,
    FaultKind.RATE_LIMITED,
]
FAULTLESS = [
    FaultKind.CONTEXT_EXCEEDED,
    FaultKind.CONTENT_POLICY,
    FaultKind.BAD_REQUEST,
    FaultKind.CANCELLED,
    FaultKind.DEADLINE,
    FaultKind.STALE_CONNECTION,
]


class House:
    """Two workers over one block."""

    def __init__(self) -> None:
        self.state = StateBlock()
        self.clock = FakeClock()
        self.workers = [Breakers(self.state, CHAINS, ACCOUNTS, self.clock, Highest()) for _ in range(2)]

    def permit(self, name: str, worker: int = 0) -> Permit:
        permit = self.workers[worker].admit(name)
        assert permit is not None
        return permit

    def fail(self, name: str, fault: FaultKind, n: int = 1, retry_after_s: float | None = None) -> None:
        for i in range(n):
            self.workers[i % 2].fail(self.permit(name, i % 2), fault, retry_after_s)

    def healths(self) -> str:
        """One letter a deployment: c, o or h; both workers must agree."""
        seen = ["".join(worker.health(name)[0] for name in "abcd") for worker in self.workers]
        assert seen[0] == seen[1]
        return seen[0]

    def closed(self) -> set[str]:
        """What decisions do not name."""
        return {name for name in "abcd" if self.state.is_closed(name)}


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize("fault", FAILURES)
def test_five_failures_in_a_row_open_it_for_every_worker_and_decision(house: House, fault: FaultKind) -> None:
    house.fail("a", fault, 4)
    assert (house.healths(), house.closed()) == ("cccc", set())
    house.fail("a", fault)
    assert (house.healths(), house.closed()) == ("occc", {"a"})
    house.clock.advance(1)
    assert (house.healths(), house.closed()) == ("hccc", {"a"})
    probe = house.workers[0].pick(CHAINS)
    assert probe is not None
    assert (probe.deployment, probe.use) == ("a", Use.PROBE)
    other = house.workers[1].pick(CHAINS)
    assert other is not None
    assert (other.deployment, other.use) == ("b", Use.SERVE)
    house.workers[0].succeed(probe)
    assert (house.healths(), house.closed()) == ("cccc", set())


@pytest.mark.parametrize("fault", FAULTLESS)
def test_what_is_no_failure_does_not_count(house: House, fault: FaultKind) -> None:
    house.fail("a", fault, 50, retry_after_s=5.0)
    assert (house.healths(), house.closed()) == ("cccc", set())
    house.fail("a", FaultKind.SERVER_ERROR, 5)
    house.clock.advance(1)
    house.fail("a", fault)
    # A probe that proves nothing lets the next one try at once.
    assert house.permit("a").use is Use.PROBE


def test_slow_answers_count(house: House) -> None:
    for _ in range(19):
        house.workers[0].succeed(house.permit("a"), slow=True)
    assert house.healths() == "cccc"
    house.workers[0].succeed(house.permit("a"), slow=True)
    assert house.healths() == "occc"


def test_retry_after_closes_until_the_later_time(house: House) -> None:
    early, late = house.permit("a"), house.permit("a", 1)
    house.workers[0].fail(early, FaultKind.RATE_LIMITED, 3.0)
    house.workers[1].fail(late, FaultKind.RATE_LIMITED, 1.0)
    assert (house.healths(), house.closed()) == ("occc", {"a"})
    assert house.workers[0].opens_in_s(["a"]) == 3.0
    house.clock.advance(2.999)
    assert house.healths() == "occc"
    house.clock.advance(0.002)
    assert house.healths() == "cccc"
    assert house.permit("a").use is Use.SERVE


def test_a_used_up_quota_closes_the_account_for_minutes(house: House) -> None:
    house.fail("a", FaultKind.QUOTA_EXHAUSTED)
    assert (house.healths(), house.closed()) == ("oocc", {"a", "b"})
    house.clock.advance(299)
    assert house.healths() == "oocc"
    house.clock.advance(1)
    assert house.healths() == "hhcc"
    probe = house.permit("b")
    assert house.workers[1].admit("a") is None
    house.workers[0].succeed(probe)
    assert (house.healths(), house.closed()) == ("cccc", set())


def test_a_quota_that_is_still_used_up_closes_for_longer(house: House) -> None:
    house.fail("a", FaultKind.QUOTA_EXHAUSTED)
    house.clock.advance(300)
    house.fail("a", FaultKind.QUOTA_EXHAUSTED)
    assert house.workers[0].opens_in_s(["a", "b"]) == 600
    assert house.workers[0].opens_in_s("abcd") == 0


def test_a_fault_of_configuration_closes_the_deployment_for_long_until_it_is_mended(house: House) -> None:
    house.fail("c", FaultKind.CONFIGURATION)
    house.clock.advance(599)
    assert (house.healths(), house.closed()) == ("ccoc", {"c"})
    house.workers[1].reset("c")
    assert (house.healths(), house.closed()) == ("cccc", set())


def test_decisions_keep_the_last_of_a_chain(house: House) -> None:
    for name in "abc":
        house.fail(name, FaultKind.SERVER_ERROR, 5)
    house.fail("d", FaultKind.SERVER_ERROR, 5)
    # `c` and `d` are as sick as the others, and called as little.
    assert (house.healths(), house.closed()) == ("oooo", {"a", "b"})
    house.clock.advance(1)
    probe = house.permit("a")
    house.workers[0].succeed(probe)
    assert (house.healths(), house.closed()) == ("chhh", {"b", "c"})


def test_a_providers_own_word_closes_the_last_of_a_chain_too(house: House) -> None:
    house.fail("d", FaultKind.RATE_LIMITED, retry_after_s=5.0)
    assert house.closed() == {"d"}


def test_when_all_are_open_a_request_has_one_last_resort(house: House) -> None:
    house.fail("a", FaultKind.QUOTA_EXHAUSTED)
    for name in "cd":
        house.fail(name, FaultKind.SERVER_ERROR, 5)
    permit = house.workers[0].pick(CHAINS)
    assert permit is not None
    # Not one of those that the provider itself has closed.
    assert (permit.deployment, permit.use) == ("c", Use.LAST_RESORT)
    assert house.workers[0].pick(CHAINS, ["c"]) is None
    assert not house.workers[0].is_free("abcd")
    house.workers[0].succeed(permit)
    assert house.healths() == "ooco"
    assert house.workers[0].pick([[]]) is None


def test_a_last_resort_heeds_quotas_and_retry_after(house: House) -> None:
    house.fail("a", FaultKind.QUOTA_EXHAUSTED)
    house.fail("c", FaultKind.RATE_LIMITED, retry_after_s=5.0)
    assert house.workers[0].pick([["a", "b", "c"]]) is None
    assert house.workers[0].opens_in_s("abc") == 5.0
    house.fail("d", FaultKind.CONFIGURATION)
    permit = house.workers[0].pick(CHAINS)
    assert permit is not None
    assert (permit.deployment, permit.use) == ("d", Use.LAST_RESORT)
    house.workers[0].fail(permit, FaultKind.SERVER_ERROR)
    assert house.healths() == "oooo"
    again = house.workers[1].pick(CHAINS)
    assert again is not None
    house.workers[1].succeed(again)
    assert house.healths() == "oooc"


def test_a_block_without_room_for_a_deployment_closes_it_for_completions_alone() -> None:
    house = House()
    for i in range(256):
        house.state.close_deployment(f"other {i}", 0)
    house.workers = [Breakers(house.state, CHAINS, ACCOUNTS, house.clock, Highest()) for _ in range(2)]
    house.fail("a", FaultKind.SERVER_ERROR, 5)
    assert house.healths() == "occc"
    assert sum(worker.unpublished for worker in house.workers) > 0


def test_later_attempts_prefer_what_is_closed_to_a_probe(house: House) -> None:
    house.fail("a", FaultKind.SERVER_ERROR, 5)
    house.clock.advance(1)
    permit = house.workers[0].pick(CHAINS, ["b"])
    assert permit is not None
    assert permit.deployment == "c"


def test_a_whole_account_that_fails_is_closed_at_once(house: House) -> None:
    for i in range(10):
        house.fail("ab"[i % 2], FaultKind.CONNECTION)
        if house.healths() != "cccc":
            break
    assert i == 8
    house.fail("b", FaultKind.CONNECTION)
    assert house.healths() == "oocc"


def test_calls_that_were_under_way_when_it_opened_do_not_close_the_account(house: House) -> None:
    permits = [house.permit("a", i % 2) for i in range(40)]
    for i, permit in enumerate(permits):
        house.workers[i % 2].fail(permit, FaultKind.CONNECTION)
    assert (house.healths(), house.closed()) == ("occc", {"a"})


def test_an_account_closes_its_deployments_in_every_chain() -> None:
    state = StateBlock()
    chains = [["a", "b"], ["c", "d"]]
    accounts = {"a": "x", "b": "y", "c": "x", "d": "y"}
    breakers = Breakers(state, chains, accounts, FakeClock(), Highest())
    permit = breakers.admit("a")
    assert permit is not None
    breakers.fail(permit, FaultKind.QUOTA_EXHAUSTED)
    assert [state.is_closed(name) for name in "abcd"] == [True, False, True, False]
    breakers.reset("c")
    assert not any(state.is_closed(name) for name in "abcd")


def test_an_account_is_probed_elsewhere_while_a_deployment_has_its_own_probe(house: House) -> None:
    house.fail("a", FaultKind.SERVER_ERROR, 5)
    house.clock.advance(1)
    house.permit("a")
    house.fail("b", FaultKind.SERVER_ERROR, 5)
    house.clock.advance(1)
    assert house.healths() == "hhcc"
    # The one of `a` is still under way, so `a` is not the account's probe, and does not hold it up.
    assert house.workers[0].admit("a") is None
    assert house.permit("b").use is Use.PROBE
    assert house.workers[0].admit("b") is None


class Hasty:
    """A state block in which another worker closes `a` just when this one closes `b`."""

    def __init__(self, state: StateBlock) -> None:
        self.state = state
        self.open_deployment = state.open_deployment
        self.is_closed = state.is_closed

    def close_deployment(self, name: str, seconds: float) -> None:
        self.state.close_deployment("a", 60)
        self.state.close_deployment(name, seconds)


def test_two_workers_that_close_the_last_two_at_once_leave_one(monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateBlock()
    breakers = Breakers(state, [["a", "b"]], {"a": "x", "b": "y"}, FakeClock(), Highest())
    monkeypatch.setattr(breakers, "_state", Hasty(state))
    for _ in range(5):
        permit = breakers.admit("b")
        assert permit is not None
        breakers.fail(permit, FaultKind.SERVER_ERROR)
    assert not (state.is_closed("a") and state.is_closed("b"))


FAULTS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([*FAILURES, *FAULTLESS])), max_size=60)


@given(faults=FAULTS)
def test_evidence_never_closes_all_of_a_chain_to_decisions(faults: list[tuple[str, FaultKind]]) -> None:
    house = House()
    for i, (name, fault) in enumerate(faults):
        worker = house.workers[i % 2]
        permit = worker.admit(name)
        if permit is None:
            house.clock.advance(0.7)
            continue
        worker.fail(permit, fault)
        for chain in CHAINS:
            assert not house.closed().issuperset(chain)
        for closed in house.closed():
            assert worker.health(closed) is not Health.CLOSED


def test_route_does_not_name_a_deployment_whose_breaker_is_open(tmp_path: Path) -> None:
    bundle = write_synthetic(tmp_path / "bundle")
    state = tmp_path / "state"
    engine = Engine.load(bundle, document(), state=state)
    decision = engine.route("hello")
    chain = [decision.deployment, *decision.fallback_deployments]
    assert len(chain) > 1
    breakers = Breakers(StateBlock(state), [chain], {name: name for name in chain}, FakeClock(), Highest())
    for _ in range(5):
        permit = breakers.admit(chain[0])
        assert permit is not None
        breakers.fail(permit, FaultKind.SERVER_ERROR)
    after = engine.route("hello")
    assert (after.deployment, after.tier) == (chain[1], decision.tier)
    breakers.reset(chain[0])
    assert engine.route("hello").deployment == chain[0]
