"""`turnout calibrate-gate`: from graded answers to the confidence thresholds of a policy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout_server.command_line import MISUSED, fail, failing, parse_share, print_table

if TYPE_CHECKING:
    from turnout_server.completion.gates.confidence_fit import Graded, Thresholds

# Of a threshold as it is written into a policy, rounded down: an answer at the threshold still passes.
DIGITS = 6


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(calibrate_gate)


def calibrate_gate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Graded answers, JSON Lines: task, accepted (true or false), and confidence, mean_logprob or logprobs.",
        ),
    ],
    *,
    max_wrong: Annotated[
        str,
        typer.Option(
            "--max-wrong",
            metavar="SHARE",
            help="Greatest share of answers that are not accepted among those that stay, with 95% certainty.",
        ),
    ] = "5%",
    min_rows: Annotated[
        int,
        typer.Option("--min-rows", min=1, help="Answers that a task needs for a threshold of its own."),
    ] = 50,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", metavar="DATA", help="Other graded answers, on which the thresholds are measured."
        ),
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the thresholds and figures here.")
    ] = None,
) -> None:
    """Fit the confidence gate's thresholds by task, and print the lines for a policy."""
    from turnout_server.completion.gates.confidence_fit import fit_thresholds
    from turnout_server.completion.gates.graded_answers import read_graded

    share = parse_share("--max-wrong", max_wrong)
    if not 0 < share < 1:
        fail([f"--max-wrong: {max_wrong}, limits: above 0% and below 100%"], MISUSED)
    with failing():
        rows = read_graded(data)
        checked = None if check is None else read_graded(check)
        fitted = _rounded(fit_thresholds(rows, share, min_rows))
    if fitted.default is None:
        fail([f"{data}: {len(rows)} answers, at least {min_rows} needed (--min-rows)"])
    figures = {"fitted": measure(rows, fitted)}
    _print("on the answers that the thresholds were fitted to", figures["fitted"])
    if checked is not None:
        figures["checked"] = measure(checked, fitted)
        _print(f"on {check}, which they have not seen", figures["checked"])
    lines = to_yaml(fitted)
    typer.echo("paste under a policy of the policy file:\n")
    typer.echo("\n".join(f"    {line}" for line in lines) + "\n")
    for task, threshold in fitted.tasks.items():
        if threshold > 1:
            typer.echo(f"{task}: at no confidence is the target kept; every answer escalates")
    if as_json is not None:
        import json

        told = {"default": fitted.default, "tasks": dict(fitted.tasks), **figures, "yaml": lines}
        with failing():
            as_json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measure(rows: Sequence[Graded], thresholds: Thresholds) -> dict[str, dict[str, Any]]:
    """By task, and of all under the empty name: answers, their wrong share, and the same of those that stay."""
    from turnout_server.completion.gates.confidence_fit import upper_bound

    groups: dict[str, list[Graded]] = {"": list(rows)}
    for row in rows:
        groups.setdefault(row.task or "(none)", []).append(row)
    figures = {}
    for task, group in sorted(groups.items()):
        stay = [row for row in group if row.confidence >= (thresholds.for_task(row.task) or 0.0)]
        wrong = sum(not row.right for row in stay)
        figures[task] = {
            "answers": len(group),
            "wrong": sum(not row.right for row in group) / len(group),
            "threshold": None if not task else thresholds.for_task("" if task == "(none)" else task),
            "stay": len(stay) / len(group),
            "wrong_of_those": wrong / len(stay) if stay else None,
            "bound": upper_bound(wrong, len(stay)) if stay else None,
        }
    return figures


def to_yaml(thresholds: Thresholds) -> list[str]:
    """Lines of a policy's `gates`."""
    import json

    lines = ["gates:", "  confidence:", f"    default: {thresholds.default!r}"]
    if thresholds.tasks:
        lines.append("    tasks:")
        # JSON's text is YAML's too, whatever the name.
        lines += [f"      {json.dumps(task)}: {threshold!r}" for task, threshold in thresholds.tasks.items()]
    return lines


def _rounded(thresholds: Thresholds) -> Thresholds:
    """As a policy has them: answers without a task take the default."""
    from turnout_server.completion.gates.confidence_fit import Thresholds

    return Thresholds(
        None if thresholds.default is None else _floor(thresholds.default),
        {task: _floor(value) for task, value in thresholds.tasks.items() if task},
    )


def _floor(value: float) -> float:
    scale = float(10**DIGITS)
    # No less than the least that a policy takes.
    return max(math.floor(value * scale) / scale, 1 / scale)


def _print(title: str, figures: Mapping[str, Mapping[str, Any]]) -> None:
    columns = ("task", "answers", "wrong", "threshold", "stay", "wrong of those", "at most (95%)")
    rows = [
        (
            task or "all",
            str(row["answers"]),
            f"{row['wrong']:.1%}",
            "" if row["threshold"] is None else "none" if row["threshold"] > 1 else f"{row['threshold']}",
            f"{row['stay']:.1%}",
            "-" if row["wrong_of_those"] is None else f"{row['wrong_of_those']:.1%}",
            "-" if row["bound"] is None else f"{row['bound']:.1%}",
        )
        for task, row in figures.items()
    ]
    print_table(title, columns, rows)
