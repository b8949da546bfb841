"""What tenants and policies have spent, summed from the costs of a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, case, func, select

from turnout_server.completion.allowance import NOT_THE_CALLERS
from turnout_server.quality.store.schema import COSTS
from turnout_server.resilience.spend_budget import Scope, ScopeKind

# By scope: nano-dollars of the day, and of the month.
Spent = Mapping[Scope, tuple[int, int]]


def read_spent(
    connection: Connection,
    *,
    day_ms: int,
    month_ms: int,
    without: Collection[str] = tuple(NOT_THE_CALLERS),
) -> Spent:
    """Sums the costs since the beginnings of a day and of its month, by tenant and by policy.

    Args:
        connection: to the store.
        day_ms: Unix milliseconds.
        month_ms: no later.
        without: purposes of calls that no budget of a tenant or policy counts.
    """
    cost = func.coalesce(COSTS.c.cost_nano, 0)
    found = connection.execute(
        select(
            COSTS.c.tenant,
            COSTS.c.policy,
            func.sum(case((COSTS.c.at_ms >= day_ms, cost), else_=0)),
            func.sum(cost),
        )
        .where(COSTS.c.at_ms >= month_ms, COSTS.c.purpose.not_in([str(purpose) for purpose in without]))
        .group_by(COSTS.c.tenant, COSTS.c.policy)
    )
    spent: dict[Scope, tuple[int, int]] = {}
    for tenant, policy, day, month in found:
        for scope in (Scope(ScopeKind.TENANT, tenant), Scope(ScopeKind.POLICY, policy)):
            before = spent.get(scope, (0, 0))
            spent[scope] = (before[0] + int(day), before[1] + int(month))
    return spent
