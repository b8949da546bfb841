"""`turnout store ...`: looking after the outcome store."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from turnout_server.command_line import fail as fail_in_lines
from turnout_server.command_line import settings_in_force

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from turnout_server.quality.store.place import Place

app = typer.Typer(name="store", help="The outcome store.", no_args_is_help=True, rich_markup_mode=None)

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="PLACE", help="A file or postgresql://...; without it, the setting in force."
    ),
]


@app.command()
def check(store: StoreOption = None) -> None:
    """Check that the store can be read and is whole, and tell what is in it."""
    from sqlalchemy.exc import SQLAlchemyError

    from turnout_server.quality.store.journal import left_over
    from turnout_server.quality.store.migrations import STEPS, version_of
    from turnout_server.quality.store.reading import count_rows, find_damage

    place = place_in_force(store)
    engine = open_engine(place, read_only=True)
    try:
        with engine.begin() as connection:
            version = version_of(connection)
            if version != len(STEPS):
                fail(
                    f"{place}: schema version {version}, this program reads {len(STEPS)}; `turnout serve` upgrades"
                )
            damage = find_damage(connection)
            counts = count_rows(connection)
    except SQLAlchemyError as error:
        fail(f"{place}: {getattr(error, 'orig', None) or error}")
    for name, count in counts.items():
        typer.echo(f"{name}: {count}")
    if files := left_over(place.journals):
        typer.echo(f"journals of costs, in use or left over: {len(files)}, in {place.journals}")
    aside = _tell_what_is_set_aside(place)
    for line in damage:
        typer.echo(f"turnout: {place}: {line}", err=True)
    if damage or aside:
        raise typer.Exit(1)
    typer.echo(f"ok: {place}, schema version {version}")


@app.command()
def reread(store: StoreOption = None) -> None:
    """Try again the costs that the database has refused; what it takes now goes from the files they were set aside in."""
    from sqlalchemy.exc import SQLAlchemyError

    from turnout_server.quality.store.batches import write_left_over
    from turnout_server.quality.store.refused import read_refused, refused_files, set_aside

    place = place_in_force(store)
    engine = open_engine(place)
    taken = left = 0
    try:
        for path in refused_files(place.journals):
            records = read_refused(path)
            with engine.begin() as connection:
                _, refused = write_left_over(connection, records)
            if len(refused) < len(records):
                # What is left has a file of its own before the old one goes.
                if refused:
                    set_aside(place.journals, refused)
                path.unlink()
            taken, left = taken + len(records) - len(refused), left + len(refused)
    except (SQLAlchemyError, OSError) as error:
        fail(f"{place}: {getattr(error, 'orig', None) or error}")
    finally:
        engine.dispose()
    typer.echo(f"records taken in: {taken}; still refused: {left}")
    if left or _tell_what_is_set_aside(place):
        raise typer.Exit(1)


def _tell_what_is_set_aside(place: Place) -> bool:
    """True if there is any."""
    from turnout_server.quality.store.refused import damaged_files, read_refused, refused_files

    refused, damaged = refused_files(place.journals), damaged_files(place.journals)
    if refused:
        records = sum(len(read_refused(path)) for path in refused)
        typer.echo(
            f"turnout: {place}: {records} costs that the database refused, in {len(refused)} files *.refused of "
            f"{place.journals}; `turnout store reread` tries them again",
            err=True,
        )
    for path in damaged:
        typer.echo(f"turnout: {path}: a damaged journal; what could be read of it is stored", err=True)
    return bool(refused or damaged)


@app.command()
def prune(
    older_than_days: Annotated[
        float, typer.Option("--older-than-days", min=0, help="Age of the detail that goes, in days.")
    ],
    store: StoreOption = None,
) -> None:
    """Delete old detail: decisions, attempts, gates, scores. Costs, prices and counts stay."""
    from sqlalchemy.exc import SQLAlchemyError

    from turnout_server.quality.store import reading

    place = place_in_force(store)
    engine = open_engine(place)
    age = datetime.timedelta(days=older_than_days)
    before = datetime.datetime.now(datetime.UTC) - age
    try:
        with engine.begin() as connection:
            deleted = reading.prune(connection, int(before.timestamp() * 1000))
    except SQLAlchemyError as error:
        fail(f"{place}: {getattr(error, 'orig', None) or error}")
    for name, count in deleted.items():
        typer.echo(f"{name}: {count} deleted")


def place_in_force(told: str | None) -> Place:
    """Where the store lies, by the option or the setting; ends the process if that cannot be used, or is off."""
    from turnout_server.quality.store.place import find_place

    settings = settings_in_force({"store": told}).settings
    try:
        place = find_place(settings.store)
    except ValueError as error:
        fail(f"store: {error}", 2)
    if place is None:
        fail("store: off; nothing is stored", 2)
    return place


def open_engine(place: Place, *, read_only: bool = False) -> Engine:
    """An engine; ends the process if there is no such store."""
    import importlib.util
    from pathlib import Path

    from turnout_server.quality.store.place import make_engine

    if place.is_sqlite:
        if not Path(str(place)).exists():
            fail(f"{place}: no such file")
    elif importlib.util.find_spec("psycopg") is None:
        fail("a store on PostgreSQL needs the package psycopg: install turnout[postgres]")
    return make_engine(place, read_only=read_only)


def fail(message: str, code: int = 1) -> NoReturn:
    """Says what is wrong and ends the process."""
    fail_in_lines(message.splitlines(), code)
