"""What an upstream call was for, and what became of it."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """Why an attempt was made. The value is the name in records and metrics."""

    SERVE = "serve"
    """To answer the caller: the first call, and each retry or failover after it."""
    ESCALATE = "escalate"
    """To answer in place of an answer that a gate rejected."""
    HEDGE = "hedge"
    """To answer sooner than a slow call that is under way."""
    ENSEMBLE = "ensemble"
    """One of several answers, of which one is picked."""
    JUDGE = "judge"
    """To grade an answer."""
    SHADOW = "shadow"
    """To compare with an answer; the caller never sees it."""


NOT_THE_CALLERS = (Purpose.JUDGE, Purpose.SHADOW)
"""Calls that no budget of a tenant or a policy counts: they have budgets of their own."""


class AttemptResult(StrEnum):
    """What became of an attempt. The value is the name in records and metrics."""

    SERVED = "served"
    """Its answer was used."""
    REJECTED = "rejected"
    """It answered, and a gate or a judge preferred another answer."""
    FAILED = "failed"
    """It ended with a fault."""
    CANCELLED = "cancelled"
    """It was aborted: the caller went away, or another attempt won."""
    LOST = "lost"
    """What became of it is not known."""
