"""A decision's reasons, for comparison."""

from __future__ import annotations

from turnout_fastpath import Decision, ReasonKind


def kinds(decision: Decision) -> list[str]:
    """Kinds of the reasons, in order."""
    return [reason.kind.name for reason in decision.reasons]


def ids_of(decision: Decision, kind: ReasonKind) -> list[str]:
    """What the reasons of one kind name, in order."""
    return [reason.id for reason in decision.reasons if reason.kind is kind]
