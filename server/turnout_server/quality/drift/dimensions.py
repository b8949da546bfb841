"""What of a decision is watched, and the category that each decision falls into."""

from __future__ import annotations

from enum import StrEnum

# Powers of two; what is shorter or longer shares the category at the end.
_LEAST_BITS, _MOST_BITS = 4, 16
UNKNOWN = "none"


class Dimension(StrEnum):
    """The value is the name in metrics and in the log."""

    TASK = "task"
    TIER = "tier"
    STATUS = "status"
    TOKENS = "tokens"
    """Length of the prompt in word pieces."""
    P_SUFFICIENT = "p_sufficient"
    """Of the cheapest tier."""


def _tokens_name(bits: int) -> str:
    least, most = 1 << (bits - 1), (1 << bits) - 1
    if bits == _LEAST_BITS:
        return f"0-{most}"
    return f"{least}+" if bits == _MOST_BITS else f"{least}-{most}"


_TOKENS = [_tokens_name(min(max(bits, _LEAST_BITS), _MOST_BITS)) for bits in range(_MOST_BITS + 1)]
_P_SUFFICIENT = [f"{tenth / 10}-{(tenth + 1) / 10}" for tenth in range(10)]


def tokens_category(tokens: int) -> str:
    """The power of two that a prompt's length falls into: from 0-15 up to 32768+."""
    return _TOKENS[min(tokens.bit_length(), _MOST_BITS)]


def p_sufficient_category(p: float | None) -> str:
    """The tenth that a probability falls into; of None, where the classifier did not judge, one of its own."""
    return UNKNOWN if p is None else _P_SUFFICIENT[min(int(p * 10), 9)]
