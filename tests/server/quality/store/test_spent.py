"""What was spent, summed by a real database."""

from __future__ import annotations

from collections.abc import Callable

from turnout_server.completion.attempt import Purpose
from turnout_server.completion.tokens import TokenCounts
from turnout_server.quality.store.place import Place, make_engine
from turnout_server.quality.store.spent import EVER_NS, read_spent, whole
from turnout_server.quality.store.store import OutcomeStore
from turnout_server.resilience.budgets import Scope, ScopeKind, Settled
from turnout_server.resilience.periods import day_of, month_of

from tests.server.quality.store.examples import NOON_MS, PRICE, cost

DAY_MS, MONTH_MS = day_of(NOON_MS).begins_ms, month_of(NOON_MS).begins_ms
# Of a thousand input tokens at 3 dollars a million.
EACH = 3_000_000


def test_sums_are_of_the_day_and_the_month(place: Place, open_store: Callable[..., OutcomeStore]) -> None:
    store = open_store(place)
    rows = [
        ("acme", "default", Purpose.SERVE, NOON_MS),
        ("acme", "reports", Purpose.HEDGE, DAY_MS),
        ("acme", "default", Purpose.ESCALATE, DAY_MS - 1),
        ("acme", "default", Purpose.ENSEMBLE, MONTH_MS),
        ("acme", "default", Purpose.SERVE, MONTH_MS - 1),
        ("acme", "default", Purpose.JUDGE, NOON_MS),
        ("", "default", Purpose.SHADOW, DAY_MS - 1),
        ("", "default", Purpose.SERVE, NOON_MS),
    ]
    for i, (tenant, policy, purpose, at_ms) in enumerate(rows):
        record = cost(
            f"a{i}", f"d{i}", TokenCounts(1000), purpose=purpose, at_ms=at_ms, tenant=tenant, policy=policy
        )
        store.record_cost(record, PRICE)
    # What nobody knows counts as nothing.
    store.record_cost(cost("b", "d", TokenCounts(1000), price=None, tenant="acme"), None)
    assert store.flush(10)
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        found = read_spent(connection, day_ms=DAY_MS, month_ms=MONTH_MS)
        nothing = read_spent(connection, day_ms=NOON_MS + 1, month_ms=NOON_MS + 1)
    engine.dispose()
    sums = {scope: whole(parts) for scope, parts in found.items()}
    assert {scope: (day / EACH, month / EACH) for scope, (day, month) in sums.items()} == {
        Scope(ScopeKind.TENANT, "acme"): (2, 4),
        Scope(ScopeKind.TENANT, ""): (1, 1),
        Scope(ScopeKind.POLICY, "default"): (2, 4),
        Scope(ScopeKind.POLICY, "reports"): (1, 1),
        Scope(ScopeKind.PURPOSE, "default judge"): (1, 1),
        Scope(ScopeKind.PURPOSE, "default shadow"): (0, 1),
    }
    assert nothing == {}


def test_sums_are_apart_by_the_time_of_settlement(
    place: Place, open_store: Callable[..., OutcomeStore]
) -> None:
    store = open_store(place)
    noon_ns = NOON_MS * 10**6
    for i, settled_ns in enumerate([0, noon_ns - 1, noon_ns, noon_ns + 4, noon_ns + 5, noon_ns + 6]):
        at_ms = DAY_MS - 1 if i == 2 else NOON_MS
        record = cost(f"a{i}", f"d{i}", TokenCounts(1000), at_ms=at_ms, tenant="acme", settled_ns=settled_ns)
        store.record_cost(record, PRICE)
    assert store.flush(10)
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        found = read_spent(
            connection,
            day_ms=DAY_MS,
            month_ms=MONTH_MS,
            cuts_ns=[noon_ns, noon_ns + 1, noon_ns + 2, noon_ns + 5],
        )
    engine.dispose()
    assert found[Scope(ScopeKind.TENANT, "acme")] == [
        Settled(noon_ns, 2 * EACH, 2 * EACH),
        Settled(noon_ns + 1, 0, EACH),
        Settled(noon_ns + 5, EACH, EACH),
        Settled(EVER_NS, 2 * EACH, 2 * EACH),
    ]
