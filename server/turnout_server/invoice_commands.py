"""`turnout invoice`: a request's bill, computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout_server.command_line import JsonOption
from turnout_server.store_commands import StoreOption, fail, open_engine, place_in_force

if TYPE_CHECKING:
    from turnout_server.quality.invoice import Invoice, InvoiceLine


def invoice(
    decision_id: Annotated[str, typer.Argument(help="The decision's id.")],
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute a request's bill again from its stored attempts; fails where it differs from what was recorded."""
    from sqlalchemy.exc import SQLAlchemyError

    from turnout_server.quality.invoice import make_invoice
    from turnout_server.quality.store.reading import read_costs

    place = place_in_force(store)
    engine = open_engine(place, read_only=True)
    try:
        with engine.begin() as connection:
            costs = read_costs(connection, decision_id)
    except SQLAlchemyError as error:
        fail(f"{place}: {getattr(error, 'orig', None) or error}")
    if not costs:
        fail(f"no costs of decision {decision_id!r} in {place}")
    made = make_invoice(costs)
    if as_json:
        import json

        typer.echo(json.dumps(_to_json(decision_id, made), indent=2))
    else:
        _print(made)
    if not made.agrees:
        raise typer.Exit(1)


def _print(made: Invoice) -> None:
    for line in made.lines:
        recorded = line.recorded
        notes = [
            note
            for note, told in (("estimated", recorded.estimated), ("incomplete", not recorded.complete))
            if told
        ]
        typer.echo(
            f"{recorded.attempt_id}  {recorded.purpose} {recorded.result}  {recorded.deployment}  "
            f"price {recorded.price_version or 'none'}" + (f"  ({', '.join(notes)})" if notes else "")
        )
        for part in line.computed.lines if line.computed else ():
            rate = (
                "no price" if part.rate_nano_per_mtok is None else f"{_usd(part.rate_nano_per_mtok)} $/Mtok"
            )
            typer.echo(f"    {part.tokens:>10} {part.part:<22} {rate}")
        typer.echo(f"    recorded {_usd(recorded.cost_nano)} $, computed {_computed(line)}")
    for name, sums in (("purpose", made.sums.by_purpose()), ("result", made.sums.by_result())):
        shown = ", ".join(f"{key} {_usd(subtotal.known_nano)} $" for key, subtotal in sums.items())
        typer.echo(f"by {name}: {shown}")
    total = made.sums.total
    typer.echo(
        f"total {_usd(total.known_nano)} $ of {len(made.lines)} attempts"
        + (f", {total.incomplete} incomplete" if total.incomplete else "")
        + (f", {total.estimated} estimated" if total.estimated else "")
        + (": agrees" if made.agrees else f": DIFFERS, recorded {_usd(made.recorded_nano)} $")
    )


def _computed(line: InvoiceLine) -> str:
    if line.computed is None:
        return "not possible: the store does not have that price"
    return f"{_usd(line.computed.cost_nano)} $" + ("" if line.agrees else ": DIFFERS")


def _usd(nano: int | None) -> str:
    from turnout_server.completion.cost import show_usd

    return "unknown" if nano is None else show_usd(nano)


def _to_json(decision_id: str, made: Invoice) -> dict[str, Any]:
    return {
        "decision_id": decision_id,
        "agrees": made.agrees,
        "total_nano": made.sums.total.known_nano,
        "complete": made.sums.total.complete,
        "attempts": [
            {
                "attempt_id": line.recorded.attempt_id,
                "purpose": line.recorded.purpose,
                "result": line.recorded.result,
                "deployment": line.recorded.deployment,
                "price_version": line.recorded.price_version,
                "estimated": line.recorded.estimated,
                "recorded_nano": line.recorded.cost_nano,
                "computed_nano": None if line.computed is None else line.computed.cost_nano,
                "agrees": line.agrees,
            }
            for line in made.lines
        ],
    }
