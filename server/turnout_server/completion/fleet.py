"""The deployments of a policy as completions see them: what to call, what it costs, and whether it may be called."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from turnout_fastpath import Decision, ReasonKind, Snapshot

from turnout_server.completion.answer_rules import read_answer_rules
from turnout_server.completion.asked import Asked
from turnout_server.completion.cache_marking import CacheRules
from turnout_server.completion.cost import ModelPrice
from turnout_server.completion.stated_limits import (
    RetryRule,
    account_scope,
    deployment_scope,
    retry_rules_of,
)
from turnout_server.planning.price_book import PriceBook
from turnout_server.providers.chat import CacheLifetime
from turnout_server.providers.credentials import KeySource
from turnout_server.providers.protocol import DEFAULT_FIRST_TOKEN_S, DEFAULT_INTER_TOKEN_S, Target
from turnout_server.resilience.breakers import Breakers
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.hedge import CONCURRENT, HedgeRules
from turnout_server.resilience.retry_budget import RetryBudget
from turnout_server.resilience.session_affinity import AUTOMATIC_CACHES, kept_session_s
from turnout_server.resilience.shared_retry_budget import SharedRetryBudget, make_retry_budget
from turnout_server.resilience.silence import Pulse


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment.

    Attributes:
        target: where calls go.
        tier: name of its tier.
        rank: of the tier, 0 is the cheapest.
        account: whose quota its calls use; equal for equal providers, endpoints and credentials.
        context_window: input and output together, in provider tokens.
        first_token_s: most seconds to a first token.
        inter_token_s: most seconds between tokens.
        limit_scopes: names of the limits that hold for it, its account's first.
        price: key in the policy's prices; None: none.
        region: where it runs.
    """

    target: Target
    tier: str
    rank: int
    account: str
    context_window: int
    first_token_s: float
    inter_token_s: float
    limit_scopes: tuple[str, ...]
    price: str | None
    region: str

    @property
    def has_automatic_cache(self) -> bool:
        """True if its provider caches long prefixes unasked."""
        return self.target.provider in AUTOMATIC_CACHES


class Fleet:
    """A snapshot's deployments, with the breakers and retry budgets that stand before them.

    Attributes:
        snapshot: what it was made of.
        tiers: names, the cheapest first.
        chains: names of each tier's deployments, the first choice first.
        breakers: over the snapshot's state block.
        rules: what each policy says of answers.
        clock: of everything.
        random: source of jitter.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        random: Random,
        *,
        first_token_s: float = DEFAULT_FIRST_TOKEN_S,
        inter_token_s: float = DEFAULT_INTER_TOKEN_S,
    ) -> None:
        """Reads the snapshot's policy document.

        Args:
            snapshot: what to make it of.
            clock: of breakers and budgets.
            random: source of jitter.
            first_token_s: most seconds to an attempt's first token, where the deployment does not say.
            inter_token_s: most seconds between its tokens, where the deployment does not say.

        Raises:
            StateError: the state block has no room for so many breakers.
        """
        document = snapshot.policies.document
        self.snapshot = snapshot
        self.clock, self.random = clock, random
        self._policies: Mapping[str, Any] = document["policies"]
        self._prices = PriceBook(document["prices"])
        self.tiers = [tier["name"] for tier in document["tiers"]]
        self.chains = {tier["name"]: [entry["name"] for entry in tier["chain"]] for tier in document["tiers"]}
        self.rules = read_answer_rules(document)
        keys: dict[str, KeySource] = {}
        self._deployments = {
            entry["name"]: _read(entry, tier["name"], rank, keys, clock, first_token_s, inter_token_s)
            for rank, tier in enumerate(document["tiers"])
            for entry in tier["chain"]
        }
        accounts = {name: one.account for name, one in self._deployments.items()}
        self.breakers = Breakers(snapshot.state, self.chains.values(), accounts, clock, random)
        self._retries = self._retry_budgets(document)
        self._caching = {
            name: _read_caching(policy["prompt_cache"]) for name, policy in self._policies.items()
        }
        self._hedging = {
            name: _read_hedging(policy["hedging"], clock) for name, policy in self._policies.items()
        }
        self._further = {tier: RetryBudget(clock) for tier in self.tiers}
        self._pulses = {name: Pulse(clock, one.first_token_s) for name, one in self._deployments.items()}

    def __getitem__(self, name: str) -> Deployment:
        return self._deployments[name]

    def retries(self, deployment: Deployment) -> RetryBudget | SharedRetryBudget:
        """The retry budget of a deployment's account."""
        return self._retries[deployment.account]

    def further(self, tier: str) -> RetryBudget:
        """The budget of attempts beyond the first, of requests in a tier, where late failures are about."""
        return self._further[tier]

    def shops_around(self, policy: str) -> bool:
        """True where a request that one provider's content policy blocks is shown to others."""
        return bool(self._policies[policy]["content_policy_failover"])

    def caching(self, policy: str) -> CacheRules:
        """What a policy says of prompt caches."""
        return self._caching[policy]

    def hedging(self, policy: str) -> tuple[HedgeRules, RetryBudget]:
        """When a policy hedges, and the budget of its hedges."""
        return self._hedging[policy]

    def pulse(self, name: str) -> Pulse:
        """The life signs of a deployment."""
        return self._pulses[name]

    def price(self, deployment: Deployment) -> ModelPrice | None:
        """The price in force now; None: none is known."""
        today = datetime.datetime.fromtimestamp(self.clock.unix_s(), datetime.UTC).date()
        return self._prices.at(deployment.price, today)

    def keeps_session_s(self, policy: str) -> float | None:
        """Seconds for which a policy keeps a session's tier; None: it keeps none."""
        return kept_session_s(self._policies[policy])

    def range_of(self, decision: Decision, min_tier: str, max_tier: str) -> tuple[int, int]:
        """The least and the greatest rank that may serve: the caller's, the policy's and its rules' limits together.

        Args:
            decision: whose reasons tell which rules matched.
            min_tier: the caller's least tier, empty for none.
            max_tier: the caller's greatest tier, empty for none.
        """
        policy, acts = self._policies[decision.policy], self._acts(decision)
        floors = [min_tier, policy["min_tier"], *(then["floor"] for then in acts)]
        ceilings = [max_tier, policy["max_tier"], *(then["ceiling"] for then in acts)]
        low = max((self.tiers.index(name) for name in floors if name), default=0)
        high = min((self.tiers.index(name) for name in ceilings if name), default=len(self.tiers) - 1)
        return low, high

    def may_see(self, asked: Asked, name: str) -> bool:
        """True if neither the caller nor a rule that matched keeps the request from a deployment, whatever its tier."""
        region = self[name].region
        acts = self._acts(asked.decision)
        return (
            (not asked.allowed_deployments or name in asked.allowed_deployments)
            and (not asked.allowed_regions or region in asked.allowed_regions)
            and not any(
                name in then["forbid_deployments"] or region in then["forbid_regions"] for then in acts
            )
        )

    def _acts(self, decision: Decision) -> list[Mapping[str, Any]]:
        """What the rules do that matched."""
        matched = {reason.id for reason in decision.reasons if reason.kind is ReasonKind.RULE}
        return [rule["then"] for rule in self._policies[decision.policy]["rules"] if rule["name"] in matched]

    def _retry_budgets(self, document: Mapping[str, Any]) -> dict[str, RetryBudget | SharedRetryBudget]:
        stated = retry_rules_of(document)
        found: dict[str, RetryBudget | SharedRetryBudget] = {}
        for tier in document["tiers"]:
            for entry in tier["chain"]:
                account = self._deployments[entry["name"]].account
                rule = stated.get(entry["credentials"] or "", RetryRule())
                found[account] = make_retry_budget(
                    self.snapshot.state, account, self.clock, share=rule.share, concurrent=rule.at_once
                )
        return found


def _read_caching(told: Mapping[str, Any]) -> CacheRules:
    return CacheRules(told["enabled"], told["least_tokens"], CacheLifetime(told["lifetime"]))


def _read_hedging(told: Mapping[str, Any], clock: Clock) -> tuple[HedgeRules, RetryBudget]:
    rules = HedgeRules(
        enabled=told["enabled"],
        fixed_delay_s=told["delay_s"],
        quantile=told["quantile"],
        least_delay_s=told["least_delay_s"],
    )
    return rules, RetryBudget(clock, share=told["share"], concurrent=CONCURRENT)


def _read(
    entry: Mapping[str, Any],
    tier: str,
    rank: int,
    keys: dict[str, KeySource],
    clock: Clock,
    first_token_s: float,
    inter_token_s: float,
) -> Deployment:
    source = entry["credentials"]
    if source is not None and source not in keys:
        keys[source] = KeySource(source, clock.monotonic_s)
    target = Target(
        name=entry["name"],
        provider=entry["provider"],
        model=entry["model"],
        endpoint=entry["endpoint"],
        key=None if source is None else keys[source],
        max_output_tokens=entry["max_output_tokens"],
    )
    parts: Sequence[str] = (entry["provider"], entry["endpoint"] or "", source or "")
    # A provider that has neither address nor key has no accounts: each deployment stands for itself.
    account = " ".join(parts) if any(parts[1:]) else f"{entry['provider']} {entry['name']}"
    own = deployment_scope(entry["name"])
    scopes = (own,) if source is None else (account_scope(source), own)
    told_first_s, told_inter_s = entry["first_token_s"], entry["inter_token_s"]
    return Deployment(
        target,
        tier,
        rank,
        account,
        entry["context_window"],
        first_token_s if told_first_s is None else told_first_s,
        inter_token_s if told_inter_s is None else told_inter_s,
        scopes,
        entry["price"],
        entry["region"],
    )
