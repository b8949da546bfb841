"""Budgets of several machines over a real Redis server, and over one that is away, hangs or lies."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from turnout_fastpath import StateBlock
from turnout_fastpath.breaker_table import BreakerTable
from turnout_server.resilience.breaker import Breaker, Health
from turnout_server.resilience.breaker_rules import BreakerRules
from turnout_server.resilience.budgets import Budget, Exhausted, Scope, ScopeKind
from turnout_server.resilience.periods import day_of
from turnout_server.resilience.shared_limits import (
    MOST_COUNTERS,
    STALE_S,
    RedisStore,
    SharedSpend,
    Store,
    StoreError,
    Write,
)
from turnout_server.resilience.spend_budget import Reservation, Spending

from tests.server.resilience.fake_clock import FakeClock
from tests.server.resilience.sources import Highest

ACME = Scope(ScopeKind.TENANT, "acme")
# A server on a busy machine may be slow to answer, which is not what most of these tests are about.
PATIENT_S = 5.0
RULES = BreakerRules(run=3)


class Server:
    """A Redis server on loopback, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            pytest.skip("neither redis-server nor valkey-server is installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [
            binary,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
        ]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None
                time.sleep(0.01)
        raise AssertionError(f"no server on port {self.port}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()


class Machine:
    """A machine with a state block, a budget of 100 for one tenant, and its side of the exchange."""

    def __init__(self, name: str, store: Store, clock: FakeClock) -> None:
        self.state = StateBlock()
        self.breaker = Breaker(BreakerTable(self.state), "shared limits", RULES, clock, Highest())
        self.shared = SharedSpend(store, name, self.breaker, clock)
        self.spending = Spending(self.state, {ACME: Budget(day_nano_usd=100)}, clock, self.shared)

    def spend(self, amount: int) -> bool:
        found = self.spending.reserve([ACME], amount, 0)
        if isinstance(found, Exhausted):
            return False
        self.spending.settle(found, amount, 0)
        return True


@pytest.fixture
def clock() -> FakeClock:
    """At the real time, so that what expires in the server does so after the test."""
    return FakeClock(unix_s=time.time())


def test_machines_heed_what_the_others_have_spent(server: Server, clock: FakeClock) -> None:
    stores = [RedisStore(server.url, timeout_s=PATIENT_S) for _ in range(3)]
    one, other, third = (Machine(f"m{i}", store, clock) for i, store in enumerate(stores))
    assert one.spend(60)
    assert other.spend(10)
    # Advisory: until they have spoken, each keeps the budget for itself.
    assert third.spend(20)
    for _ in range(2):
        assert [machine.shared.exchange() for machine in (one, other, third)] == [True] * 3
    assert not one.spend(11)
    assert not other.spend(11)
    assert third.spend(10)
    # Repeating what was said changes nothing.
    for _ in range(5):
        assert third.shared.exchange()
    assert one.shared.exchange()
    assert not one.spend(1)
    for store in stores:
        store.close()


def test_workers_of_one_machine_are_not_counted_twice(server: Server, clock: FakeClock) -> None:
    store = RedisStore(server.url, timeout_s=PATIENT_S)
    worker = Machine("m", store, clock)
    twin = SharedSpend(store, "m", worker.breaker, clock)
    again = Spending(worker.state, {ACME: Budget(day_nano_usd=100)}, clock, twin)
    assert worker.spend(40)
    held = again.reserve([ACME], 40, 0)
    assert isinstance(held, Reservation)
    again.settle(held, 40, 0)
    assert worker.shared.exchange()
    assert twin.exchange()
    assert worker.shared.exchange()
    assert worker.spend(20)
    elsewhere = Machine("n", store, clock)
    assert not elsewhere.shared.spent("", day_of(0))
    elsewhere.spend(0)
    worker.shared.exchange()
    assert elsewhere.shared.exchange()
    assert not elsewhere.spend(1)
    store.close()


def test_a_server_that_is_away_is_left_alone_and_found_again(server: Server, clock: FakeClock) -> None:
    store = RedisStore(server.url, timeout_s=PATIENT_S)
    one, other = Machine("one", store, clock), Machine("other", store, clock)
    assert one.spend(90)
    assert other.spend(1)
    assert one.shared.exchange()
    assert other.shared.exchange()
    assert not other.spend(10)
    server.stop()
    assert [other.shared.exchange() for _ in range(5)] == [False] * 5
    # The third failure has opened the breaker, and the rest did not ask.
    assert (other.shared.failures, other.breaker.health()) == (3, Health.OPEN)
    # What was learned holds for a while, and then nothing is known.
    assert not other.spend(10)
    clock.advance(STALE_S + 0.1)
    assert other.spend(10)
    server.start()
    assert other.shared.exchange()
    assert one.shared.exchange()
    assert other.shared.exchange()
    assert not other.spend(1)
    store.close()


def test_a_server_that_hangs_costs_the_time_limit_and_no_more(server: Server, clock: FakeClock) -> None:
    store = RedisStore(server.url)
    machine = Machine("m", store, clock)
    machine.spend(1)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        assert not machine.shared.exchange()
        assert machine.shared.failures == 1
        assert machine.spend(1)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    store.close()


def test_what_is_stored_expires_after_its_period(server: Server, clock: FakeClock) -> None:
    from redis import Redis

    store = RedisStore(server.url, timeout_s=PATIENT_S)
    machine = Machine("m", store, clock)
    machine.spend(1)
    assert machine.shared.exchange()
    with Redis.from_url(server.url, decode_responses=True) as client:
        (key,) = client.keys("*")
        assert client.pexpiretime(key) == day_of(int(clock.unix_s() * 1000)).ends_ms + 3_600_000
        client.delete(key)
        client.set(key, "no hash")
    assert not machine.shared.exchange()
    assert machine.shared.failures == 1
    store.close()


class Fake:
    """A store in memory that can be told to fail."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, int]] = {}
        self.fails = False
        self.asked = 0

    def exchange(self, writes: Sequence[Write]) -> list[Mapping[str, int]]:
        self.asked += 1
        if self.fails:
            raise StoreError("told to")
        for write in writes:
            self.hashes.setdefault(write.key, {})[write.field] = write.total
        return [dict(self.hashes[write.key]) for write in writes]


def test_too_many_counters_stay_on_the_machine_and_old_ones_go(clock: FakeClock) -> None:
    fake = Fake()
    shared = Machine("m", fake, clock).shared
    day = day_of(int(clock.unix_s() * 1000))
    for i in range(MOST_COUNTERS + 5):
        shared.note(f"c{i}", day, 1)
    assert shared.left_out == 5
    assert shared.exchange()
    assert (fake.asked, len(fake.hashes)) == (50, MOST_COUNTERS)
    clock.advance(2 * 86_400)
    assert shared.exchange()
    assert fake.asked == 50
    shared.note("c", day_of(int(clock.unix_s() * 1000)), 1)
    assert shared.left_out == 5


@pytest.mark.parametrize("machine", ["", "a:b"])
def test_a_machine_has_a_name_without_a_colon(machine: str, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match=f"machine is '{machine}', a name without a colon"):
        Machine(machine, Fake(), clock)
