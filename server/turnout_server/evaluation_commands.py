"""`turnout evaluate` and `turnout gate`: what a bundle is worth on labelled traffic, and whether it may have it.

What they need is imported when they run: serving loads none of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout_server.command_line import (
    FAILED,
    MISUSED,
    BundleArgument,
    PolicyOption,
    bundle_folder,
    fail,
    failing,
    parse_numbers,
    parse_share,
    print_table,
    progress,
    stages,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from turnout_fastpath import Engine
    from turnout_fastpath.training.evaluation.decided_rows import DecidedRows
    from turnout_fastpath.training.evaluation.gating import Cell
    from turnout_fastpath.training.labelled_data import LabelledData
    from turnout_fastpath.training.tiers import Tier

# In place of a bundle to compare with: everything to the top tier.
TOP = "top"

DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Labelled rows: Parquet or JSON Lines, as `turnout train` takes."),
]
TiersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tiers",
        metavar="TIERS",
        help="Cheapest first: small=modelA,modelB, once for each tier of the policy; without it, columns are tiers.",
    ),
]
PricesOption = Annotated[
    str | None,
    typer.Option(
        "--prices",
        metavar="PRICES",
        help="Cost of a request by tier, small=1,frontier=12; without it, recorded costs, else the policy's estimates.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(evaluate)
    app.command()(gate)


def evaluate(
    bundle: BundleArgument,
    data: DataArgument,
    *,
    tiers: TiersOption = None,
    policy: PolicyOption = None,
    prices: PricesOption = None,
    quality: Annotated[
        str, typer.Option("--quality", metavar="SHARE", help="Of the top tier's score, for savings.")
    ] = "97%",
    split: Annotated[
        str,
        typer.Option(
            "--split",
            metavar="SPLIT",
            help="given: BUNDLE as it is. in-domain, unseen-subject, leave-one-family-out: train anew without each part, "
            "and measure on it, by bars and not by the policy.",
        ),
    ] = "given",
    families: Annotated[
        list[str] | None,
        typer.Option("--family", metavar="NAME=SOURCES", help="Sources that are one family: gsm8k=a,b."),
    ] = None,
    replicates: Annotated[int, typer.Option("--replicates", help="Draws of the bootstrap.", min=100)] = 1000,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure to a file.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", metavar="FOLDER", help="Write plots as SVG.")
    ] = None,
) -> None:
    """Measure a bundle and a policy on labelled rows, beside the baselines."""
    share = parse_share("--quality", quality)
    priced = None if prices is None else parse_numbers("--prices", prices)
    with failing():
        import numpy as np
        from turnout_fastpath.training.evaluation.evaluate import evaluate as measure
        from turnout_fastpath.training.evaluation.retrained import Split, decide_retrained, learns_all
        from turnout_fastpath.training.evaluation.seen_rows import SeenRows, find_seen

        from turnout_server.evaluation_view import print_evaluation

        if split not in list(Split):
            fail([f"--split: {split!r}, known: {', '.join(Split)}"], MISUSED)
        chosen = Split(split)
        rows, own = _read(data, tiers)
        engine = _engine(bundle, policy)
        with progress("deciding", len(rows)) as advance:
            decided = _decide(engine, rows, own, advance)
        seen = find_seen(engine.snapshot.bundle, rows)
        if chosen is not Split.GIVEN:
            start = bundle_folder(bundle)
            named = _families(families or [])
            with stages() as begin:
                decided = decide_retrained(
                    rows,
                    own,
                    chosen,
                    decided,
                    families=named,
                    start=start,
                    report=_note,
                    stages=begin,
                )
            if learns_all(rows, chosen, named, start):
                seen = SeenRows(np.zeros(len(rows), np.bool_), True)
        with progress("measuring") as advance:
            found = measure(
                engine,
                rows,
                own,
                decided,
                seen,
                prices=priced,
                quality=share,
                replicates=replicates,
                report=lambda _: advance(1),
            )
        print_evaluation(found, chosen)
        if json_file is not None:
            _write_json(json_file, {"command": "evaluate", "split": chosen.value, **found.to_json()})
        if plots is not None:
            from turnout_fastpath.training.evaluation.plots import write_plots

            for path in write_plots(found, plots):
                typer.echo(f"wrote {path}")


def gate(
    bundle: BundleArgument,
    data: DataArgument,
    *,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="CURRENT",
            help="The bundle that decides now, default, or top: all to the top tier.",
        ),
    ],
    tiers: TiersOption = None,
    policy: PolicyOption = None,
    prices: PricesOption = None,
    delta: Annotated[
        float, typer.Option("--delta", help="How much mean score a task may lose, 0 to 1.", min=0, max=1)
    ] = 0.02,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="Pass tasks that have too few rows to tell.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Where the record goes; without it, beside BUNDLE."),
    ] = None,
) -> None:
    """Judge, task by task, whether a bundle may take the current one's place; exit status 1 if it may not."""
    import datetime

    priced = None if prices is None else parse_numbers("--prices", prices)
    with failing():
        import dataclasses

        from turnout_fastpath.training.evaluation.evaluate import costs_of
        from turnout_fastpath.training.evaluation.gating import judge, passes
        from turnout_fastpath.training.evaluation.seen_rows import find_seen
        from turnout_fastpath.training.tiers import label_tiers

        from turnout_server.gate_record import GateRecord, record_path, write_record

        rows, own = _read(data, tiers)
        engine = _engine(bundle, policy)
        seen = find_seen(engine.snapshot.bundle, rows)
        if line := seen.describe():
            _note(f"warning: {line}" + ("; they are left out" if seen.seen.any() else ""))
        if seen.seen.all():
            fail(["no row is left: a gate needs rows that the bundle was not trained on"])
        rows = rows.take(~seen.seen)
        current = None if against == TOP else _engine(against, policy)
        with progress("deciding", len(rows) * (1 if current is None else 2)) as advance:
            decided = _decide(engine, rows, own, advance)
            before = None if current is None else _decide(current, rows, own, advance)
        labels = label_tiers(rows, own)
        labels = dataclasses.replace(labels, costs=costs_of(labels, decided, priced))
        cells = judge(
            labels,
            decided,
            before,
            _tasks(rows, decided if before is None else before),
            rows.groups,
            rows.weights / rows.propensities,
            delta=delta,
        )
        passed = passes(cells, allow_undecided=allow_undecided)
        reasons = [f"{cell.task}: {cell.verdict}: {cell.reason}" for cell in cells]
        if not cells:
            reasons = ["no scored row is sent below the top tier: there is nothing to judge"]
        outcome = GateRecord(
            bundle_revision=engine.snapshot.bundle.revision.hex(),
            against_revision=TOP if current is None else current.snapshot.bundle.revision.hex(),
            policy_revision=engine.snapshot.policies.revision.hex(),
            data_sha256=rows.sha256,
            rows=sum(cell.rows for cell in cells),
            delta=delta,
            passed=passed,
            reasons=tuple(reasons),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        place = record_path(engine.snapshot.bundle.path) if record is None else record
        write_record(outcome, place)
        _print_cells(cells)
        for reason in reasons:
            typer.echo(reason)
        typer.echo(f"{'passed' if passed else 'not passed'}; wrote {place}")
    if not passed:
        raise typer.Exit(FAILED)


def _read(path: Path, tiers: Sequence[str] | None) -> tuple[LabelledData, tuple[Tier, ...]]:
    import numpy as np
    from turnout_fastpath.training.labelled_data import read_labelled_data
    from turnout_fastpath.training.tiers import parse_tiers, tiers_of

    given = parse_tiers(tiers) if tiers else ()
    with progress(f"reading {path.name}") as advance:
        rows = read_labelled_data(path, progress=advance)
    has_text = np.array([request is not None for request in rows.requests])
    if not has_text.all():
        _note(f"warning: {int((~has_text).sum()):,} rows have a stored vector and no text; they are left out")
    if not has_text.any():
        raise rows.defect("no row has text, needed: text, which is decided", column="prompt")
    rows = rows.take(has_text)
    return rows, tiers_of(rows, given)


def _engine(bundle: str, policy: Path | None) -> Engine:
    from turnout_fastpath import Engine, StateBlock

    from turnout_server.reloading import Source

    source = Source(policy, bundle_folder(bundle))
    return Engine(source.compile(StateBlock()))


def _decide(engine: Engine, rows: LabelledData, tiers: Sequence[Tier], advance: Any) -> DecidedRows:
    from turnout_fastpath.training.evaluation.decided_rows import decide_rows

    return decide_rows(engine, rows, tiers, advance)


def _tasks(rows: LabelledData, decided: DecidedRows) -> npt.NDArray[np.str_]:
    """As labelled, else as seen by what decides now."""
    import numpy as np

    named = np.where(rows.tasks == "", decided.tasks, rows.tasks)
    return np.where(named == "", "not judged", named)


def _families(values: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name, equals, sources = value.partition("=")
        if not equals or not sources:
            fail([f"--family: {value!r}, needed: a name and sources, such as gsm8k=a,b"], MISUSED)
        found |= dict.fromkeys(sources.split(","), name)
    return found


def _print_cells(cells: Sequence[Cell]) -> None:
    columns = ("task", "below the top", "groups", "difference", "above", "saved", "verdict")
    print_table(
        "rows sent below the top tier, by task: score against the present decision",
        columns,
        [
            (
                cell.task,
                " ".join(f"{tier} {rows:,}" for tier, rows in cell.tiers.items()),
                f"{cell.groups:,}",
                f"{cell.difference:+.3f}",
                f"{cell.bound:+.3f}",
                "" if math.isnan(cell.saved) else f"{cell.saved:.1%}",
                cell.verdict.value,
            )
            for cell in cells
        ],
    )


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _write_json(path: Path, figures: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    typer.echo(f"wrote {path}")
