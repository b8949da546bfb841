"""The dated price table: what each model costs at each seller, from a day on.

prices.json in this folder ships with the package. `turnout prices import` renews it from a public list and shows
what would change; prices in a policy file go before it. Dollars stand in it as text, so that they are exact.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from turnout_server.completion.cost import ModelPrice, Rates, RateStep, parse_usd, show_usd

SHIPPED = Path(__file__).with_name("prices.json")
FORMAT = 1


class PriceTableError(ValueError):
    """A price table cannot be used; the message names the file, the place and what is wrong."""


@dataclass(frozen=True)
class Entry:
    """A model at a seller.

    Attributes:
        versions: its prices, the oldest first; only the first may have no date.
        not_covered: units that the seller bills besides tokens of text, such as input_audio: a request that has
            them costs more than the table says.
    """

    versions: tuple[ModelPrice, ...]
    not_covered: tuple[str, ...] = ()

    def at(self, day: datetime.date) -> ModelPrice | None:
        """The price in force on a day; None: the first came later."""
        found = None
        for version in self.versions:
            if version.valid_from is None or version.valid_from <= day.isoformat():
                found = version
        return found


@dataclass(frozen=True)
class Family:
    """The ratio of a model family's tokens to the bundle's word pieces.

    Attributes:
        prefix: how the family's names in the table begin.
        tokens_per_piece: the provider's tokens for one word piece.
        source: what it was measured on.
    """

    prefix: str
    tokens_per_piece: float
    source: str


@dataclass(frozen=True)
class PriceTable:
    """All entries by name, `<seller>/<model>`.

    Attributes:
        source: where the prices come from.
        entries: by name.
        families: ratios of tokens; the longest prefix that fits counts.
    """

    source: str
    entries: Mapping[str, Entry]
    families: tuple[Family, ...] = ()

    def find(self, name: str) -> dict[str, Entry]:
        """Entries that a person may mean: of that name, or of that model at any seller."""
        if name in self.entries:
            return {name: self.entries[name]}
        return {key: entry for key, entry in self.entries.items() if key.partition("/")[2] == name}

    def tokens_per_piece(self, name: str) -> float:
        """The provider's tokens for one word piece; 1 where no family fits."""
        fitting = [family for family in self.families if name.startswith(family.prefix)]
        return max(fitting, key=lambda family: len(family.prefix)).tokens_per_piece if fitting else 1.0


@cache
def shipped_table() -> PriceTable:
    """The table that ships, read once."""
    return read_table(SHIPPED)


def read_table(path: Path) -> PriceTable:
    """Reads a table.

    Raises:
        PriceTableError: the file cannot be read or used.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PriceTableError(f"{path}: {error}") from error
    try:
        return _from_document(document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PriceTableError(f"{path}: {type(error).__name__}: {error}") from error


def write_table(table: PriceTable, path: Path) -> None:
    """Writes a table, a line for each version so that a change is a line; whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.write_text("".join(_lines(table)), encoding="utf-8")
    beside.replace(path)


def _from_document(document: Any) -> PriceTable:
    if document["format"] != FORMAT:
        raise ValueError(f"format: {document['format']!r}, readable: {FORMAT}")
    entries = {}
    for name, given in document["models"].items():
        try:
            versions = tuple(_version(name, version) for version in given["versions"])
            _check_order(versions)
            entries[name] = Entry(versions, tuple(given.get("not_covered", ())))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"models[{name!r}]: {type(error).__name__}: {error}") from error
    return PriceTable(document["source"], entries, tuple(Family(**family) for family in document["families"]))


def _check_order(versions: tuple[ModelPrice, ...]) -> None:
    days = [version.valid_from or "" for version in versions]
    if not versions or days != sorted(set(days)):
        raise ValueError(f"versions valid from {days}, needed: one or more, each later than the one before")
    for day in filter(None, days):
        datetime.date.fromisoformat(day)


def _version(name: str, given: Mapping[str, Any]) -> ModelPrice:
    return ModelPrice(name, given["valid_from"], _steps(given["standard"]), _steps(given.get("batch", ())))


def _steps(given: Any) -> tuple[RateStep, ...]:
    return tuple(
        RateStep(
            step.get("above", -1),
            Rates(**{key: parse_usd(value) for key, value in step.items() if key != "above"}),
        )
        for step in given
    )


def _lines(table: PriceTable) -> Iterator[str]:
    yield "{\n"
    yield f' "format": {FORMAT},\n "source": {json.dumps(table.source)},\n "families": [\n'
    yield ",\n".join(
        "  "
        + json.dumps(
            {"prefix": one.prefix, "tokens_per_piece": one.tokens_per_piece, "source": one.source},
            ensure_ascii=False,
        )
        for one in table.families
    )
    yield '\n ],\n "models": {\n'
    yield ",\n".join(_entry_lines(name, entry) for name, entry in sorted(table.entries.items()))
    yield "\n }\n}\n"


def _entry_lines(name: str, entry: Entry) -> str:
    versions = ",\n".join("   " + json.dumps(_show_version(version)) for version in entry.versions)
    more = f', "not_covered": {json.dumps(entry.not_covered)}' if entry.not_covered else ""
    return f'  {json.dumps(name)}: {{"versions": [\n{versions}]{more}}}'


def _show_version(version: ModelPrice) -> dict[str, Any]:
    shown: dict[str, Any] = {"valid_from": version.valid_from, "standard": _show_steps(version.standard)}
    if version.batch:
        shown["batch"] = _show_steps(version.batch)
    return shown


def _show_steps(steps: tuple[RateStep, ...]) -> list[dict[str, Any]]:
    shown = []
    for step in steps:
        rates = {
            field.name: show_usd(value)
            for field in fields(Rates)
            if (value := getattr(step.rates, field.name)) is not None
        }
        shown.append(rates if step.above == -1 else {"above": step.above, **rates})
    return shown
