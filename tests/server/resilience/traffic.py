"""A small world with a clock of its own: requests at a rate, workers that share a state block, upstreams that fail.

Each request goes through breakers, retry policy and retry budgets as a dispatcher does: one attempt after another,
until a verdict gives up.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random

from turnout_fastpath import StateBlock
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breakers import Breakers, Permit, Use
from turnout_server.resilience.retry_budget import RetryBudget
from turnout_server.resilience.retry_policy import Action, Situation, Verdict, judge

from tests.server.resilience.fake_clock import FakeClock

Upstream = Callable[[str, float], tuple[FaultKind | None, float]]
"""Deployment and time to fault, None for an answer, and seconds that it takes."""

Step = Generator[float, None, None]


@dataclass(frozen=True)
class Attempt:
    """One upstream call."""

    at_s: float
    deployment: str
    use: Use
    fault: FaultKind | None


@dataclass
class World:
    """Chains of deployments by tier, each deployment on an account of its own unless told otherwise."""

    chains: list[list[str]]
    upstream: Upstream
    workers: int = 1
    accounts: dict[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.clock = FakeClock(1000.0)
        self.random = Random(self.seed)
        self.state = StateBlock()
        names = [name for chain in self.chains for name in chain]
        accounts = {name: self.accounts.get(name, name) for name in names}
        self.breakers = [
            Breakers(self.state, self.chains, accounts, self.clock, self.random) for _ in range(self.workers)
        ]
        self.budgets = [{name: RetryBudget(self.clock) for name in names} for _ in range(self.workers)]
        self.attempts: list[Attempt] = []
        self.served: list[tuple[float, bool]] = []

    @property
    def now_s(self) -> float:
        """Seconds since the world began."""
        return self.clock.now_s - 1000.0

    def run(self, seconds: float, rate: float = 100) -> None:
        """Lets requests come for so many seconds, evenly, in turn to each worker, and waits for their ends."""
        order = itertools.count()
        events: list[tuple[float, int, Step]] = []
        for i in range(int(seconds * rate)):
            heapq.heappush(events, (self.clock.now_s + i / rate, next(order), self.request(i % self.workers)))
        while events:
            at_s, _, step = heapq.heappop(events)
            self.clock.advance(max(0.0, at_s - self.clock.now_s))
            for wait_s in step:
                heapq.heappush(events, (self.clock.now_s + wait_s, next(order), step))
                break

    def request(self, worker: int) -> Step:
        """One request: yields the seconds that each of its steps takes."""
        breakers = self.breakers[worker]
        began_s = self.now_s
        tried: list[str] = []
        here = 1
        permit = breakers.pick(self.chains)
        retry = False
        while permit is not None:
            name = permit.deployment
            budget = self.budgets[worker][name]
            if not tried and here == 1:
                budget.note_request()
            fault, takes_s = self.upstream(name, self.now_s)
            self.attempts.append(Attempt(self.now_s, name, permit.use, fault))
            yield takes_s
            if retry:
                budget.end()
            if fault is None:
                breakers.succeed(permit)
                break
            breakers.fail(permit, fault)
            verdict = self.verdict(worker, permit, fault, [*tried, name], len(tried) + here, here)
            if verdict.action is Action.GIVE_UP:
                permit = None
                break
            retry = verdict.action is Action.RETRY_HERE and budget.begin()
            if retry:
                yield verdict.delay_s
                permit, here = breakers.admit(name), here + 1
                if permit is not None:
                    continue
                # Others have opened the breaker meanwhile.
                budget.end()
                retry = False
            tried, here = [*tried, name], 1
            permit = breakers.pick(self.chains, tried)
        self.served.append((began_s, permit is not None))

    def verdict(
        self, worker: int, permit: Permit, fault: FaultKind, tried: list[str], attempts: int, here: int
    ) -> Verdict:
        """What the retry policy says."""
        breakers = self.breakers[worker]
        chain = next(chain for chain in self.chains if permit.deployment in chain)
        above = self.chains[self.chains.index(chain) + 1 :]
        situation = Situation(
            fault,
            attempts=attempts,
            attempts_here=here,
            equivalent_free=breakers.is_free(chain, tried),
            higher_free=any(breakers.is_free(names, tried) for names in above),
            # Where the breaker doubts, one attempt is enough.
            budget_allows=permit.use is Use.SERVE and self.budgets[worker][permit.deployment].allows(),
        )
        return judge(situation, self.random)
