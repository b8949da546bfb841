"""`turnout train` and `turnout calibrate`: a router that learns from its user's own traffic.

What they need is imported when they run: serving loads none of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout_server.command_line import (
    MISUSED,
    SHIPPED,
    BundleArgument,
    bundle_folder,
    fail,
    failing,
    parse_share,
    progress,
    stages,
    warn,
)
from turnout_server.training_tables import outcome_figures, print_heads, print_outcomes, print_reliability

if TYPE_CHECKING:
    from turnout_fastpath.training.bars import Traffic, Wish
    from turnout_fastpath.training.labelled_data import LabelledData

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
        with stages() as begin:
            result = train_bundle(
                rows, chosen, out, start=folder, table=table, report=typer.echo, stages=begin
            )
    print_heads(result.heads)
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
    bundle: BundleArgument,
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
        loaded = load_bundle(bundle_folder(bundle))
        rows = _read(data, scored=wish in (None, Wish.QUALITY))
        _say_what_was_read(rows)
        if loaded.manifest.get("training", {}).get("data_sha256") == rows.sha256:
            warn(
                f"{bundle} was trained on {data.name}: its scores fit these rows too well; calibrate on others"
            )
        chosen = tiers_for(loaded, rows, given) if rows.scores.size else ()
        with progress("reading requests", len(rows)) as advance:
            found = recalibrate(loaded, rows, chosen, advance)
        print_reliability(found.heads, found.by_task)
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
    print_outcomes(solution, checked, document is not None)
    return {
        "wish": wish.value,
        "target": target,
        "yaml": lines,
        "solved_on": outcome_figures(solution.within),
        "left_out": outcome_figures(solution.beyond),
        "engine": outcome_figures(checked.outcome)
        | {
            "rows": checked.rows,
            "abstained": checked.abstained,
            "disagreements": checked.disagreements,
        },
    }


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """As `failing`; trainer, model and engine that do not agree are wrong too."""
    with failing("the training commands need"):
        try:
            yield
        except AssertionError as error:
            fail(str(error).splitlines())


def _read(path: Path, *, scored: bool = True) -> LabelledData:
    from turnout_fastpath.training.labelled_data import read_labelled_data

    with progress(f"reading {path.name}") as advance:
        return read_labelled_data(path, scored=scored, progress=advance)


def _say_what_was_read(rows: LabelledData) -> None:
    groups = len(set(rows.groups.tolist()))
    named = ", ".join(rows.models[:LISTED]) or "nobody"
    more = f" and {len(rows.models) - LISTED} more" if len(rows.models) > LISTED else ""
    typer.echo(f"{len(rows)} rows in {groups} groups; scores of {named}{more}")
    if rows.ignored:
        typer.echo(f"columns left out: {', '.join(rows.ignored)}")


def _share(option: str, text: str | None) -> float | None:
    return None if text is None else parse_share(option, text)


def _wish(wishes: Mapping[Wish, float | None]) -> tuple[Wish | None, float]:
    given = [(wish, target) for wish, target in wishes.items() if target is not None]
    if len(given) > 1:
        names = " and ".join(f"--{wish.value.replace('_', '-')}" for wish, _ in given)
        fail([f"{names}: one wish at a time"], MISUSED)
    return given[0] if given else (None, 0.0)


def _write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        fail([f"{path}: {error.strerror}"])
    typer.echo(f"wrote {path}")
