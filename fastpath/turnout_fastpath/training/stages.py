"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Advance = Callable[[int], None]
# Begins a stage, given its name and how many steps it has; returns what is called with the steps done.
Stages = Callable[[str, int], Advance]


def no_stages(what: str, steps: int) -> Advance:
    """For callers that show nothing."""
    return lambda _: None
