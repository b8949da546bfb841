"""The prices that a policy's deployments name, for a given day: the policy's numbers before the table's."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from turnout_server.completion.cost import ModelPrice, Rates, RateStep, parse_usd, show_usd
from turnout_server.planning.price_table import PriceTable, shipped_table

# Fields of a policy's price, and what the table calls them.
_FIELDS = {
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cache_read_usd_per_mtok": "cache_read",
    "cache_write_usd_per_mtok": "cache_write_5m",
    "cache_write_1h_usd_per_mtok": "cache_write_1h",
}
_DEFAULT_TOKENS_PER_PIECE = 1.0


class PriceBook:
    """Exact prices by the key that a deployment names."""

    def __init__(self, prices: Mapping[str, Mapping[str, Any]], table: PriceTable | None = None) -> None:
        """Reads `prices` of a resolved policy document.

        Args:
            prices: by key.
            table: where entries with `table` find their numbers; None: the table that ships.
        """
        self._prices = {key: _read(key, price, table) for key, price in prices.items()}

    def at(self, key: str | None, day: datetime.date) -> ModelPrice | None:
        """The price in force on a day; None: the deployment has none, or its first came later."""
        if key is None or (price := self._prices.get(key)) is None:
            return None
        return price.at(day)


def fill_from_table(
    prices: Mapping[str, dict[str, Any]], table: Callable[[], PriceTable], day: datetime.date
) -> None:
    """Fills in a document what its prices leave to the table, as of a day, for estimates before a call.

    Args:
        prices: of a policy document; changed in place.
        table: gives the table, if any price names it.
        day: the day, where a price pins none.
    """
    for price in prices.values():
        filled = []
        if price["table"] is not None:
            filled = _fill_rates(price, table(), day)
            if price["tokens_per_piece"] is None:
                price["tokens_per_piece"] = table().tokens_per_piece(price["table"])
                filled.append("tokens_per_piece")
        elif price["tokens_per_piece"] is None:
            price["tokens_per_piece"] = _DEFAULT_TOKENS_PER_PIECE
        price["filled_from_table"] = filled


def _fill_rates(price: dict[str, Any], table: PriceTable, day: datetime.date) -> list[str]:
    entry = table.entries[price["table"]]
    # Before its first day an entry is estimated at its first price.
    rates = (entry.at(_pinned(price) or day) or entry.versions[0]).standard[0].rates
    filled = []
    for field, unit in _FIELDS.items():
        value = getattr(rates, unit)
        if price[field] is None and value is not None:
            price[field] = float(show_usd(value))
            filled.append(field)
    return filled


def _pinned(price: Mapping[str, Any]) -> datetime.date | None:
    version = price["version"]
    return None if version is None else datetime.date.fromisoformat(version)


@dataclass(frozen=True)
class _Price:
    """A price of a policy: its own, or the table's with some numbers replaced."""

    versions: Callable[[datetime.date], ModelPrice | None]
    pinned: datetime.date | None
    own: Mapping[str, int]

    def at(self, day: datetime.date) -> ModelPrice | None:
        found = self.versions(self.pinned or day)
        if found is None or not self.own:
            return found
        return replace(
            found,
            standard=tuple(RateStep(step.above, replace(step.rates, **self.own)) for step in found.standard),
        )


def _read(key: str, price: Mapping[str, Any], table: PriceTable | None) -> _Price:
    filled = price.get("filled_from_table", ())
    own = {
        unit: parse_usd(price[field])
        for field, unit in _FIELDS.items()
        if price.get(field) is not None and field not in filled
    }
    if (name := price.get("table")) is not None:
        entry = (table or shipped_table()).entries[name]
        return _Price(entry.at, _pinned(price), own)
    fixed = ModelPrice(key, price["version"], (RateStep(-1, Rates(**own)),))
    return _Price(lambda _: fixed, None, {})
