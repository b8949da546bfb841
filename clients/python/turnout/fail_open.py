"""Failing open: what `route_or` answers when the service does not, and the count of it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from turnout.decision import Decision, DecisionStatus, Reason, ReasonKind
from turnout.errors import TurnoutError

# A tier's name, or what names one for an error.
DefaultTier: TypeAlias = str | Callable[[TurnoutError], str]
OnFailOpen: TypeAlias = Callable[[TurnoutError], None]

# Deadline of `route_or`, in seconds: the most that a failing service may add to a request of the caller's.
DEFAULT_TIMEOUT_S = 0.05

_LOGGER = logging.getLogger("turnout")


class FailOpen:
    """Counts failures and turns them into the caller's default. Safe to use from any thread."""

    def __init__(self, on_fail_open: OnFailOpen | None) -> None:
        self._on_fail_open = on_fail_open
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counter[str]:
        """How often each failure was answered with a default, by `TurnoutError.label`; a copy."""
        with self._lock:
            return self._counts.copy()

    def decide(self, default: DefaultTier, error: TurnoutError) -> Decision:
        """The default as a decision."""
        with self._lock:
            self._counts[error.label] += 1
        if self._on_fail_open is not None:
            try:
                self._on_fail_open(error)
            except Exception as failure:
                # A broken counter must not turn failing open into failing. Its message may hold anything.
                _LOGGER.error("on_fail_open_failed: %s", type(failure).__name__)
        return Decision(
            tier=default(error) if callable(default) else default,
            status=DecisionStatus.DEFAULTED,
            reasons=(Reason(ReasonKind.DEFAULT, error.label),),
            fell_back=True,
        )
