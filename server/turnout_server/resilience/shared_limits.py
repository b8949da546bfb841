"""What other machines spend of the same budgets, told through Valkey or Redis. Advisory: it only ever tightens a budget.

The rule: each worker writes what it has spent of a counter in its period as one field of a hash, as a total and not as
a difference, so that a write that is repeated changes nothing; and reads the fields of the other machines. Requests
never wait for it: they read what the last exchange learned. One exchange has a short time limit and a breaker of its own,
and what is older than ten seconds counts as nothing (fails open): with the store away, each machine keeps its budgets
exactly and for itself. Between two exchanges machines may together overspend by what they spend within one.

An exchange blocks, for tens of milliseconds at most; it belongs on a thread, about once a second.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from turnout_server.resilience.breaker import Breaker
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.periods import Period, unix_ms

if TYPE_CHECKING:
    from redis import Redis

TIMEOUT_S = 0.05
STALE_S = 10.0
# Counters of one worker that are exchanged; more are kept on the machine alone.
MOST_COUNTERS = 10_000
BATCH = 200
# A hash outlives its period by an hour, for clocks that differ.
GRACE_MS = 3_600_000
PREFIX = "turnout:spent"


class StoreError(Exception):
    """The store cannot be reached, is too slow, or answers nonsense."""


class Store(Protocol):
    """Hashes that expire, in a server that several machines reach."""

    def exchange(self, writes: Sequence[Write]) -> list[Mapping[str, int]]:
        """Writes each field, and returns each hash with all of its fields.

        Raises:
            StoreError: not all of it was done, though some of it may have been.
        """


@dataclass(frozen=True, slots=True)
class Write:
    """One field of one hash, and when the hash is to be forgotten (Unix milliseconds)."""

    key: str
    field: str
    total: int
    expires_ms: int


class RedisStore:
    """A Valkey or Redis server."""

    def __init__(self, url: str, *, password: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Connects when it is first used.

        Args:
            url: redis://host:port/database, rediss:// with TLS; user and password may stand in it.
            password: where the address has none; None: no password.
            timeout_s: for the connection, and again for each answer.

        Raises:
            ModuleNotFoundError: the package redis is not installed (`turnout[shared]`).
        """
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._client: Redis = Redis.from_url(
            url,
            password=password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def exchange(self, writes: Sequence[Write]) -> list[Mapping[str, int]]:
        """One round trip."""
        from redis import RedisError

        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for write in writes:
                    pipeline.hset(write.key, write.field, str(write.total))
                    pipeline.pexpireat(write.key, write.expires_ms)
                    pipeline.hgetall(write.key)
                answers = pipeline.execute()
            return [{field: int(total) for field, total in answer.items()} for answer in answers[2::3]]
        except (RedisError, OSError, ValueError, AttributeError) as error:
            raise StoreError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()


@dataclass(slots=True)
class _Counter:
    period: Period
    own: int = 0
    others: int = 0
    learned_s: float | None = None


class SharedSpend:
    """One worker's side of the exchange; the `Elsewhere` of its budgets. Threads may share it.

    Attributes:
        failures: exchanges that failed.
        left_out: amounts that were not exchanged, because there are too many counters.
    """

    def __init__(self, store: Store, machine: str, breaker: Breaker, clock: Clock) -> None:
        """An exchange under a machine's name.

        Args:
            store: the server.
            machine: this machine's name, the same for all of its workers and for no other machine.
            breaker: the store's, in the state block.
            clock: of the machine.
        """
        if not machine or ":" in machine:
            raise ValueError(f"machine is {machine!r}, a name without a colon needed")
        self._store = store
        self._machine = machine
        self._field = f"{machine}:{uuid.uuid4().hex}"
        self._breaker = breaker
        self._clock = clock
        self._counters: dict[tuple[str, int], _Counter] = {}
        # Held for dictionary work alone, never while the store is asked.
        self._lock = threading.Lock()
        self.failures = 0
        self.left_out = 0

    def spent(self, name: str, period: Period) -> int:
        """What other machines had spent of a counter at the last exchange; 0 if that was too long ago."""
        with self._lock:
            counter = self._counter(name, period)
            if counter is None or counter.learned_s is None:
                return 0
            return counter.others if self._clock.monotonic_s() - counter.learned_s <= STALE_S else 0

    def note(self, name: str, period: Period, amount: int) -> None:
        """So much was spent by this worker; told at the next exchange."""
        with self._lock:
            counter = self._counter(name, period)
            if counter is None:
                self.left_out += 1
            else:
                counter.own += amount

    def exchange(self) -> bool:
        """Tells and learns; False if the store did not do its part, or is left alone because it did not before."""
        now_ms = unix_ms(self._clock)
        with self._lock:
            for key in [
                key for key, counter in self._counters.items() if counter.period.ends_ms + GRACE_MS < now_ms
            ]:
                del self._counters[key]
            pending = list(self._counters.items())
        batches = (pending[begin : begin + BATCH] for begin in range(0, len(pending), BATCH))
        return all(self._exchange(batch) for batch in batches)

    def _exchange(self, batch: Sequence[tuple[tuple[str, int], _Counter]]) -> bool:
        ticket = self._breaker.admit()
        if ticket is None:
            return False
        writes = [
            Write(f"{PREFIX}:{name}:{begins_ms}", self._field, counter.own, counter.period.ends_ms + GRACE_MS)
            for (name, begins_ms), counter in batch
        ]
        try:
            answers = self._store.exchange(writes)
        except StoreError:
            self.failures += 1
            self._breaker.fail(ticket)
            return False
        self._breaker.succeed(ticket)
        now_s = self._clock.monotonic_s()
        with self._lock:
            for (_, counter), totals in zip(batch, answers, strict=True):
                counter.others = sum(
                    total for field, total in totals.items() if field.partition(":")[0] != self._machine
                )
                counter.learned_s = now_s
        return True

    def _counter(self, name: str, period: Period) -> _Counter | None:
        key = (name, period.begins_ms)
        counter = self._counters.get(key)
        if counter is None and len(self._counters) < MOST_COUNTERS:
            counter = self._counters[key] = _Counter(period)
        return counter
