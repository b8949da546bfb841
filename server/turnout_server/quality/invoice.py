"""A decision's bill, computed again from its stored attempts and compared with what was recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from turnout_server.completion.cost import AttemptCost, CostSum, attempt_cost
from turnout_server.quality.store.reading import StoredCost


@dataclass(frozen=True)
class InvoiceLine:
    """An attempt: what was recorded, and what it comes to by the stored tokens and price.

    Attributes:
        recorded: the stored row.
        computed: computed now; None: the price that it was computed with is not stored.
    """

    recorded: StoredCost
    computed: AttemptCost | None

    @property
    def agrees(self) -> bool:
        """True if both come to the same nano-dollar, and to the same completeness."""
        if self.computed is None:
            return False
        return (self.computed.cost_nano, self.computed.complete) == (
            self.recorded.cost_nano,
            self.recorded.complete,
        )


@dataclass(frozen=True)
class Invoice:
    """All attempts of a decision."""

    lines: tuple[InvoiceLine, ...]

    @property
    def agrees(self) -> bool:
        """True if every line does."""
        return all(line.agrees for line in self.lines)

    @property
    def recorded_nano(self) -> int:
        """Sum of what was recorded, as far as it is known."""
        return sum(line.recorded.cost_nano or 0 for line in self.lines)

    @property
    def sums(self) -> CostSum:
        """What was computed, by purpose and result."""
        return CostSum.of(line.computed for line in self.lines if line.computed is not None)


def make_invoice(costs: Iterable[StoredCost]) -> Invoice:
    """Computes every attempt again."""
    return Invoice(tuple(InvoiceLine(cost, _compute(cost)) for cost in costs))


def _compute(cost: StoredCost) -> AttemptCost | None:
    if cost.price is None and cost.price_version is not None:
        return None
    return attempt_cost(
        cost.tokens,
        cost.price,
        purpose=cost.purpose,
        result=cost.result,
        estimated=cost.estimated,
        processing=cost.processing,
    )
