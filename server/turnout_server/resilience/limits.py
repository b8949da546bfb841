"""How much may be under way at once, and how fast: overall, by account and by deployment.

The rule: a call enters all of its limits or none, and a refusal comes at once, with the time after which it is worth
coming back. What is under way is counted by each worker for itself, against its share of the limit (a worker that dies
takes its count with it, and the shares add up to the limit); rates are exact over all workers (see `rates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from turnout_server.resilience.rates import Rates

# What is under way is over soon, though nobody knows when; drawn anew each time, so that not all come back at once.
RETRY_AFTER_S = (0.05, 0.15)


class LimitKind(StrEnum):
    """Which limit refused."""

    IN_FLIGHT = "in_flight"
    REQUESTS_MINUTE = "requests_minute"
    TOKENS_MINUTE = "tokens_minute"


@dataclass(frozen=True, slots=True)
class Limit:
    """Limits of one account, one deployment, or all together; None: none.

    Attributes:
        in_flight: calls under way at once, of this worker.
        requests_minute: calls a minute, of all workers.
        tokens_minute: input and output tokens a minute, of all workers.
    """

    in_flight: int | None = None
    requests_minute: int | None = None
    tokens_minute: int | None = None

    def __post_init__(self) -> None:
        for name in ("in_flight", "requests_minute", "tokens_minute"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, at least 1 needed")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not let in.

    Attributes:
        scope: the name of the account or deployment.
        kind: which of its limits.
        limit: its value.
        retry_after_s: when it is worth coming back; None: never, the call alone is more than the limit.
    """

    scope: str
    kind: LimitKind
    limit: int
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A call that was let in; left once, with `Limits.leave` or `Limits.undo`.

    Attributes:
        scopes: whose calls under way it is one of.
        tokens: its estimate.
        taken: rates by name, what was taken of each, and its limit a minute.
    """

    scopes: tuple[str, ...]
    tokens: int
    taken: tuple[tuple[str, int, int], ...] = ()


class Limits:
    """The limits of one worker.

    Attributes:
        in_flight: calls under way, by scope.
    """

    def __init__(self, limits: Mapping[str, Limit], rates: Rates, random: Random) -> None:
        """Limits by scope; a scope that has none is not counted."""
        self._limits = dict(limits)
        self._rates = rates
        self._random = random
        self.in_flight = dict.fromkeys(self._limits, 0)

    def use(self, limits: Mapping[str, Limit]) -> None:
        """Holds to other limits from now on; what is under way and what was taken stays counted.

        What is under way in a scope that had no limit is not known, and so lets in more until it has ended.
        """
        self._limits = dict(limits)
        for scope in limits:
            self.in_flight.setdefault(scope, 0)

    def has_room(self, scopes: Sequence[str], tokens: int) -> bool:
        """True if a call would be let in now."""
        entered = self.enter(scopes, tokens)
        if isinstance(entered, Refusal):
            return False
        self.undo(entered)
        return True

    def enter(self, scopes: Sequence[str], tokens: int) -> Entry | Refusal:
        """Lets a call in, or says which limit refuses it.

        Args:
            scopes: the names whose limits hold: overall, the account, the deployment.
            tokens: an estimate of the input and output tokens.
        """
        held = [(scope, self._limits[scope]) for scope in scopes if scope in self._limits]
        for scope, limit in held:
            if limit.in_flight is not None and self.in_flight[scope] >= limit.in_flight:
                wait_s = self._random.uniform(*RETRY_AFTER_S)
                return Refusal(scope, LimitKind.IN_FLIGHT, limit.in_flight, wait_s)
        taken: list[tuple[str, int, int]] = []
        for scope, limit in held:
            for kind, amount, per_minute in (
                (LimitKind.REQUESTS_MINUTE, 1, limit.requests_minute),
                (LimitKind.TOKENS_MINUTE, tokens, limit.tokens_minute),
            ):
                if per_minute is None:
                    continue
                name = f"{kind} {scope}"
                wait_s_or_never = self._rates.take(name, amount, per_minute)
                if wait_s_or_never == 0:
                    taken.append((name, amount, per_minute))
                    continue
                self._give_back(taken)
                return Refusal(scope, kind, per_minute, wait_s_or_never)
        for scope, _ in held:
            self.in_flight[scope] += 1
        return Entry(tuple(scope for scope, _ in held), tokens, tuple(taken))

    def leave(self, entry: Entry, tokens: int | None = None) -> None:
        """The call has ended; `tokens` that it used, None: as estimated."""
        for scope in entry.scopes:
            self.in_flight[scope] -= 1
        if tokens is None:
            return
        for name, amount, per_minute in entry.taken:
            if name.startswith(LimitKind.TOKENS_MINUTE):
                self._rates.correct(name, amount, tokens, per_minute)

    def undo(self, entry: Entry) -> None:
        """The call was not made after all."""
        for scope in entry.scopes:
            self.in_flight[scope] -= 1
        self._give_back(entry.taken)

    def _give_back(self, taken: Sequence[tuple[str, int, int]]) -> None:
        for name, amount, per_minute in taken:
            self._rates.correct(name, amount, 0, per_minute)


def share_of(limit: int, workers: int, index: int) -> int:
    """A worker's share of a limit; the shares add up to it, but each worker has at least 1.

    Args:
        limit: of the machine.
        workers: how many there are.
        index: of this one, from 0.
    """
    return max(1, limit // workers + (index < limit % workers))
