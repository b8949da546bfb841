"""What the training commands print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from turnout_fastpath.training.bar_check import Checked
    from turnout_fastpath.training.bars import Outcome, Solution
    from turnout_fastpath.training.bundle_report import HeadResult
    from turnout_fastpath.training.recalibrating import HeadReport

PIPE_COLUMNS = 120


def print_heads(heads: Sequence[HeadResult]) -> None:
    """What was learned of each tier."""
    columns = (
        "tier",
        "labels",
        "suffices",
        "log loss",
        "before",
        "gain rmse",
        "before",
        "calibration",
        "ECE",
        "bound",
    )
    rows = [
        (
            head.name,
            str(head.rows),
            f"{head.sufficient:.1%}",
            _number(head.log_loss),
            _number(head.log_loss_before),
            _number(head.gain_rmse),
            _number(head.gain_rmse_before),
            head.calibration.method.value,
            _number(head.reliability.ece),
            _number(head.reliability.bound),
        )
        for head in heads
    ]
    _table("cross-validated by group", columns, rows)


def print_reliability(
    heads: Sequence[HeadReport], by_task: Sequence[tuple[str, str, int, float, float]]
) -> None:
    """Calibration errors by head and task, beside what perfect calibration keeps to."""
    columns = ("head", "task", "labels", "method", "ECE before", "ECE", "bound")
    rows = []
    for head in heads:
        method = head.calibration.method.value if head.calibration else "kept: too few labels"
        rows.append(
            (
                head.name,
                "all",
                str(head.labels),
                method,
                _number(head.before.ece),
                _number(head.after.ece),
                _number(head.after.bound),
            )
        )
        rows += [
            (head.name, task, str(n), "", "", _number(ece), _number(bound))
            for name, task, n, ece, bound in by_task
            if name == head.name
        ]
    _table("held out by group; the bound holds for perfect calibration in 95 of 100 cases", columns, rows)


def print_outcomes(solution: Solution, checked: Checked, within_policy: bool) -> None:
    """What solved bars do: to the rows they were solved on, to rows left out, and in the engine."""
    engine = "engine, in the policy" if within_policy else "engine, bars alone"
    outcomes = {"solved on": solution.within, "left out": solution.beyond, engine: checked.outcome}
    tiers = list(solution.within.shares)
    rows = [
        (
            name,
            *(f"{one.shares[tier]:.1%}" for tier in tiers),
            "" if one.cost_per_1k is None else f"{one.cost_per_1k:.4g}",
            "" if one.quality is None else f"{one.quality:.2%}",
        )
        for name, one in outcomes.items()
    ]
    _table(f"{solution.wish.value} {solution.target:g}", ("rows", *tiers, "USD per 1,000", "quality"), rows)
    typer.echo(
        f"the engine abstains on {checked.abstained:.1%} of {checked.rows} rows: the safe tier serves those"
    )


def outcome_figures(one: Outcome) -> dict[str, Any]:
    """For JSON."""
    return {"shares": dict(one.shares), "cost_per_1k_usd": one.cost_per_1k, "quality": one.quality}


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console()
    # A file or a pipe has no width of its own.
    (console if console.is_terminal else Console(width=PIPE_COLUMNS)).print(table)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
