"""What upstream calls cost, in whole nano-dollars; no float ever holds money.

A million tokens at R nano-dollars a million cost R nano-dollars, so one token costs R femto-dollars, a whole
number: an attempt's cost is exact in femto-dollars, and rounded to nano-dollars once, half to even. Once an attempt,
because the attempt is what a provider bills: rounding each part would let a hand invoice differ by some nano-dollars,
rounding only sums would make attempts not add up to their request. Half to even, because it leans to neither side
over many attempts, and is what `decimal.Decimal.quantize` does by default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.tokens import TokenCounts

NANO_PER_USD = 1_000_000_000
FEMTO_PER_NANO = 1_000_000


class Processing(StrEnum):
    """How the provider was asked to work, which prices tell apart."""

    STANDARD = "standard"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in nano-dollars a million tokens; None: no such price is known."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is not None and value < 0:
                raise ValueError(f"{entry.name}: {value} nano-dollars, at least 0 needed")


@dataclass(frozen=True, slots=True)
class RateStep:
    """Rates of all of a request's tokens, if it has more input tokens than `above`."""

    above: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What a model costs from a day on.

    Attributes:
        name: the price's name: a key of the table, or of the policy.
        valid_from: first day, as 2026-11-01; None: as far back as is known.
        standard: rates by length of the input; the first step begins above -1, so that each length has one.
        batch: the same for batch processing; empty: no such price is known.
        version: the day and a hash of all that the price says: a number that changes without its day shows.
    """

    name: str
    valid_from: str | None
    standard: tuple[RateStep, ...]
    batch: tuple[RateStep, ...] = ()
    # Made once: every attempt is recorded with it.
    version: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for steps in (self.standard, self.batch):
            starts = [step.above for step in steps]
            if starts != sorted(set(starts)) or (starts and starts[0] != -1):
                raise ValueError(f"{self.name}: steps above {starts}, needed: rising from -1")
        if not self.standard:
            raise ValueError(f"{self.name}: no standard rates")
        object.__setattr__(self, "version", self._version())

    def _version(self) -> str:
        said = {
            "name": self.name,
            "valid_from": self.valid_from,
            "standard": [asdict(step) for step in self.standard],
            "batch": [asdict(step) for step in self.batch],
        }
        digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=6).hexdigest()
        return f"{self.valid_from or 'undated'}.{digest}"

    def rates(self, input_tokens: int, processing: Processing = Processing.STANDARD) -> Rates | None:
        """The rates of a request with so many input tokens; None: there is no price for that processing."""
        steps = self.standard if processing is Processing.STANDARD else self.batch
        return next((step.rates for step in reversed(steps) if input_tokens > step.above), None)


@dataclass(frozen=True, slots=True)
class CostLine:
    """One part of an attempt's cost. A rate of None: the price of the part is not known."""

    part: str
    tokens: int
    rate_nano_per_mtok: int | None

    @property
    def cost_femto(self) -> int | None:
        """Cost in femto-dollars, exact; None: not known."""
        return None if self.rate_nano_per_mtok is None else self.tokens * self.rate_nano_per_mtok


@dataclass(frozen=True, slots=True)
class AttemptCost:
    """What one upstream call cost.

    Attributes:
        purpose: why it was made.
        result: what became of it.
        cost_nano: nano-dollars; None: nothing of the cost is known, which is not zero. Where the price of some parts
            is missing, the cost of the others.
        complete: False if the price of any part is missing.
        estimated: True if the provider's own count is missing, as after an abort.
        price_version: what it was computed with; None: no price.
        lines: the parts that have tokens.
    """

    purpose: Purpose
    result: AttemptResult
    cost_nano: int | None
    complete: bool
    estimated: bool = False
    price_version: str | None = None
    lines: tuple[CostLine, ...] = ()


def attempt_cost(
    tokens: TokenCounts,
    price: ModelPrice | None,
    *,
    purpose: Purpose,
    result: AttemptResult,
    estimated: bool = False,
    processing: Processing = Processing.STANDARD,
) -> AttemptCost:
    """What an upstream call cost.

    Args:
        tokens: what the provider counted, or an estimate.
        price: the price in force when the call was made; None: there is none.
        purpose: why the call was made.
        result: what became of it.
        estimated: whether `tokens` is an estimate.
        processing: how the provider was asked to work.
    """
    rates = None if price is None else price.rates(tokens.input_total, processing)
    lines = tuple(_lines(tokens, rates))
    known = [cost for line in lines if (cost := line.cost_femto) is not None]
    return AttemptCost(
        purpose=purpose,
        result=result,
        # Without tokens the cost is zero at any price.
        cost_nano=round_half_even(sum(known), FEMTO_PER_NANO) if known or not lines else None,
        complete=len(known) == len(lines),
        estimated=estimated,
        price_version=None if price is None else price.version,
        lines=lines,
    )


# What each part of the tokens is billed as; every provider bills reasoning as output.
_RATE_OF_PART = {
    "input_uncached": "input",
    "input_cache_read": "cache_read",
    "input_cache_write_5m": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h",
    "output_text": "output",
    "output_reasoning": "output",
}


def _lines(tokens: TokenCounts, rates: Rates | None) -> list[CostLine]:
    return [
        CostLine(part, count, None if rates is None else getattr(rates, rate))
        for part, rate in _RATE_OF_PART.items()
        if (count := getattr(tokens, part))
    ]


@dataclass(frozen=True, slots=True)
class Subtotal:
    """A sum over attempts.

    Attributes:
        attempts: how many.
        cost_nano: nano-dollars of those whose cost is known.
        incomplete: how many lack a price of some part or of all.
        estimated: how many rest on an estimate.
        unknown: how many of the incomplete ones have no known cost at all.
    """

    attempts: int = 0
    cost_nano: int = 0
    incomplete: int = 0
    estimated: int = 0
    unknown: int = 0

    @property
    def complete(self) -> bool:
        """True if every attempt's cost is known."""
        return not self.incomplete

    @property
    def known_nano(self) -> int | None:
        """Nano-dollars; None if there are attempts and no attempt's cost is known: that is not zero."""
        return None if self.attempts and self.unknown == self.attempts else self.cost_nano

    def __add__(self, other: Subtotal) -> Subtotal:
        return Subtotal(
            self.attempts + other.attempts,
            self.cost_nano + other.cost_nano,
            self.incomplete + other.incomplete,
            self.estimated + other.estimated,
            self.unknown + other.unknown,
        )


@dataclass(frozen=True)
class CostSum:
    """A request's cost, or that of many: sums by purpose and result, from which every total is derived."""

    cells: Mapping[tuple[Purpose, AttemptResult], Subtotal] = field(default_factory=dict)

    @staticmethod
    def of(costs: Iterable[AttemptCost]) -> CostSum:
        """The sum of attempts, in whatever order they come."""
        cells: dict[tuple[Purpose, AttemptResult], Subtotal] = {}
        for cost in costs:
            key = cost.purpose, cost.result
            one = Subtotal(
                attempts=1,
                cost_nano=cost.cost_nano or 0,
                incomplete=not cost.complete,
                estimated=cost.estimated,
                unknown=cost.cost_nano is None,
            )
            cells[key] = cells.get(key, Subtotal()) + one
        return CostSum(cells)

    def by_purpose(self) -> dict[Purpose, Subtotal]:
        """Sums over results."""
        return {purpose: self._sum(purpose, None) for purpose in Purpose if self._has(purpose, None)}

    def by_result(self) -> dict[AttemptResult, Subtotal]:
        """Sums over purposes."""
        return {result: self._sum(None, result) for result in AttemptResult if self._has(None, result)}

    @property
    def total(self) -> Subtotal:
        """All attempts."""
        return self._sum(None, None)

    def __add__(self, other: CostSum) -> CostSum:
        keys = self.cells.keys() | other.cells.keys()
        none = Subtotal()
        return CostSum({key: self.cells.get(key, none) + other.cells.get(key, none) for key in keys})

    def _sum(self, purpose: Purpose | None, result: AttemptResult | None) -> Subtotal:
        return sum(
            (
                cell
                for key, cell in self.cells.items()
                if purpose in (None, key[0]) and result in (None, key[1])
            ),
            Subtotal(),
        )

    def _has(self, purpose: Purpose | None, result: AttemptResult | None) -> bool:
        return any(purpose in (None, key[0]) and result in (None, key[1]) for key in self.cells)


def round_half_even(value: int, unit: int) -> int:
    """The quotient value / unit as the nearest whole number, a half to the even one; all in whole numbers."""
    quotient, rest = divmod(value, unit)
    return quotient + (2 * rest > unit or (2 * rest == unit and quotient % 2 == 1))


def parse_usd(value: str | int | float | Decimal) -> int:
    """Dollars as exact nano-dollars.

    A float is read by its shortest decimal form, which is what stands in the file it came from.

    Raises:
        ValueError: not a number, below zero, or finer than a nano-dollar.
    """
    try:
        nano = Decimal(str(value)).scaleb(9)
        whole = int(nano)
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(f"{str(value)[:60]!r} is no number of dollars") from None
    if whole < 0:
        raise ValueError(f"{value} dollars, at least 0 needed")
    if whole != nano:
        raise ValueError(f"{value} dollars is finer than the limit of 0.000000001")
    return whole


def show_usd(nano: int) -> str:
    """Nano-dollars as dollars, every digit that is not zero."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    whole, part = divmod(nano, NANO_PER_USD)
    digits = f"{part:09d}".rstrip("0")
    return f"{sign}{whole}.{digits:0<2}"
