"""A store's counters as the metrics endpoint shows them."""

from __future__ import annotations

from turnout_server.observability.metrics import (
    STORE_COSTS,
    STORE_DROPPED_IN_RING,
    STORE_FAILURES,
    STORE_REFUSED_FILES,
    STORE_ROWS,
    Labels,
    Sums,
)
from turnout_server.quality.store.store import Counters


def store_sums(counters: Counters, *, dropped_in_rings: int = 0) -> Sums:
    """What became of rows. May be called on any thread.

    Args:
        counters: of the process's store.
        dropped_in_rings: decisions of the decision port that found their ring full.
    """
    rows: list[tuple[str, Labels, list[float]]] = []
    for what, by_table in (
        ("written", counters.written),
        ("dropped", counters.dropped),
        ("rejected", counters.rejected),
    ):
        rows += [(STORE_ROWS.name, (table, what), [count]) for table, count in list(by_table.items())]
    costs = {
        "lost": counters.costs_lost,
        "refused": counters.costs_refused,
        "recovered": counters.costs_recovered,
    }
    rows += [(STORE_COSTS.name, (what,), [count]) for what, count in costs.items()]
    rows.append((STORE_REFUSED_FILES.name, (), [counters.refused_files]))
    rows.append((STORE_FAILURES.name, (), [counters.failures]))
    rows.append((STORE_DROPPED_IN_RING.name, (), [dropped_in_rings]))
    return Sums(rows)
