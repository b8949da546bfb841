"""What the scripted service saw of each case."""

from __future__ import annotations

import threading
from dataclasses import dataclass

# Until a service is told that a caller has gone.
TOLD_S = 10.0


@dataclass
class SeenCase:
    """The attempts of one case.

    Attributes:
        calls: how many came.
        deadline_s: seconds that the first of them had left.
        user_agent: of the last.
        cancelled: whether one was cancelled, by the caller or its deadline.
    """

    calls: int = 0
    deadline_s: float = 0.0
    user_agent: str = ""
    cancelled: bool = False


class Ledger:
    """What was seen, by case."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._cases: dict[str, SeenCase] = {}

    def note_call(self, case: str, deadline_s: float, user_agent: str) -> int:
        """One more attempt; its number, from 1."""
        with self._lock:
            seen = self._cases.setdefault(case, SeenCase())
            seen.calls += 1
            if seen.calls == 1:
                seen.deadline_s = deadline_s
            seen.user_agent = user_agent
            return seen.calls

    def note_cancelled(self, case: str) -> None:
        """The caller has gone."""
        with self._lock:
            self._cases.setdefault(case, SeenCase()).cancelled = True
            self._lock.notify_all()

    def of(self, case: str, *, cancelled: bool) -> SeenCase:
        """What was seen of a case; with `cancelled`, once its cancellation has come, or in vain."""
        with self._lock:
            if cancelled:
                self._lock.wait_for(lambda: case in self._cases and self._cases[case].cancelled, TOLD_S)
            return self._cases.get(case, SeenCase())
