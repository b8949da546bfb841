"""What tenants and policies have spent, and judges and shadows, summed from the costs of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import CTE, ColumnElement, Connection, case, func, literal, select

from turnout_server.completion.attempt import NOT_THE_CALLERS
from turnout_server.quality.store.schema import COSTS
from turnout_server.resilience.budgets import Scope, ScopeKind, Settled

# By scope, in the order of time.
Spent = Mapping[Scope, Sequence[Settled]]
# Later than all that is settled.
EVER_NS = (1 << 63) - 1


def read_spent(connection: Connection, *, day_ms: int, month_ms: int, cuts_ns: Sequence[int] = ()) -> Spent:
    """Sums the costs since the beginnings of a day and of its month, by tenant, by policy, and by purpose.

    Args:
        connection: to the store.
        day_ms: Unix milliseconds.
        month_ms: no later.
        cuts_ns: Unix nanoseconds, ascending; what was settled before each, and after the last, is summed apart.
    """
    tenants = _tenants()
    cost = func.coalesce(COSTS.c.cost_nano, 0)
    part: ColumnElement[int] = literal(len(cuts_ns))
    if cuts_ns:
        part = case(*((COSTS.c.settled_ns < cut, i) for i, cut in enumerate(cuts_ns)), else_=len(cuts_ns))
    parts = (
        select(
            COSTS.c.tenant,
            COSTS.c.policy,
            COSTS.c.purpose,
            part.label("part"),
            case((COSTS.c.at_ms >= day_ms, cost), else_=0).label("day"),
            cost.label("month"),
        )
        .join_from(tenants, COSTS, COSTS.c.tenant == tenants.c.tenant)
        .where(COSTS.c.at_ms >= month_ms)
        .subquery()
    )
    keys = (parts.c.tenant, parts.c.policy, parts.c.purpose, parts.c.part)
    found = connection.execute(select(*keys, func.sum(parts.c.day), func.sum(parts.c.month)).group_by(*keys))
    sums: dict[Scope, dict[int, tuple[int, int]]] = {}
    for tenant, policy, purpose, at, day, month in found:
        scopes = [Scope(ScopeKind.TENANT, tenant), Scope(ScopeKind.POLICY, policy)]
        if purpose in NOT_THE_CALLERS:
            scopes = [Scope(ScopeKind.PURPOSE, f"{policy} {purpose}")]
        for scope in scopes:
            by_part = sums.setdefault(scope, {})
            before = by_part.get(at, (0, 0))
            by_part[at] = (before[0] + int(day), before[1] + int(month))
    ends_ns = [*cuts_ns, EVER_NS]
    return {
        scope: [Settled(ends_ns[at], *by_part[at]) for at in sorted(by_part)]
        for scope, by_part in sums.items()
    }


def whole(records: Sequence[Settled]) -> tuple[int, int]:
    """Nano-dollars of the day and of the month, whenever they were settled."""
    return sum(part.day_nano_usd for part in records), sum(part.month_nano_usd for part in records)


def _tenants() -> CTE:
    """All tenants, each found from the last by one step in the index of tenants and times.

    So what is read are the costs of the month, however many years are stored.
    """
    first = select(func.min(COSTS.c.tenant).label("tenant")).cte("tenants", recursive=True)
    following = select(func.min(COSTS.c.tenant)).where(COSTS.c.tenant > first.c.tenant).scalar_subquery()
    return first.union_all(select(following).where(first.c.tenant.is_not(None)))
