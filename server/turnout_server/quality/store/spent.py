"""What tenants and policies have spent, and judges and shadows, summed from the costs of a store."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import CTE, Connection, case, func, select

from turnout_server.completion.attempt import NOT_THE_CALLERS
from turnout_server.quality.store.schema import COSTS
from turnout_server.resilience.spend_budget import Scope, ScopeKind

# By scope: nano-dollars of the day, and of the month.
Spent = Mapping[Scope, tuple[int, int]]


def read_spent(connection: Connection, *, day_ms: int, month_ms: int) -> Spent:
    """Sums the costs since the beginnings of a day and of its month, by tenant, by policy, and by purpose.

    Args:
        connection: to the store.
        day_ms: Unix milliseconds.
        month_ms: no later.
    """
    tenants = _tenants()
    cost = func.coalesce(COSTS.c.cost_nano, 0)
    found = connection.execute(
        select(
            COSTS.c.tenant,
            COSTS.c.policy,
            COSTS.c.purpose,
            func.sum(case((COSTS.c.at_ms >= day_ms, cost), else_=0)),
            func.sum(cost),
        )
        .join_from(tenants, COSTS, COSTS.c.tenant == tenants.c.tenant)
        .where(COSTS.c.at_ms >= month_ms)
        .group_by(COSTS.c.tenant, COSTS.c.policy, COSTS.c.purpose)
    )
    spent: dict[Scope, tuple[int, int]] = {}
    for tenant, policy, purpose, day, month in found:
        scopes = [Scope(ScopeKind.TENANT, tenant), Scope(ScopeKind.POLICY, policy)]
        if purpose in NOT_THE_CALLERS:
            scopes = [Scope(ScopeKind.PURPOSE, f"{policy} {purpose}")]
        for scope in scopes:
            before = spent.get(scope, (0, 0))
            spent[scope] = (before[0] + int(day), before[1] + int(month))
    return spent


def _tenants() -> CTE:
    """All tenants, each found from the last by one step in the index of tenants and times.

    So what is read are the costs of the month, however many years are stored.
    """
    first = select(func.min(COSTS.c.tenant).label("tenant")).cte("tenants", recursive=True)
    following = select(func.min(COSTS.c.tenant)).where(COSTS.c.tenant > first.c.tenant).scalar_subquery()
    return first.union_all(select(following).where(first.c.tenant.is_not(None)))
