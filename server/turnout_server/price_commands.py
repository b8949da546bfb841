"""`turnout prices ...`: the dated price table."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnout_server.command_line import MISUSED, fail

if TYPE_CHECKING:
    from turnout_server.planning.price_table import PriceTable

app = typer.Typer(name="prices", help="The dated price table.", no_args_is_help=True, rich_markup_mode=None)

TableOption = Annotated[
    Path | None, typer.Option("--table", metavar="FILE", help="Price table; without it, the one that ships.")
]


@app.command("import")
def import_prices(
    write: Annotated[bool, typer.Option("--write", help="Write the table; without it, only show.")] = False,
    sellers: Annotated[
        list[str] | None,
        typer.Option(
            "--seller", metavar="ID", help="A seller to take; repeat it. Without it, the usual ones."
        ),
    ] = None,
    table: TableOption = None,
) -> None:
    """Read the installed package genai-prices, and show what would change in the table.

    Lines begin with + for a version that is new, - for one that is gone, ~ for a note.
    """
    from importlib.metadata import PackageNotFoundError, version

    from turnout_server.planning.price_diff import diff_tables
    from turnout_server.planning.price_import import SELLERS, import_table, merge
    from turnout_server.planning.price_table import SHIPPED, PriceTable, write_table

    try:
        source = f"genai-prices {version('genai-prices')}"
        from genai_prices.data import providers
    except (PackageNotFoundError, ImportError):
        fail(["the package genai-prices is not installed; its wheel holds the price list"])
    if unknown := set(sellers or ()) - (known := {provider.id for provider in providers}):
        fail([f"no seller {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"])
    path = table or SHIPPED
    present = _read(path) if path.exists() else PriceTable("", {})
    imported, left_out = import_table(providers, source, sellers or SELLERS)
    renewed = merge(present, imported, datetime.datetime.now(datetime.UTC).date())
    changes = list(diff_tables(present, renewed))
    for line in changes:
        typer.echo(line)
    for name, reason in left_out.items():
        typer.echo(f"left out {name}: {reason}", err=True)
    typer.echo(f"{len(changes)} changes, {len(renewed.entries)} models, from {source}", err=True)
    if write:
        write_table(renewed, path)
        typer.echo(f"written: {path}", err=True)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A model, or <seller>/<model>.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="DATE", help="The price of that day, as 2026-11-01.")
    ] = None,
    table: TableOption = None,
) -> None:
    """Show what a model costs, in US dollars a million tokens: every version, or the one in force on a day."""
    from turnout_server.planning.price_diff import show_rates
    from turnout_server.planning.price_table import SHIPPED
    from turnout_server.policy_defects import suggest

    prices = _read(table or SHIPPED)
    found = prices.find(model)
    if not found:
        fail([f"no model {model!r} in the price table; {suggest(model, prices.entries)}"])
    try:
        day = None if at is None else datetime.date.fromisoformat(at)
    except ValueError:
        fail([f"--at: {at!r} is not a date of the form 2026-11-01"], MISUSED)
    for name, entry in found.items():
        versions = entry.versions if day is None else tuple(filter(None, [entry.at(day)]))
        for version in versions:
            typer.echo(f"{name} {version.version}: {show_rates(version)}")
        if not versions:
            typer.echo(f"{name}: no price on {day}; the first is from {entry.versions[0].valid_from}")
        if entry.not_covered:
            typer.echo(f"{name}: not covered: {', '.join(entry.not_covered)}")


def _read(path: Path) -> PriceTable:
    from turnout_server.planning.price_table import PriceTableError, read_table

    try:
        return read_table(path)
    except PriceTableError as error:
        fail([str(error)])
