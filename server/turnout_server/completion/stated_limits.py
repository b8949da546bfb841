"""Budgets and limits as a resolved policy document states them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from turnout_server.completion.attempt import NOT_THE_CALLERS, Purpose
from turnout_server.completion.cost import parse_usd
from turnout_server.resilience.budgets import (
    OTHER_TENANTS,
    Budget,
    BudgetKind,
    Scope,
    ScopeKind,
    spend_limits,
)
from turnout_server.resilience.limits import Limit, share_of
from turnout_server.resilience.retry_budget import CONCURRENT, SHARE


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Which of how many workers a process is, from 0; the first and only one unless told otherwise."""

    index: int = 0
    workers: int = 1


class RetryRule(NamedTuple):
    """How many retries an account may have: a share of its requests, and so many besides."""

    share: float = SHARE
    at_once: int = CONCURRENT


@dataclass(frozen=True)
class BudgetBook:
    """Whose budget is what.

    Attributes:
        named: budgets that stand under a name; a policy's judge and its shadow have some, too.
        other_tenants: the budget of each tenant that has none of its own.
    """

    named: Mapping[Scope, Budget] = field(default_factory=dict)
    other_tenants: Budget | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> BudgetBook:
        """The budgets of a resolved policy document; one that was resolved before there were any has none."""
        stated = document.get("budgets") or {}
        named = {
            Scope(kind, name): read_budget(entry)
            for kind, section in ((ScopeKind.TENANT, "tenants"), (ScopeKind.POLICY, "policies"))
            for name, entry in stated.get(section, {}).items()
        }
        for policy, section in (document.get("policies") or {}).items():
            for purpose in NOT_THE_CALLERS:
                if found := section.get(purpose):
                    named[purpose_scope(policy, purpose)] = read_budget(found["budget"])
        others = stated.get("other_tenants")
        return cls(named, None if others is None else read_budget(others))

    def get(self, scope: Scope, /) -> Budget | None:
        """The budget of a scope; None: it has none."""
        found = self.named.get(scope)
        return self.other_tenants if found is None and scope.kind is ScopeKind.TENANT else found

    def name_of(self, scope: Scope) -> str:
        """The name under which a scope's budget stands; empty for the other tenants, whose names callers choose."""
        return scope.name if scope in self.named else ""

    @property
    def limits_spend(self) -> bool:
        """True if any budget limits dollars."""
        return any(True for _ in self.spend_limits())

    def spend_limits(self) -> Iterator[tuple[Scope, BudgetKind]]:
        """Every limit of dollars; that of the tenants without a budget of their own is the first."""
        others = {} if self.other_tenants is None else {OTHER_TENANTS: self.other_tenants}
        for scope, budget in (others | dict(self.named)).items():
            for kind, _ in spend_limits(budget):
                yield scope, kind


def purpose_scope(policy: str, purpose: Purpose) -> Scope:
    """Whose budget a policy's calls of a purpose are on that answer nobody."""
    return Scope(ScopeKind.PURPOSE, f"{policy} {purpose}")


def account_scope(credentials: str) -> str:
    """The name of an account's limits."""
    return f"account {credentials}"


def deployment_scope(name: str) -> str:
    """The name of a deployment's limits."""
    return f"deployment {name}"


def limits_of(document: Mapping[str, Any], place: WorkerPlace) -> dict[str, Limit]:
    """The limits of accounts and deployments, by scope; of what is under way, this worker's share."""
    stated = document.get("provider_limits") or {}
    entries = {account_scope(entry["credentials"]): entry for entry in stated.get("accounts", ())}
    entries |= {deployment_scope(entry["deployment"]): entry for entry in stated.get("deployments", ())}
    return {scope: _limit(entry, place) for scope, entry in entries.items()}


def retry_rules_of(document: Mapping[str, Any]) -> dict[str, RetryRule]:
    """The retry budgets that are stated, by credentials."""
    stated = document.get("provider_limits") or {}
    return {
        entry["credentials"]: RetryRule(entry["retry_share"], entry["retries_at_once"])
        for entry in stated.get("accounts", ())
    }


def read_budget(entry: Mapping[str, Any]) -> Budget:
    """What one section of a resolved document states."""
    day, month = entry["day_usd"], entry["month_usd"]
    return Budget(
        day_nano_usd=None if day is None else parse_usd(day),
        month_nano_usd=None if month is None else parse_usd(month),
        tokens_minute=entry["tokens_per_minute"],
        requests_minute=entry["requests_per_minute"],
    )


def _limit(entry: Mapping[str, Any], place: WorkerPlace) -> Limit:
    most = entry["in_flight"]
    return Limit(
        in_flight=None if most is None else share_of(most, place.workers, place.index),
        requests_minute=entry["requests_per_minute"],
        tokens_minute=entry["tokens_per_minute"],
    )
