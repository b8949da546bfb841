"""The breakers of all deployments and accounts, what they let a request call next, and what decisions see of them.

The rule of `pick`: a request's first attempt is the probe of a half-open deployment of its tier, if one is due; else
the first deployment that is closed, in the order of the chains; later attempts prefer closed ones. When every breaker
is open, a request that has not called anything yet makes one last-resort attempt, so in a full outage each request
costs one attempt, and the first success ends it. A Retry-After and a used-up quota are heeded even then.

What decisions see: a deployment whose breaker is open, or half open and not proven yet, is closed in the state block,
and `Route` names another. Evidence alone never closes the last one of a chain that way; a provider's own word
(Retry-After, quota, configuration) does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from turnout_fastpath import StateBlock, StateError
from turnout_fastpath.breaker_table import BreakerTable

from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breaker import Breaker, Health, Ticket, Word
from turnout_server.resilience.breaker_rules import (
    ACCOUNT_RULES,
    BLAME,
    DEPLOYMENT_RULES,
    Blame,
    BreakerRules,
    Cause,
)
from turnout_server.resilience.clock import Clock, monotonic_ms

# Other workers may change a breaker while it is published; as often as this it is looked at again.
PUBLISH_TRIES = 8


class Use(StrEnum):
    """Why a call may be made."""

    SERVE = "serve"
    PROBE = "probe"
    LAST_RESORT = "last_resort"


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to call a deployment once; handed back once, to `succeed`, `fail` or `release`."""

    deployment: str
    use: Use
    ticket: Ticket
    account_ticket: Ticket


class Breakers:
    """Every breaker of a policy; each worker has one over the same state block.

    Attributes:
        unpublished: changes that decisions did not hear of, because the block has no room for the deployment.
    """

    def __init__(
        self,
        state: StateBlock,
        chains: Iterable[Sequence[str]],
        accounts: Mapping[str, str],
        clock: Clock,
        random: Random,
        *,
        deployment_rules: BreakerRules = DEPLOYMENT_RULES,
        account_rules: BreakerRules = ACCOUNT_RULES,
    ) -> None:
        """Finds the breakers, or makes them.

        Args:
            state: the block that decisions read.
            chains: each tier's deployments.
            accounts: the account of each deployment.
            clock: of the machine.
            random: source of jitter.
            deployment_rules: when a deployment's breaker opens.
            account_rules: when an account's does.

        Raises:
            StateError: the block has no room for so many.
        """
        table = BreakerTable(state)
        self._state = state
        self._clock = clock
        self._half_open_s = deployment_rules.half_open_s
        self.unpublished = 0
        self._chain_of = {name: tuple(chain) for chain in chains for name in chain}
        self._account_of = {name: accounts[name] for name in self._chain_of}
        self._deployments = {
            name: Breaker(table, f"deployment {name}", deployment_rules, clock, random)
            for name in self._chain_of
        }
        self._accounts = {
            name: Breaker(table, f"account {name}", account_rules, clock, random)
            for name in sorted(set(self._account_of.values()))
        }

    def health(self, name: str) -> Health:
        """The worse of a deployment's and its account's."""
        deployment, account = self._of(name)
        both = deployment.health(), account.health()
        return next(health for health in _WORST_FIRST if health in both)

    def is_free(self, names: Iterable[str], tried: Collection[str] = ()) -> bool:
        """True if one of the deployments that were not tried may be called."""
        return any(name not in tried and self.health(name) is not Health.OPEN for name in names)

    def opens_in_s(self, names: Iterable[str]) -> float:
        """Seconds until the first of the deployments may be called again: what to tell the caller."""
        now_ms = monotonic_ms(self._clock)
        waits = [max(b.closed_until_ms() for b in self._of(name)) - now_ms for name in names]
        return max(0, min(waits, default=0)) / 1000

    def closed_for(self, name: str) -> FaultKind | None:
        """What closes a deployment or its account now, as the nearest fault; None: nothing does."""
        if self.health(name) is not Health.OPEN:
            return None
        now_ms = monotonic_ms(self._clock)
        both = self._of(name)
        causes = {breaker.word.cause for breaker in both}
        if Cause.QUOTA in causes:
            return FaultKind.QUOTA_EXHAUSTED
        if Cause.CONFIGURATION in causes:
            return FaultKind.CONFIGURATION
        paused = any(breaker.paused_until_ms() > now_ms for breaker in both)
        return FaultKind.RATE_LIMITED if paused else FaultKind.SERVER_ERROR

    def admit(self, name: str) -> Permit | None:
        """Leave to call this deployment, if its breaker and its account's give it."""
        deployment, account = self._of(name)
        if Health.OPEN in (deployment.health(), account.health()):
            return None
        account_ticket = account.admit()
        if account_ticket is None:
            return None
        ticket = deployment.admit()
        if ticket is None:
            account.release(account_ticket)
            return None
        is_probe = ticket.lease_ms or account_ticket.lease_ms
        return Permit(name, Use.PROBE if is_probe else Use.SERVE, ticket, account_ticket)

    def pick(self, chains: Sequence[Sequence[str]], tried: Collection[str] = ()) -> Permit | None:
        """Leave to call the deployment that a request should try next; None if there is none.

        Args:
            chains: what may serve the request: its tier's deployments, then those of the tiers it may go to.
            tried: what it has called already.
        """
        order = (Health.CLOSED, Health.HALF_OPEN) if tried else (Health.HALF_OPEN, Health.CLOSED)
        for chain in chains:
            found = [(name, self.health(name)) for name in chain if name not in tried]
            for health in order:
                for name, its in found:
                    if its is health and (permit := self.admit(name)) is not None:
                        return permit
        return None if tried else self._last_resort([name for chain in chains for name in chain])

    def succeed(self, permit: Permit, *, slow: bool = False) -> None:
        """The call has succeeded; `slow`: its first token came later than it may."""
        deployment, account = self._of(permit.deployment)
        is_last = permit.use is Use.LAST_RESORT
        changed = deployment.succeed(permit.ticket, slow=slow, last_resort=is_last)
        # A slow deployment is no slow account.
        if account.succeed(permit.account_ticket, last_resort=is_last):
            self._publish(self._members(permit.deployment))
        elif changed:
            self._publish(self._chain_of[permit.deployment])

    def fail(self, permit: Permit, fault: FaultKind, retry_after_s: float | None = None) -> None:
        """The call has failed."""
        deployment, account = self._of(permit.deployment)
        blame = BLAME[fault]
        if blame is Blame.WAIT and retry_after_s is None:
            blame = Blame.EVIDENCE
        of_account = False
        if blame is Blame.EVIDENCE:
            # What the deployment's own breaker does not count says nothing of the account, unless it is its probe.
            counts = _counts(deployment.word, permit.ticket) or permit.account_ticket.lease_ms
            deployment.fail(permit.ticket)
            of_account = bool(counts) and account.fail(permit.account_ticket)
        elif blame is Blame.ACCOUNT:
            account.open(Cause.QUOTA)
            of_account = True
        elif blame is Blame.DEPLOYMENT:
            deployment.open(Cause.CONFIGURATION)
        if retry_after_s is not None and blame is not Blame.NOBODY:
            (account if blame is Blame.ACCOUNT else deployment).pause(retry_after_s)
        deployment.release(permit.ticket)
        account.release(permit.account_ticket)
        if blame is not Blame.NOBODY:
            self._publish(
                self._members(permit.deployment) if of_account else self._chain_of[permit.deployment]
            )

    def release(self, permit: Permit) -> None:
        """The call has ended in a way that says nothing of the deployment."""
        deployment, account = self._of(permit.deployment)
        deployment.release(permit.ticket)
        account.release(permit.account_ticket)

    def reset(self, name: str) -> None:
        """Closes a deployment's breaker and its account's: the operator has changed something."""
        for breaker in self._of(name):
            breaker.reset()
        self._publish(self._members(name))

    def _of(self, name: str) -> tuple[Breaker, Breaker]:
        return self._deployments[name], self._accounts[self._account_of[name]]

    def _members(self, name: str) -> list[str]:
        """The deployments of a deployment's account, and the chains that they are in."""
        account = self._account_of[name]
        ours = [other for other, its in self._account_of.items() if its == account]
        return list(dict.fromkeys(other for one in ours for other in self._chain_of[one]))

    def _last_resort(self, names: Sequence[str]) -> Permit | None:
        """The first that only evidence closed, else the first that is set up wrongly; never one that was told to wait."""
        waiting = {name for name in names if self._is_told(name, Cause.QUOTA)}
        name = next((n for n in names if not self._is_told(n, Cause.QUOTA, Cause.CONFIGURATION)), None)
        name = name or next((n for n in names if n not in waiting), None)
        if name is None:
            return None
        deployment, account = self._of(name)
        return Permit(name, Use.LAST_RESORT, deployment.ticket(), account.ticket())

    def _is_told(self, name: str, *causes: Cause) -> bool:
        """True if a Retry-After or one of the causes closes it."""
        now_ms = monotonic_ms(self._clock)
        return any(
            breaker.paused_until_ms() > now_ms or breaker.word.cause in causes for breaker in self._of(name)
        )

    def _publish(self, names: Iterable[str]) -> None:
        """Tells decisions of deployments that may have changed."""
        for name in names:
            try:
                for _ in range(PUBLISH_TRIES):
                    before = self._seen(name)
                    self._publish_one(name)
                    if self._seen(name) == before:
                        break
            except StateError:
                self.unpublished += 1

    def _seen(self, name: str) -> list[tuple[Word, int]]:
        return [(breaker.word, breaker.paused_until_ms()) for breaker in self._of(name)]

    def _publish_one(self, name: str) -> None:
        if self.health(name) is Health.CLOSED:
            self._state.open_deployment(name)
            return
        closed_ms = max(b.closed_until_ms() for b in self._of(name)) - monotonic_ms(self._clock)
        told = self._is_told(name, Cause.QUOTA, Cause.CONFIGURATION)
        # After a mere pause nothing has to be proven.
        proof_s = self._half_open_s if any(b.word.cause is not Cause.NONE for b in self._of(name)) else 0.0
        if told or self._has_equivalent(name):
            self._state.close_deployment(name, max(0, closed_ms) / 1000 + proof_s)
        # Looked at again after it is closed: another worker may have closed the others at the same moment.
        if not told and not self._has_equivalent(name):
            self._state.open_deployment(name)

    def _has_equivalent(self, name: str) -> bool:
        """True if decisions may name another deployment of its chain."""
        return any(other != name and not self._state.is_closed(other) for other in self._chain_of[name])


_WORST_FIRST = (Health.OPEN, Health.HALF_OPEN, Health.CLOSED)


def _counts(word: Word, ticket: Ticket) -> bool:
    return word.generation == ticket.generation and word.cause is Cause.NONE
