"""One breaker, of a deployment or of an account: closed, open, half open, and one probe at a time.

The rule: closed until the evidence, or the provider's own word, opens it; open for a time; then half open, where one
call at a time, over all processes, is let through as a probe with real traffic. A probe that succeeds closes it, one
that fails opens it again for longer. A Retry-After closes it until the later of the old and the new time, and then it is
as it was. What calls report that began before the last change is not counted.

All of it stands in the state block, so each worker's breaker of the same name is the same breaker: the state is one
word that changes by compare-and-swap, and the probe is a lease that ends by itself should its holder die.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

from turnout_fastpath.breaker_table import BreakerTable

from turnout_server.resilience.breaker_rules import BreakerRules, Cause, Evidence
from turnout_server.resilience.clock import Clock, monotonic_ms

MOST_TRIPS = 63
GENERATIONS = 1 << 14


class Health(StrEnum):
    """Whether calls are let through."""

    CLOSED = "closed"
    """All of them."""
    OPEN = "open"
    """None."""
    HALF_OPEN = "half_open"
    """One at a time."""


class Word(NamedTuple):
    """A breaker's state as it stands in the state block.

    Attributes:
        since_ms: open: until when; closed: since when. Monotonic.
        generation: how often it has changed, modulo 16,384.
        trips: how often in a row it has opened.
        cause: why it is open; NONE: it is closed.
    """

    since_ms: int
    generation: int
    trips: int
    cause: Cause

    @classmethod
    def unpack(cls, word: int) -> Word:
        """From 40, 14, 6 and 4 bits."""
        return cls(word >> 24, word >> 10 & 0x3FFF, word >> 4 & 0x3F, _CAUSES[word & 0xF])

    def pack(self) -> int:
        """To 40, 14, 6 and 4 bits."""
        return self.since_ms << 24 | self.generation << 10 | self.trips << 4 | self.cause


# By number: to look one up costs a tenth of making one.
_CAUSES = {int(cause): cause for cause in Cause}


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make one call, to be handed back with what became of it.

    Attributes:
        generation: the breaker's when the call began.
        lease_ms: the receipt of the probe's lease; 0: it is no probe.
    """

    generation: int
    lease_ms: int = 0


class Breaker:
    """The breaker of a name in the state block."""

    def __init__(
        self, table: BreakerTable, name: str, rules: BreakerRules, clock: Clock, random: Random
    ) -> None:
        """Finds the breaker, or makes it.

        Raises:
            StateError: the block has no room for another.
        """
        self._table = table
        self._slot = table.slot(name)
        self._rules = rules
        self._clock = clock
        self._random = random

    @property
    def word(self) -> Word:
        """The state without its pause."""
        return Word.unpack(self._table.word(self._slot))

    def paused_until_ms(self) -> int:
        """The end of the longest Retry-After; 0 if there never was one."""
        return self._table.paused_until_ms(self._slot)

    def closed_until_ms(self) -> int:
        """Until when no call is let through; 0 or past: calls are."""
        word = self.word
        return max(self.paused_until_ms(), word.since_ms if word.cause is not Cause.NONE else 0)

    def health(self) -> Health:
        """Whether calls are let through now."""
        word = self._table.word(self._slot)
        if not word & 0xF and not self.paused_until_ms():
            # The usual state, of which a request asks often.
            return Health.CLOSED
        if self.closed_until_ms() > monotonic_ms(self._clock):
            return Health.OPEN
        return Health.CLOSED if self.word.cause is Cause.NONE else Health.HALF_OPEN

    def admit(self) -> Ticket | None:
        """Leave for one call: any while it is closed, the probe while it is half open; None otherwise."""
        health = self.health()
        if health is Health.CLOSED:
            return self.ticket()
        if health is Health.OPEN:
            return None
        now_ms = monotonic_ms(self._clock)
        lease_ms = now_ms + int(self._rules.probe_lease_s * 1000)
        generation = self.word.generation
        if not self._table.take_probe(self._slot, now_ms, lease_ms):
            return None
        if self.word.generation != generation:
            # Another's probe has ended between the look and the lease.
            self._table.return_probe(self._slot, lease_ms)
            return None
        return Ticket(generation, lease_ms)

    def ticket(self) -> Ticket:
        """Leave for a call that is made whatever the state is."""
        return Ticket(self.word.generation)

    def succeed(self, ticket: Ticket, *, slow: bool = False, last_resort: bool = False) -> bool:
        """The call has succeeded; True if that changed the state.

        Args:
            ticket: of the call.
            slow: it took longer than it may, which counts against a closed breaker and proves nothing to an open one.
            last_resort: the call was made though the breaker was open, and so is as good as a probe.
        """
        changed = False
        word = self.word
        if word.generation == ticket.generation:
            if word.cause is Cause.NONE:
                changed = self._count(ticket, failed=slow, in_run=not slow)
            elif ticket.lease_ms or last_resort:
                changed = self._close(word) if not slow else self._open_again(ticket)
        self.release(ticket)
        return changed

    def fail(self, ticket: Ticket) -> bool:
        """The call has failed; True if that changed the state."""
        changed = False
        word = self.word
        if word.generation == ticket.generation:
            if word.cause is Cause.NONE:
                changed = self._count(ticket, failed=True, in_run=True)
            else:
                changed = self._open_again(ticket)
        self.release(ticket)
        return changed

    def release(self, ticket: Ticket) -> None:
        """The call has ended in a way that says nothing."""
        if ticket.lease_ms:
            self._table.return_probe(self._slot, ticket.lease_ms)

    def open(self, cause: Cause) -> bool:
        """The provider's word: opens, or stays open until the later of the old and the new time."""
        while True:
            word = self.word
            if self._open(word, cause):
                return True
            if self.word == word:
                return False

    def pause(self, seconds: float) -> None:
        """Lets no call through for so many seconds, at most the rules' longest wait; 0 or no number: as before."""
        if seconds > 0:
            wait_s = min(seconds, self._rules.longest_wait_s)
            self._table.pause(self._slot, monotonic_ms(self._clock) + int(wait_s * 1000))

    def reset(self) -> None:
        """Closes it and forgets everything: the deployment has been set up anew."""
        self._table.unpause(self._slot)
        while (word := self.word).cause is not Cause.NONE and not self._close(word):
            pass
        self._table.forget(self._slot)

    def _count(self, ticket: Ticket, *, failed: bool, in_run: bool) -> bool:
        now_ms = monotonic_ms(self._clock)
        counted = self._table.record(self._slot, now_ms, failed=failed, in_run=in_run)
        if not failed:
            return False
        word = self.word
        if word.generation != ticket.generation or not self._rules.is_sick(Evidence(*counted)):
            return False
        return self._open(word, Cause.FAILURES)

    def _open_again(self, ticket: Ticket) -> bool:
        """A probe has failed; a call that was no probe changes nothing."""
        if not ticket.lease_ms:
            return False
        word = self.word
        return self._open(word, word.cause) if word.cause is not Cause.NONE else False

    def _open(self, word: Word, cause: Cause) -> bool:
        """Opens; False if another process has changed the word, or what is open stays so for longer."""
        now_ms = monotonic_ms(self._clock)
        is_closed = word.cause is Cause.NONE
        still_open = not is_closed and word.since_ms > now_ms
        if is_closed and now_ms - word.since_ms >= self._rules.calm_s * 1000:
            trips = 1
        else:
            trips = word.trips if still_open else min(word.trips + 1, MOST_TRIPS)
        until_ms = now_ms + int(self._rules.open_s(cause, trips, self._random) * 1000)
        if still_open and until_ms <= word.since_ms:
            return False
        after = Word(until_ms, (word.generation + 1) % GENERATIONS, trips, cause)
        return self._table.swap_word(self._slot, word.pack(), after.pack())

    def _close(self, word: Word) -> bool:
        after = Word(monotonic_ms(self._clock), (word.generation + 1) % GENERATIONS, word.trips, Cause.NONE)
        if not self._table.swap_word(self._slot, word.pack(), after.pack()):
            return False
        self._table.forget(self._slot)
        return True
