"""Dollars as the resolved policy document has them: the shortest decimal, at most nine digits behind the point."""

from __future__ import annotations

NANO_DIGITS = 9


def nano_usd(amount: str) -> int:
    """Nano-dollars of an amount such as "12.5", exactly."""
    whole, _, part = amount.partition(".")
    return int(whole + part.ljust(NANO_DIGITS, "0"))
