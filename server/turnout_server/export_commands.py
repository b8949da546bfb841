"""`turnout export-training`: labels from the outcome store."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from turnout_server.command_line import FAILED, MISUSED, fail, failing, progress
from turnout_server.store_commands import StoreOption, open_engine, place_in_force


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export_training)


def export_training(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Labels, JSON Lines, as `turnout train` reads.")
    ],
    store: StoreOption = None,
    policy: Annotated[
        str | None, typer.Option("--policy-name", metavar="NAME", help="Only decisions of this policy.")
    ] = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="Only decisions of the last so many days.")
    ] = None,
    sources: Annotated[
        str,
        typer.Option(
            "--sources",
            metavar="SOURCES",
            help="What may score: some of shadow,ensemble,judge,agreement,gates.",
        ),
    ] = "shadow,ensemble,judge,agreement,gates",
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Write the kept vector even where the text is kept.")
    ] = False,
) -> None:
    """Write labels from what the store knows: verdicts of gates, judges and shadows, with their propensities."""
    from sqlalchemy.exc import SQLAlchemyError

    from turnout_server.labels.label_file import write_rows
    from turnout_server.quality.store.outcomes import read_outcomes
    from turnout_server.quality.training_rows import Export, LabelSource, newest_inputs, training_rows

    wanted = [name.strip() for name in sources.split(",") if name.strip()]
    strangers = [name for name in wanted if name not in list(LabelSource)]
    if strangers or not wanted:
        fail([f"--sources: {sources!r}, needed: some of {','.join(LabelSource)}"], MISUSED)
    since_ms = None
    if days is not None:
        since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        since_ms = int(since.timestamp() * 1000)
    place = place_in_force(store)
    engine = open_engine(place, read_only=True)
    export = Export()
    with failing():
        try:
            with engine.begin() as connection, progress("reading decisions") as advance:
                rows = training_rows(
                    connection,
                    read_outcomes(connection, since_ms=since_ms, policy=policy),
                    [LabelSource(name) for name in wanted],
                    export,
                    inputs_revision=newest_inputs(connection),
                    vectors=vectors,
                    advance=advance,
                )
                written = write_rows(out, rows)
        except SQLAlchemyError as error:
            fail([f"{place}: {getattr(error, 'orig', None) or error}"])
        finally:
            engine.dispose()
    for source, count in export.rows.most_common():
        typer.echo(f"{count} rows by {source}")
    if export.unlabelled:
        typer.echo(f"{export.unlabelled} decisions left out: nothing has scored them")
    if export.textless:
        typer.echo(
            f"{export.textless} decisions left out: neither text nor a vector of the newest revision is kept; "
            "`record` of the policy says what is"
        )
    typer.echo(f"wrote {out}: {written} rows")
    if not written:
        raise typer.Exit(FAILED)
