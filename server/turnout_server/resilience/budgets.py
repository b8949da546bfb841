"""The terms of budgets: whose they are, what they limit, and what is told of one that is spent.

Money is integer nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from turnout_server.resilience.periods import Period, day_of, month_of

# Below 2^54 nano-dollars, 18,014,398 US dollars.
MOST_NANO_USD = (1 << 54) - 1


class ScopeKind(StrEnum):
    """Whose budget it is."""

    TENANT = "tenant"
    POLICY = "policy"
    PURPOSE = "purpose"
    """Calls of a policy that answer nobody, such as its judge's."""
    OTHER_TENANTS = "other_tenants"
    """All that have no budget of their own. Each has a counter; this scope's own only says since when."""


class Scope(NamedTuple):
    """A tenant, a policy or a purpose, by name."""

    kind: ScopeKind
    name: str


OTHER_TENANTS = Scope(ScopeKind.OTHER_TENANTS, "")


class BudgetKind(StrEnum):
    """Which part of a budget is spent."""

    SPEND_DAY = "spend_day"
    SPEND_MONTH = "spend_month"
    TOKENS_MINUTE = "tokens_minute"
    REQUESTS_MINUTE = "requests_minute"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one scope; None: none.

    Attributes:
        day_nano_usd: spend a UTC day.
        month_nano_usd: spend a UTC month.
        tokens_minute: input and output tokens a minute.
        requests_minute: requests a minute.
    """

    day_nano_usd: int | None = None
    month_nano_usd: int | None = None
    tokens_minute: int | None = None
    requests_minute: int | None = None

    def __post_init__(self) -> None:
        for name in ("day_nano_usd", "month_nano_usd"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= MOST_NANO_USD:
                raise ValueError(f"{name} is {value}, 0 to {MOST_NANO_USD} needed")


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Why nothing was reserved.

    Attributes:
        scope: whose budget.
        kind: which part of it.
        limit: its value, in nano-dollars, tokens or requests.
        left: what is left of it, in the same unit; 0 where nobody knows.
        window_s: the length of its period in seconds.
        retry_after_s: when it is worth coming back; None: never, the request alone is more than the limit.
        no_room: True: the state block has no room for the budget's counter.
    """

    scope: Scope
    kind: BudgetKind
    limit: int
    left: int
    window_s: int
    retry_after_s: float | None
    no_room: bool = False


class Settled(NamedTuple):
    """What records have of a scope, settled before a time and not before the one of the part in front of it.

    Attributes:
        before_ns: Unix nanoseconds.
        day_nano_usd: of the day.
        month_nano_usd: of the month.
    """

    before_ns: int
    day_nano_usd: int
    month_nano_usd: int


class BudgetSource(Protocol):
    """Whose budget is what; a mapping will do."""

    def get(self, scope: Scope, /) -> Budget | None:
        """The budget of a scope; None: it has none."""


class Elsewhere(Protocol):
    """What other machines spend of the same budgets, as far as is known; advisory."""

    def spent(self, name: str, period: Period) -> int:
        """What the others have spent of a counter; 0 when that is not known."""

    def note(self, name: str, period: Period, amount: int) -> None:
        """So much was spent on the machine itself."""


class Nowhere:
    """There is one machine."""

    def spent(self, name: str, period: Period) -> int:
        """Nothing."""
        return 0

    def note(self, name: str, period: Period, amount: int) -> None:
        """Tells nobody."""


PERIODS = {BudgetKind.SPEND_DAY: day_of, BudgetKind.SPEND_MONTH: month_of}


def spend_limits(budget: Budget) -> list[tuple[BudgetKind, int]]:
    """The limits of dollars that a budget has, in nano-dollars."""
    limits = (
        (BudgetKind.SPEND_DAY, budget.day_nano_usd),
        (BudgetKind.SPEND_MONTH, budget.month_nano_usd),
    )
    return [(kind, limit) for kind, limit in limits if limit is not None]


def spend_limits_at(budget: Budget, now_ms: int) -> list[tuple[BudgetKind, int, Period]]:
    """The same, with the period of each in which a time is, Unix milliseconds."""
    return [(kind, limit, PERIODS[kind](now_ms)) for kind, limit in spend_limits(budget)]


def counter_name(scope: Scope, kind: BudgetKind) -> str:
    """The name of a budget's counter in the state block, and among machines."""
    return f"{kind} {scope.kind} {scope.name}"
