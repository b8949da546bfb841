"""`turnout budget`: what is spent of each budget, by the records of the outcome store."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from turnout_server.command_line import JsonOption, print_table
from turnout_server.store_commands import StoreOption, fail, open_engine, place_in_force

if TYPE_CHECKING:
    from turnout_server.completion.stated_limits import BudgetBook
    from turnout_server.quality.store.spent import Spent


class BudgetLine(NamedTuple):
    """One limit of dollars: whose, of which period, in nano-dollars."""

    scope: str
    name: str
    period: str
    limit_nano: int
    spent_nano: int


def budget(
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Policy file; without it, the setting in force."),
    ] = None,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is spent of each budget of dollars, today and this month (UTC), by what is stored.

    Requests under way are not in it; the server itself counts them too (turnout_budget_left_nano_usd).
    """
    from sqlalchemy.exc import SQLAlchemyError

    from turnout_server.completion.stated_limits import BudgetBook
    from turnout_server.quality.store.spent import read_spent
    from turnout_server.reloading import ConfigurationError, Source
    from turnout_server.resilience.periods import day_of, month_of
    from turnout_server.settings import load_settings

    place = place_in_force(store)
    try:
        book = BudgetBook.of(Source(load_settings({"policy": policy}).settings.policy).document())
    except ConfigurationError as error:
        fail(str(error))
    now_ms = int(datetime.datetime.now(datetime.UTC).timestamp() * 1000)
    engine = open_engine(place, read_only=True)
    try:
        with engine.begin() as connection:
            spent = read_spent(
                connection, day_ms=day_of(now_ms).begins_ms, month_ms=month_of(now_ms).begins_ms
            )
    except SQLAlchemyError as error:
        fail(f"{place}: {getattr(error, 'orig', None) or error}")
    lines = lines_of(book, spent)
    if as_json:
        import json

        typer.echo(json.dumps([line._asdict() for line in lines], indent=2))
    elif not lines:
        typer.echo("no budget of dollars in the policy file")
    else:
        _print(lines)


def lines_of(book: BudgetBook, spent: Spent) -> list[BudgetLine]:
    """A line for each limit: of the budgets that the file names, then of the other tenants that have spent."""
    from turnout_server.quality.store.spent import whole
    from turnout_server.resilience.budgets import ScopeKind

    others = [scope for scope in sorted(spent) if scope.kind is ScopeKind.TENANT and not book.name_of(scope)]
    lines = []
    for scope in [*book.named, *(others if book.other_tenants is not None else ())]:
        found = book.get(scope)
        day, month = whole(spent.get(scope, ()))
        if found is not None and found.day_nano_usd is not None:
            lines.append(BudgetLine(scope.kind, scope.name, "day", found.day_nano_usd, day))
        if found is not None and found.month_nano_usd is not None:
            lines.append(BudgetLine(scope.kind, scope.name, "month", found.month_nano_usd, month))
    return lines


def _print(lines: list[BudgetLine]) -> None:
    from turnout_server.completion.cost import show_usd

    columns = ("of", "name", "period", "limit $", "spent $", "left $", "used")
    print_table(
        "Budgets, by the costs that are stored",
        columns,
        [
            (
                line.scope,
                line.name or "(no tenant named)",
                line.period,
                show_usd(line.limit_nano),
                show_usd(line.spent_nano),
                show_usd(max(0, line.limit_nano - line.spent_nano)),
                f"{line.spent_nano / line.limit_nano:.1%}" if line.limit_nano else "-",
            )
            for line in lines
        ],
    )
