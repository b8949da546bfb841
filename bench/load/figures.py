"""What is saved of runs: medians over the rounds, and quantiles of all their calls."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from bench.load.generator import Load
from bench.load.histogram import Histogram
from bench.sampling import figure

QUANTILES = {"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99, "p999_us": 0.999}
# Of the plots: evenly spaced where most calls are, and nines behind.
CURVE = (*(step / 20 for step in range(1, 19)), 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)


def describe(load: Load) -> dict[str, Any]:
    """The figures of one run."""
    row: dict[str, Any] = {
        "good_per_s": figure(load.good_per_s),
        "shed_per_s": figure(load.shed_per_s),
        "server_cpu_us": figure(load.server_cpu_us),
        "own_core_share": figure(load.own_core_share),
        "sent": load.sent,
        "failed": load.failed,
        "unanswered": load.unanswered,
        "unsent": load.unsent,
        "request_bytes": round(load.request_bytes / load.sent, 1) if load.sent else 0.0,
        "message_bytes": round(load.message_bytes, 1),
    }
    row |= _quantiles(load.latency)
    if load.refused.count:
        row["refused_p50_us"] = figure(load.refused.quantile_us(0.5))
        row["refused_p99_us"] = figure(load.refused.quantile_us(0.99))
    if load.late.count:
        row["late_p99_us"] = figure(load.late.quantile_us(0.99))
    return row


def _quantiles(latency: Histogram) -> dict[str, float | None]:
    return {name: figure(latency.quantile_us(q)) if latency.count else None for name, q in QUANTILES.items()}


def summarise(loads: Sequence[Load]) -> dict[str, Any]:
    """Medians over the rounds, but p99.9 and the curve of all rounds' calls together, and sums of what went wrong."""
    rows = [describe(load) for load in loads]
    result: dict[str, Any] = {}
    for key in rows[0]:
        values = [row[key] for row in rows if row.get(key) is not None]
        if key in ("sent", "failed", "unanswered", "unsent"):
            result[key] = sum(values)
        else:
            result[key] = figure(statistics.median(values)) if values else None
    pooled = loads[0].latency
    for load in loads[1:]:
        pooled = pooled.merge(load.latency)
    if pooled.count:
        result["p999_us"] = figure(pooled.quantile_us(QUANTILES["p999_us"]))
        result["max_us"] = figure(pooled.max_ns / 1000)
        result["curve_us"] = [[q, figure(pooled.quantile_us(q))] for q in CURVE]
    result["rounds"] = rows
    return result
