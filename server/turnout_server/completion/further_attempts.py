"""Where a request may go on to after a failure, in view of who is silent and of what its tier may still spend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from turnout_server.completion.attempts import Attempt
from turnout_server.completion.fleet import Fleet
from turnout_server.resilience.retry_budget import Place
from turnout_server.resilience.silence import is_late


class FurtherAttempts:
    """Of one request, in one tier. See `turnout_server.resilience.silence`."""

    def __init__(self, fleet: Fleet, tier: str) -> None:
        """The first attempt comes next, and is free."""
        self._fleet = fleet
        self._budget = fleet.further(tier)
        self._budget.note_request()
        self._late = False
        self._whole = False

    @property
    def after_late_failure(self) -> bool:
        """True if the last failure was long in coming."""
        return self._late

    def note_failure(self, attempt: Attempt) -> None:
        """An attempt has failed."""
        assert attempt.fault is not None
        self._late = is_late(attempt.fault, (attempt.ended_ns - attempt.started_ns) / 1e9)
        # Where first tokens come and answers do not, only a whole answer shows that a deployment is better.
        self._whole = attempt.first_token_ns is not None

    def by_pulse(self, chains: Iterable[Sequence[str]]) -> list[Sequence[str]]:
        """The same chains; in each, who is silent comes last."""
        return [sorted(chain, key=self._is_silent) for chain in chains]

    def open_to(self, chains: Iterable[Sequence[str]]) -> list[Sequence[str]]:
        """What may be called next: in all chains those who are not silent, then those who are."""
        allowed = [[name for name in chain if self.allows(name)] for chain in chains]
        return [
            [name for name in chain if self._is_silent(name) is silent]
            for silent in (False, True)
            for chain in allowed
        ]

    def allows(self, name: str) -> bool:
        """True if a deployment may be called next, for free or in the budget."""
        return self._is_free(name) or self._budget.allows()

    def begin(self, name: str) -> Place | None:
        """The place in the budget that a call takes; None: it takes none."""
        if self._is_free(name) or not self._budget.begin():
            return None
        return Place(self._budget)

    def first_token(self, place: Place | None) -> None:
        """The call that holds a place has its first token."""
        if place is not None and not self._whole:
            place.end(spent=False)

    def allows_hedge(self, name: str) -> bool:
        """True if a deployment may be asked beside one that is slow: one that is alive for free, another in the budget."""
        pulse = self._fleet.pulse(name)
        return pulse.is_alive(whole=False) or (not pulse.is_silent() and self._budget.allows())

    def begin_hedge(self, name: str) -> Place | None:
        """The place in the budget that a hedge takes; None: it takes none."""
        if self._fleet.pulse(name).is_alive(whole=False) or not self._budget.begin():
            return None
        return Place(self._budget)

    def _is_free(self, name: str) -> bool:
        pulse = self._fleet.pulse(name)
        return pulse.is_alive(whole=self._whole) if self._late else not pulse.is_silent()

    def _is_silent(self, name: str) -> bool:
        return self._fleet.pulse(name).is_silent()
