"""`turnout train` and `turnout calibrate`: a router that learns from its user's own traffic.

What they need is imported when they run: serving loads none of it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from turnout_fastpath.training.bar_check import Checked
    from turnout_fastpath.training.bars import Outcome, Solution, Traffic, Wish
    from turnout_fastpath.training.bundle_report import HeadResult
    from turnout_fastpath.training.labelled_data import LabelledData
    from turnout_fastpath.training.recalibrating import HeadReport

FAILED = 1
MISUSED = 2
# In place of a folder: the bundle that ships.
SHIPPED = "default"
PIPE_COLUMNS = 120
# Models whose names are printed.
LISTED = 8

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="Labelled rows: Parquet or JSON Lines; see docs/training.md.")
]
TiersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tiers",
        metavar="TIERS",
        help="Cheapest first: small,mid,frontier where columns are named as tiers, or small=modelA,modelB, once for each "
        "tier. The last is the reference. Without it, tiers are told by the columns' names.",
    ),
]
JsonFileOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write every figure to a file.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(train)
    app.command()(calibrate)


def train(
    data: DataArgument,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Folder of the new bundle.")],
    tiers: TiersOption = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="BUNDLE", help="Start from this bundle; default: the one that ships."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="FOLDER", help="Table of `distil`, or a bundle, for fresh training."),
    ] = None,
    json_file: JsonFileOption = None,
) -> None:
    """Train a bundle on your labelled traffic, calibrate it, verify it and write it."""
    with _failing():
        from turnout_fastpath.bundle import DEFAULT_BUNDLE
        from turnout_fastpath.training.tiers import parse_tiers, tiers_of
        from turnout_fastpath.training.user_bundle import train_bundle

        given = parse_tiers(tiers) if tiers else ()
        rows = _read(data)
        chosen = tiers_of(rows, given)
        _say_what_was_read(rows)
        folder = None if start is None else DEFAULT_BUNDLE if start == SHIPPED else Path(start)
        with _progress("reading requests", len(rows)) as advance:
            result = train_bundle(
                rows, chosen, out, start=folder, table=table, report=typer.echo, progress=advance
            )
    _print_heads(result.heads)
    typer.echo(f"trainer, model and engine agree to {result.agreement:.1e}")
    typer.echo(f"wrote {out}; try: turnout route --bundle {out} '...'")
    _write_json(
        json_file,
        {
            "command": "train",
            "bundle": str(out),
            "tiers": {tier.name: list(tier.models) for tier in chosen},
            "training": result.manifest["training"],
            "heads": [head.figures() for head in result.heads],
            "agreement": result.agreement,
        },
    )


def calibrate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle; default: the one that ships.")],
    data: DataArgument,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="BUNDLE", help="Write the bundle with its new calibration; may be BUNDLE itself."
        ),
    ] = None,
    tiers: TiersOption = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", metavar="FILE", help="Policy to check bars in, and whose prices give costs."
        ),
    ] = None,
    frontier_share: Annotated[
        str | None,
        typer.Option(
            "--frontier-share", metavar="SHARE", help="Most requests that may go to the top: 30% or 0.3."
        ),
    ] = None,
    max_cost_per_1k: Annotated[
        float | None,
        typer.Option("--max-cost-per-1k", metavar="USD", help="Most that a thousand requests may cost."),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            "--quality", metavar="SHARE", help="Least mean score, as a share of the top's: 0.97 or 97%."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Reliability diagram, .svg or .png.")
    ] = None,
    json_file: JsonFileOption = None,
) -> None:
    """Calibrate a bundle on your labelled traffic, and solve a policy's bars for a share, a cost or a quality."""
    with _failing():
        from turnout_fastpath.bundle import load_bundle
        from turnout_fastpath.training.bars import Wish
        from turnout_fastpath.training.recalibrating import (
            rebound,
            recalibrate,
            tiers_for,
            write_recalibrated,
        )
        from turnout_fastpath.training.tiers import parse_tiers

        wish, target = _wish(
            {
                Wish.FRONTIER_SHARE: _share("--frontier-share", frontier_share),
                Wish.MAX_COST_PER_1K: max_cost_per_1k,
                Wish.QUALITY: _share("--quality", quality),
            }
        )
        given = parse_tiers(tiers) if tiers else ()
        loaded = load_bundle(None if bundle == SHIPPED else bundle)
        rows = _read(data, scored=wish in (None, Wish.QUALITY))
        _say_what_was_read(rows)
        if loaded.manifest.get("training", {}).get("data_sha256") == rows.sha256:
            _warn(
                f"{bundle} was trained on {data.name}: its scores fit these rows too well; calibrate on others"
            )
        chosen = tiers_for(loaded, rows, given) if rows.scores.size else ()
        with _progress("reading requests", len(rows)) as advance:
            found = recalibrate(loaded, rows, chosen, advance)
        _print_reliability(found.heads, found.by_task)
        figures: dict[str, Any] = {
            "command": "calibrate",
            "bundle": bundle,
            "heads": [head.figures() for head in found.heads],
            "by_task": [
                {"head": head, "task": task, "labels": n, "ece": ece, "ece_bound": bound}
                for head, task, n, ece, bound in found.by_task
            ],
        }
        if wish is not None:
            calibrated = rebound(found)
            figures["bars"] = _solve(calibrated, rows, found.traffic, wish, target, policy)
        if plot is not None:
            from turnout_fastpath.training.reliability_plot import draw_reliability

            draw_reliability(plot, {head.name: (head.before, head.after) for head in found.heads})
            typer.echo(f"wrote {plot}")
        if out is not None:
            write_recalibrated(found, out)
            typer.echo(f"wrote {out}")
        elif any(head.calibration for head in found.heads):
            typer.echo(
                "the bundle is as it was: --out BUNDLE writes the new calibration, which bars above assume"
            )
    _write_json(json_file, figures)


def _solve(
    bundle: Any, rows: LabelledData, traffic: Traffic, wish: Wish, target: float, policy: Path | None
) -> dict[str, Any]:
    import numpy as np
    from turnout_fastpath.training.bar_check import check_bars, tier_names, with_estimated_costs
    from turnout_fastpath.training.bars import solve

    document = None
    if policy is not None:
        from turnout_server.policy_file import load_policy_file, resolve

        document = resolve(load_policy_file(policy))
        if np.isnan(traffic.mean_costs).any():
            traffic = with_estimated_costs(traffic, bundle, rows, document)
    solution = solve(traffic, wish, target)
    checked = check_bars(bundle, rows, traffic, solution.bars, document)
    names = tier_names(document, traffic.tiers[-1]) if document else {}
    lines = solution.bars.yaml(names)
    typer.echo("\npaste under a policy of the policy file:\n")
    typer.echo("\n".join(f"    {line}" for line in lines.splitlines()) + "\n")
    _print_outcomes(solution, checked, document is not None)
    return {
        "wish": wish.value,
        "target": target,
        "yaml": lines,
        "solved_on": _outcome(solution.within),
        "left_out": _outcome(solution.beyond),
        "engine": _outcome(checked.outcome)
        | {
            "rows": checked.rows,
            "abstained": checked.abstained,
            "disagreements": checked.disagreements,
        },
    }


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Ends the process with one line for each thing that is wrong."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("turnout"):
            raise
        _fail([f"no package {error.name}: the training commands need pip install 'turnout[train]'"])
    except OSError as error:
        _fail([f"{error.filename}: {error.strerror}"])
    except (ValueError, RuntimeError, AssertionError) as error:
        if not type(error).__module__.startswith("turnout") and not isinstance(error, AssertionError):
            raise
        _fail(str(error).splitlines())


def _fail(lines: Sequence[str], code: int = FAILED) -> NoReturn:
    for line in lines:
        typer.echo(f"turnout: {line}", err=True)
    raise typer.Exit(code)


def _warn(text: str) -> None:
    typer.echo(f"turnout: warning: {text}", err=True)


@contextlib.contextmanager
def _progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal's error stream; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(n: int) -> None:
            bar.advance(task, n)

        yield advance


def _read(path: Path, *, scored: bool = True) -> LabelledData:
    from turnout_fastpath.training.labelled_data import read_labelled_data

    with _progress(f"reading {path.name}") as advance:
        return read_labelled_data(path, scored=scored, progress=advance)


def _say_what_was_read(rows: LabelledData) -> None:
    groups = len(set(rows.groups.tolist()))
    named = ", ".join(rows.models[:LISTED]) or "nobody"
    more = f" and {len(rows.models) - LISTED} more" if len(rows.models) > LISTED else ""
    typer.echo(f"{len(rows)} rows in {groups} groups; scores of {named}{more}")
    if rows.ignored:
        typer.echo(f"columns left out: {', '.join(rows.ignored)}")


def _share(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        _fail([f"{option}: {text!r}, needed: a share such as 30% or 0.3, from 0 to 1"], MISUSED)
    return share


def _wish(wishes: Mapping[Wish, float | None]) -> tuple[Wish | None, float]:
    given = [(wish, target) for wish, target in wishes.items() if target is not None]
    if len(given) > 1:
        names = " and ".join(f"--{wish.value.replace('_', '-')}" for wish, _ in given)
        _fail([f"{names}: one wish at a time"], MISUSED)
    return given[0] if given else (None, 0.0)


def _print_heads(heads: Sequence[HeadResult]) -> None:
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


def _print_reliability(
    heads: Sequence[HeadReport], by_task: Sequence[tuple[str, str, int, float, float]]
) -> None:
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


def _print_outcomes(solution: Solution, checked: Checked, within_policy: bool) -> None:
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


def _outcome(one: Outcome) -> dict[str, Any]:
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


def _write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        _fail([f"{path}: {error.strerror}"])
    typer.echo(f"wrote {path}")
