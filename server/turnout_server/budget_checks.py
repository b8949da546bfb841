"""Checks of budgets and provider limits against the rest of a policy file."""

from __future__ import annotations

from collections.abc import Iterator

from turnout_server.budget_model import MAX_COUNTERS, Budget
from turnout_server.policy_checks import check_known, check_unique
from turnout_server.policy_defects import Defect
from turnout_server.policy_model import PolicyFile


def check_budgets(file: PolicyFile) -> Iterator[Defect]:
    """Everything that is wrong with the budgets and limits of a file that is well formed."""
    budgets, limits = file.budgets, file.provider_limits
    for name in budgets.policies:
        yield from check_known(("budgets", "policies", name), "policy", name, file.policies)
    counters = sum(map(_count_limits, [*budgets.tenants.values(), *budgets.policies.values()]))
    if counters > MAX_COUNTERS:
        yield Defect(("budgets",), f"{counters} limits of tenants and policies, limit: {MAX_COUNTERS}")
    if any(
        map(_limits_spend, [*budgets.tenants.values(), budgets.other_tenants, *budgets.policies.values()])
    ):
        yield from _check_priced(file)
    credentials = {one.credentials for tier in file.tiers for one in tier.chain if one.credentials}
    deployments = [one.name for tier in file.tiers for one in tier.chain]
    for i, account in enumerate(limits.accounts):
        path = ("provider_limits", "accounts", i, "credentials")
        yield from check_known(path, "deployment with credentials", account.credentials, sorted(credentials))
    yield from check_unique(
        [
            (("provider_limits", "accounts", i, "credentials"), account.credentials)
            for i, account in enumerate(limits.accounts)
        ]
    )
    for i, limit in enumerate(limits.deployments):
        path = ("provider_limits", "deployments", i, "deployment")
        yield from check_known(path, "deployment", limit.deployment, deployments)
    yield from check_unique(
        [
            (("provider_limits", "deployments", i, "deployment"), limit.deployment)
            for i, limit in enumerate(limits.deployments)
        ]
    )


def _check_priced(file: PolicyFile) -> Iterator[Defect]:
    """A price that is missing is not zero; but a budget could count it as nothing else."""
    for i, tier in enumerate(file.tiers):
        for j, deployment in enumerate(tier.chain):
            if deployment.price is None:
                message = (
                    "null, and `budgets` limits dollars: what it costs would not count; a price may be 0"
                )
                yield Defect(("tiers", i, "chain", j, "price"), message)


def _limits_spend(budget: Budget | None) -> bool:
    return budget is not None and (budget.day_usd is not None or budget.month_usd is not None)


def _count_limits(budget: Budget) -> int:
    limits = (
        budget.day_usd,
        budget.month_usd,
        budget.tokens_per_minute,
        budget.requests_per_minute,
    )
    return sum(limit is not None for limit in limits)
