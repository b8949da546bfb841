"""Checks between the parts of a policy file: names that are used exist, once, and nothing contradicts itself.

What only the bundle knows (heads, tasks, features, exemplar sets) `turnout_fastpath.policy_compiler` checks.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence

from turnout_server.grading_checks import check_grading
from turnout_server.planning.price_table import shipped_table
from turnout_server.policy_defects import Defect, Location, format_path, show, suggest
from turnout_server.policy_model import (
    MAX_DEPLOYMENTS,
    MAX_KEYWORD_GROUPS,
    MAX_REGIONS,
    Bars,
    Policy,
    PolicyFile,
)
from turnout_server.providers.registry import PROVIDER_NAMES
from turnout_server.rule_model import Rule


def check_policy_file(file: PolicyFile) -> list[Defect]:
    """Everything that is wrong between the parts of a file whose parts are each well formed."""
    return list(_Check(file).run())


class _Check:
    def __init__(self, file: PolicyFile) -> None:
        self.file = file
        self.tiers = [tier.name for tier in file.tiers]
        self.deployments = [deployment.name for tier in file.tiers for deployment in tier.chain]
        self.regions = sorted({deployment.region for tier in file.tiers for deployment in tier.chain})
        self.buckets = [bucket.name for bucket in file.buckets]

    def run(self) -> Iterator[Defect]:
        yield from self.check_tiers()
        yield from self.check_prices()
        yield from check_unique([(("buckets", i, "name"), name) for i, name in enumerate(self.buckets)])
        for i, bucket in enumerate(self.file.buckets):
            path: Location = ("buckets", i, "effect")
            yield from self.check_tier((*path, "floor"), bucket.effect.floor)
            yield from self.check_tier((*path, "tier"), bucket.effect.tier)
        yield from check_known(("default_policy",), "policy", self.file.default_policy, self.file.policies)
        for name, policy in self.file.policies.items():
            yield from self.check_policy(("policies", name), policy)
        groups = sum(
            bool(rule.when.keywords) for policy in self.file.policies.values() for rule in policy.rules
        )
        if groups > MAX_KEYWORD_GROUPS:
            yield Defect(("policies",), f"{groups} rules have keywords, limit: {MAX_KEYWORD_GROUPS}")

    def check_tiers(self) -> Iterator[Defect]:
        yield from check_unique([(("tiers", i, "name"), name) for i, name in enumerate(self.tiers)])
        paths: list[Location] = [
            ("tiers", i, "chain", j) for i, tier in enumerate(self.file.tiers) for j in range(len(tier.chain))
        ]
        yield from check_unique(
            [((*path, "name"), name) for path, name in zip(paths, self.deployments, strict=True)]
        )
        for i, tier in enumerate(self.file.tiers):
            for j, deployment in enumerate(tier.chain):
                path = ("tiers", i, "chain", j)
                if deployment.provider not in PROVIDER_NAMES:
                    known = ", ".join(sorted(PROVIDER_NAMES))
                    message = f"no adapter for provider {show(deployment.provider)}; known: {known}"
                    yield Defect((*path, "provider"), message)
                yield from check_known((*path, "price"), "price", deployment.price, self.file.prices)
        if len(self.deployments) > MAX_DEPLOYMENTS:
            yield Defect(("tiers",), f"{len(self.deployments)} deployments, limit: {MAX_DEPLOYMENTS}")
        if len(self.regions) > MAX_REGIONS:
            yield Defect(("tiers",), f"{len(self.regions)} regions, limit: {MAX_REGIONS}")

    def check_prices(self) -> Iterator[Defect]:
        for key, price in self.file.prices.items():
            if price.table is None:
                continue
            table = shipped_table()
            entry = table.entries.get(price.table)
            if entry is None:
                yield from check_known(
                    ("prices", key, "table"), "entry of the price table", price.table, table.entries
                )
            elif price.version is not None and entry.at(datetime.date.fromisoformat(price.version)) is None:
                first = entry.versions[0].valid_from
                message = f"{price.version} is before {first}, the first day of {show(price.table)} in the price table"
                yield Defect(("prices", key, "version"), message)

    def check_policy(self, path: Location, policy: Policy) -> Iterator[Defect]:
        yield from self.check_tier((*path, "safe_tier"), policy.safe_tier)
        yield from self.check_tier((*path, "min_tier"), policy.min_tier)
        yield from self.check_tier((*path, "max_tier"), policy.max_tier)
        if self.is_above(policy.min_tier, policy.max_tier):
            message = f"{show(policy.min_tier)} is above max_tier {show(policy.max_tier)}"
            yield Defect((*path, "min_tier"), message)
        elif self.is_above(policy.min_tier, policy.safe_tier):
            message = f"{show(policy.safe_tier)} is below min_tier {show(policy.min_tier)}"
            yield Defect((*path, "safe_tier"), message)
        elif self.is_above(policy.safe_tier, policy.max_tier):
            message = f"{show(policy.safe_tier)} is above max_tier {show(policy.max_tier)}"
            yield Defect((*path, "safe_tier"), message)
        ceiling = policy.limits.budget_spent_ceiling
        yield from self.check_tier((*path, "limits", "budget_spent_ceiling"), ceiling)
        yield from self.check_bars((*path, "bars"), policy.bars)
        for i, bucket in enumerate(policy.buckets):
            yield from check_known((*path, "buckets", i), "bucket", bucket, self.buckets)
        yield from check_unique(
            [((*path, "rules", i, "name"), rule.name) for i, rule in enumerate(policy.rules)]
        )
        for i, rule in enumerate(policy.rules):
            yield from self.check_rule((*path, "rules", i, "then"), rule)
        yield from check_grading(path, policy, self.file.tiers)

    def check_bars(self, path: Location, bars: Bars) -> Iterator[Defect]:
        for tier in bars.tiers:
            yield from self.check_tier((*path, "tiers", tier), tier)
        for task, bar in bars.tasks.items():
            for tier in bar if isinstance(bar, dict) else ():
                yield from self.check_tier((*path, "tasks", task, tier), tier)
        for tier in bars.max_gain:
            yield from self.check_tier((*path, "max_gain", tier), tier)

    def check_rule(self, path: Location, rule: Rule) -> Iterator[Defect]:
        then = rule.then
        yield from self.check_tier((*path, "tier"), then.tier)
        yield from self.check_tier((*path, "floor"), then.floor)
        yield from self.check_tier((*path, "ceiling"), then.ceiling)
        if self.is_above(then.floor, then.ceiling):
            yield Defect((*path, "floor"), f"{show(then.floor)} is above ceiling {show(then.ceiling)}")
        yield from check_known((*path, "deployment"), "deployment", then.deployment, self.deployments)
        for i, name in enumerate(then.forbid_deployments):
            yield from check_known((*path, "forbid_deployments", i), "deployment", name, self.deployments)
        for i, name in enumerate(then.forbid_regions):
            yield from check_known((*path, "forbid_regions", i), "region", name, self.regions)

    def check_tier(self, path: Location, name: str | None) -> Iterator[Defect]:
        return check_known(path, "tier", name, self.tiers)

    def is_above(self, one: str | None, other: str | None) -> bool:
        """False too where one of them is not set or no tier; the latter is a defect of its own."""
        if one not in self.tiers or other not in self.tiers:
            return False
        return self.tiers.index(one) > self.tiers.index(other)


def check_known(path: Location, kind: str, name: str | None, known: Iterable[str]) -> Iterator[Defect]:
    """A defect where `name` is none of the known; None is no name."""
    if name is not None and name not in (names := list(known)):
        yield Defect(path, f"no {kind} {show(name)}; {suggest(name, names)}")


def check_unique(named: Sequence[tuple[Location, str]]) -> Iterator[Defect]:
    """A defect for each name that stands at an earlier path too."""
    first: dict[str, Location] = {}
    for path, name in named:
        if first.setdefault(name, path) is not path:
            yield Defect(path, f"{show(name)} is the name of {format_path(first[name][:-1])} already")
