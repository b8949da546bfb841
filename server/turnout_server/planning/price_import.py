"""The public list of the PyPI package genai-prices, as a price table; its data ships in its wheel.

Only what a token of text costs is taken. A model whose price depends on the hour of the day, or has a charge for each
request, is left out: a missing price marks a cost as incomplete, a wrong one is a wrong bill.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from turnout_server.completion.cost import ModelPrice, Rates, RateStep, parse_usd
from turnout_server.planning.price_table import Entry, PriceTable

# Sellers that an adapter can call as they are, or by an OpenAI-compatible address.
SELLERS = (
    "anthropic",
    "azure",
    "cerebras",
    "deepseek",
    "fireworks",
    "google",
    "groq",
    "mistral",
    "openai",
    "together",
    "x-ai",
)

_UNITS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
}
# Charges for tools that a call has to ask for by name, which no adapter does.
_OPTIONAL = frozenset({"web_searches_kcount", "storage_searches_kcount"})
_UNBILLABLE = frozenset({"requests_kcount"})
_BATCH = {"processing": "batch"}


def import_table(
    providers: Iterable[Any], source: str, sellers: Iterable[str] = SELLERS
) -> tuple[PriceTable, dict[str, str]]:
    """Reads the list.

    Args:
        providers: `genai_prices.data.providers`.
        source: what the table says of its source, such as the package and its version.
        sellers: ids of the providers to take.

    Returns:
        the table, and by name the reason of each model that was left out.
    """
    wanted = set(sellers)
    entries: dict[str, Entry] = {}
    left_out: dict[str, str] = {}
    for provider in providers:
        if provider.id not in wanted:
            continue
        for model in provider.models:
            name = f"{provider.id}/{model.id}"
            try:
                entries[name] = _entry(name, model)
            except ValueError as error:
                left_out[name] = str(error)
    return PriceTable(source, entries), left_out


def merge(present: PriceTable, imported: PriceTable, today: datetime.date) -> PriceTable:
    """The present table renewed: history is kept, so that an old bill can be computed again.

    A price that changed without a date in the list is valid from `today`. A model that is no longer listed stays.
    """
    entries = dict(present.entries)
    for name, entry in imported.entries.items():
        before = present.entries.get(name)
        entries[name] = entry if before is None else _renew(before, entry, today)
    return PriceTable(imported.source, entries, present.families)


def _renew(before: Entry, after: Entry, today: datetime.date) -> Entry:
    latest = after.versions[-1]
    listed = {version.valid_from for version in after.versions}
    # A past version that the list no longer tells stays in force in its time.
    kept = [version for version in before.versions if version.valid_from not in listed]
    versions = sorted([*kept, *after.versions], key=lambda version: version.valid_from or "")
    by_day = {version.valid_from: version for version in before.versions}
    for index, version in enumerate(versions):
        known = by_day.get(version.valid_from)
        if known is not None and _rates(known) != _rates(version):
            # Changed under a date that bills were made with.
            versions[index] = known
    current = versions[-1]
    if _rates(current) != _rates(latest):
        day = max(current.valid_from or "", today.isoformat())
        if current.valid_from == day:
            versions.pop()
        versions.append(replace(latest, valid_from=day))
    return Entry(tuple(_without_repeats(versions)), after.not_covered)


def _rates(price: ModelPrice) -> tuple[Any, ...]:
    return price.standard, price.batch


def _entry(name: str, model: Any) -> Entry:
    conditional = model.prices if isinstance(model.prices, list) else None
    days: set[datetime.date | None] = {None}
    dated: list[tuple[datetime.date | None, Any]] = [(None, model.prices)]
    if conditional:
        dated = [(_start(one.constraint), one.prices) for one in conditional]
    batch = [
        (_start(variant.constraint), variant.prices)
        for variant in model.price_variants or ()
        if variant.when == _BATCH
    ]
    days.update(day for day, _ in [*dated, *batch])
    versions = []
    for day in sorted(days, key=lambda day: day or datetime.date.min):
        standard = _in_force(dated, day)
        if standard is None:
            continue
        units = _units(standard)
        changed = _in_force(batch, day)
        versions.append(
            ModelPrice(
                name,
                None if day is None else day.isoformat(),
                _rate_steps(units),
                _rate_steps({**units, **_units(changed)}) if changed is not None else (),
            )
        )
    if not versions:
        raise ValueError("no price")
    others = {
        unit.removesuffix("_mtok")
        for _, prices in dated
        for unit in _told(prices)
        if unit not in _UNITS and unit not in _OPTIONAL
    }
    return Entry(tuple(_without_repeats(versions)), tuple(sorted(others)))


def _start(constraint: Any) -> datetime.date | None:
    if constraint is None:
        return None
    start = getattr(constraint, "start_date", None)
    if not isinstance(start, datetime.date):
        raise ValueError("the price depends on the hour of the day")
    return start


def _in_force(dated: list[tuple[datetime.date | None, Any]], day: datetime.date | None) -> Any:
    found = None
    for start, prices in dated:
        if start is None or (day is not None and start <= day):
            found = prices
    return found


def _told(prices: Any) -> dict[str, Any]:
    return {
        key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")
    }


def _units(prices: Any) -> dict[str, Any]:
    told = _told(prices)
    if charged := told.keys() & _UNBILLABLE:
        raise ValueError(f"a charge beside tokens: {', '.join(sorted(charged))}")
    return {_UNITS[key]: value for key, value in told.items() if key in _UNITS}


def _rate_steps(units: Mapping[str, Any]) -> tuple[RateStep, ...]:
    if missing := {"input", "output"} - units.keys():
        raise ValueError(f"no price of {' and '.join(sorted(missing))} tokens")
    starts = {step.start for value in units.values() for step in getattr(value, "tiers", ())}
    return tuple(
        RateStep(above, Rates(**{unit: _price(value, above) for unit, value in units.items()}))
        for above in (-1, *sorted(starts))
    )


def _price(value: Any, above: int) -> int:
    """The list's steps, as ours, hold for requests with more input tokens than their start."""
    if isinstance(value, Decimal):
        return parse_usd(value)
    price = value.base
    for step in value.tiers:
        if step.start <= above:
            price = step.price
    return parse_usd(price)


def _without_repeats(
    versions: Iterable[ModelPrice], same: Callable[[ModelPrice], Any] = _rates
) -> Iterable[ModelPrice]:
    last: Any = None
    for version in versions:
        if same(version) != last:
            yield version
        last = same(version)
