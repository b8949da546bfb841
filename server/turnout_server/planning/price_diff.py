"""What a new price table would change, in lines for a reviewer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from turnout_server.completion.cost import ModelPrice, Rates, RateStep, show_usd
from turnout_server.planning.price_table import PriceTable


def diff_tables(present: PriceTable, renewed: PriceTable) -> Iterator[str]:
    """A line for each version that is new or gone, and for each number that moved from the version before.

    The change is told in per cent, since a slip of a decimal point shows there first.
    """
    for name in sorted(present.entries.keys() | renewed.entries.keys()):
        old, new = present.entries.get(name), renewed.entries.get(name)
        if new is None:
            yield f"- {name}"
            continue
        known = {version.version for version in old.versions} if old else set()
        told = {version.version for version in new.versions}
        for version in old.versions if old else ():
            if version.version not in told:
                yield f"- {name} {_day(version)}: {show_rates(version)}"
        before: ModelPrice | None = None
        for version in new.versions:
            if version.version not in known:
                moved = f" ({', '.join(_moves(before, version)) or 'no rate moved'})" if before else ""
                yield f"+ {name} {_day(version)}: {show_rates(version)}{moved}"
            before = version
        if old is not None and old.not_covered != new.not_covered:
            yield f"~ {name} not covered: {', '.join(new.not_covered) or 'nothing'}"


def show_rates(price: ModelPrice) -> str:
    """All of a version's rates on one line, in dollars a million tokens."""
    parts = [_show_steps(price.standard)]
    if price.batch:
        parts.append(f"batch {_show_steps(price.batch)}")
    return "; ".join(parts)


def _show_steps(steps: tuple[RateStep, ...]) -> str:
    shown = []
    for step in steps:
        rates = " ".join(
            f"{field.name} {show_usd(value)}"
            for field in fields(Rates)
            if (value := getattr(step.rates, field.name)) is not None
        )
        shown.append(rates if step.above == -1 else f"above {step.above:,} tokens {rates}")
    return ", ".join(shown)


def _day(version: ModelPrice) -> str:
    return f"from {version.valid_from}" if version.valid_from else "undated"


def _moves(before: ModelPrice, after: ModelPrice) -> Iterator[str]:
    for field in fields(Rates):
        old, new = (getattr(price.standard[0].rates, field.name) for price in (before, after))
        if old == new:
            continue
        if not old or new is None:
            yield f"{field.name} {'none' if new is None else 'new'}"
        else:
            yield f"{field.name} {round(100 * (new - old) / old):+d}%"
