"""Which deployments one request may call now: by their breakers, by the limits of accounts, and within its budgets.

The rule: a deployment at a limit is passed over for the next of its chain. Where the whole chain of the decided tier
waits for limits alone, the request waits with it, as it would for a provider's Retry-After (at most 2 s and a fifth of
the time left), before it goes to another tier.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING

from turnout_server.completion.allowance import Allowance
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breaker import Health
from turnout_server.resilience.breakers import Permit, Use
from turnout_server.resilience.budgets import Exhausted
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.limits import Entry, Limits, Refusal
from turnout_server.resilience.retry_policy import WAIT_JITTER, longest_wait_s

if TYPE_CHECKING:
    from turnout_server.completion.attempts import AttemptLog
    from turnout_server.completion.fleet import Deployment, Fleet

# Between two looks at a limit that was said to be free.
LEAST_WAIT_S = 0.005
NEVER_S = math.inf


class Access:
    """One request's way to deployments; `close` ends it. Belongs to one event loop."""

    def __init__(
        self,
        fleet: Fleet,
        log: AttemptLog,
        clock: Clock,
        random: Random,
        *,
        tokens: Callable[[Deployment], int] = lambda _: 0,
        limits: Limits | None = None,
        allowance: Allowance | None = None,
        refused: Callable[[Refusal | Exhausted], None] = lambda _: None,
    ) -> None:
        """Nothing is held yet.

        Args:
            fleet: the deployments and their breakers.
            log: the request's attempts; the tokens of a call that has ended are read there.
            clock: of waits.
            random: source of their jitter.
            tokens: an estimate of a call's input and output tokens.
            limits: of accounts and deployments; None: none.
            allowance: the request's part of its budgets; None: it has none.
            refused: told of each refusal.
        """
        self._fleet = fleet
        self._breakers = fleet.breakers
        self._log = log
        self._clock = clock
        self._random = random
        self._tokens = tokens
        self._limits = limits
        self._allowance = allowance
        self._refused = refused
        # By deployment: its limits' entry, and how many attempts there were before it.
        self._entries: dict[str, tuple[Entry, int]] = {}
        # By deployment: when its limits may let the request in; NEVER_S: they never will.
        self._closed_until_s: dict[str, float] = {}
        self._beyond_budget: set[str] = set()

    def beside(
        self, log: AttemptLog, tokens: Callable[[Deployment], int] | None = None, *, pays: bool
    ) -> Access:
        """A way of its own for calls about the same request, under the same limits.

        Args:
            log: their attempts.
            tokens: of their calls; None: as those of the request.
            pays: whether they are within the request's budgets, and settled with it.
        """
        return Access(
            self._fleet,
            log,
            self._clock,
            self._random,
            tokens=self._tokens if tokens is None else tokens,
            limits=self._limits,
            allowance=self._allowance if pays else None,
            refused=self._refused,
        )

    def health(self, name: str) -> Health:
        """Of the deployment's breaker and its account's."""
        return self._breakers.health(name)

    def is_free(self, names: Iterable[str], tried: Collection[str] = ()) -> bool:
        """True if one of the deployments that were not tried may be called."""
        return any(
            name not in tried and self._breakers.health(name) is not Health.OPEN and self._has_room(name)
            for name in names
        )

    def opens_in_s(self, names: Iterable[str]) -> float:
        """Seconds until the first of the deployments may be called again: what to tell the caller."""
        waits = [max(self._breakers.opens_in_s([name]), self._closed_s(name)) for name in names]
        return min((wait for wait in waits if wait != NEVER_S), default=0.0)

    def closed_for(self, name: str) -> FaultKind | None:
        """What closes a deployment now, as the nearest fault; None: nothing does."""
        found = self._breakers.closed_for(name)
        if found is None and name in self._beyond_budget:
            return FaultKind.QUOTA_EXHAUSTED
        return FaultKind.RATE_LIMITED if found is None and self._closed_s(name) > 0 else found

    def admit(self, name: str) -> Permit | None:
        """Leave to call this deployment."""
        permit = self._breakers.admit(name)
        return permit if permit is not None and self._enter(permit) else None

    def pick(self, chains: Sequence[Sequence[str]], tried: Collection[str] = ()) -> Permit | None:
        """Leave to call the deployment that the request should try next; None if there is none.

        Args:
            chains: what may serve the request: its tier's deployments, then those of the tiers it may go to.
            tried: what it has called already.
        """
        passed: set[str] = set()
        while (permit := self._breakers.pick(chains, tried)) is not None:
            if permit.use is Use.LAST_RESORT and passed:
                # Not all is closed: something healthy is merely at its limit.
                self._breakers.release(permit)
                return None
            if self._enter(permit):
                return permit
            passed.add(permit.deployment)
            chains = [[name for name in chain if name not in passed] for chain in chains]
        return None

    async def pick_first(
        self,
        chains: Sequence[Sequence[str]],
        all_chains: Callable[[], Sequence[Sequence[str]]],
        left_s: float,
        sleep: Callable[[float], Awaitable[None]],
    ) -> Permit | None:
        """As `pick`, but where only limits are in the way of the first chain, it may wait for them.

        Args:
            chains: what is tried at once.
            all_chains: what is tried when waiting does not help.
            left_s: until the deadline.
            sleep: waits.
        """
        self._closed_until_s.clear()
        permit = self.pick(chains)
        if permit is not None or not self._closed_until_s:
            return permit
        own = chains[:1]
        ends_s = self._clock.monotonic_s() + longest_wait_s(left_s)
        while (wait_s := self._wait_s(own[0])) is not None and self._clock.monotonic_s() + wait_s < ends_s:
            await sleep(wait_s * (1 + WAIT_JITTER * self._random.random()))
            self._closed_until_s.clear()
            if (permit := self.pick(own)) is not None:
                return permit
        return self.pick(all_chains())

    def succeed(self, permit: Permit, *, slow: bool = False) -> None:
        """The call has succeeded."""
        self._breakers.succeed(permit, slow=slow)
        self._leave(permit.deployment)

    def fail(self, permit: Permit, fault: FaultKind, retry_after_s: float | None = None) -> None:
        """The call has failed."""
        self._breakers.fail(permit, fault, retry_after_s)
        self._leave(permit.deployment)

    def release(self, permit: Permit) -> None:
        """The call has ended in a way that says nothing of the deployment, or was never made."""
        self._breakers.release(permit)
        self._leave(permit.deployment)

    def close(self) -> None:
        """The request has ended: what is still held of limits is left, and the budgets are settled."""
        for name in list(self._entries):
            self._leave(name)
        if self._allowance is not None:
            self._allowance.settle()

    def _enter(self, permit: Permit) -> bool:
        name = permit.deployment
        deployment = self._fleet[name]
        if self._allowance is not None and (lacking := self._allowance.covers(deployment)) is not None:
            self._beyond_budget.add(name)
            self._refuse(permit, lacking, NEVER_S)
            return False
        if self._limits is not None:
            entered = self._limits.enter(deployment.limit_scopes, self._tokens(deployment))
            if isinstance(entered, Refusal):
                wait_s = NEVER_S if entered.retry_after_s is None else entered.retry_after_s
                until_s = self._clock.monotonic_s() + wait_s
                self._refuse(permit, entered, until_s)
                return False
            self._entries[name] = (entered, len(self._log.attempts))
        self._closed_until_s.pop(name, None)
        return True

    def _refuse(self, permit: Permit, why: Refusal | Exhausted, until_s: float) -> None:
        self._breakers.release(permit)
        self._closed_until_s[permit.deployment] = until_s
        self._refused(why)

    def _leave(self, name: str) -> None:
        held = self._entries.pop(name, None)
        if held is None or self._limits is None:
            return
        entry, before = held
        made = [one for one in self._log.attempts[before:] if one.deployment.target.name == name]
        if made:
            tokens = made[-1].tokens
            self._limits.leave(entry, tokens.input_total + tokens.output_total)
        else:
            self._limits.undo(entry)

    def _has_room(self, name: str) -> bool:
        if self._limits is None:
            return True
        deployment = self._fleet[name]
        return self._limits.has_room(deployment.limit_scopes, self._tokens(deployment))

    def _closed_s(self, name: str) -> float:
        """Seconds until the deployment's limits may let the request in, as far as it was told."""
        return max(0.0, self._closed_until_s.get(name, 0.0) - self._clock.monotonic_s())

    def _wait_s(self, names: Sequence[str]) -> float | None:
        """The least wait of the deployments that limits alone close; None if there are none."""
        waits = [
            max(self._closed_s(name), LEAST_WAIT_S)
            for name in names
            if name in self._closed_until_s and self._breakers.health(name) is not Health.OPEN
        ]
        return min((wait for wait in waits if wait != NEVER_S), default=None)
