"""Whether a session should stay where its provider's cache is warm, and the note of it that decisions read.

The rule: leaving a warm cache costs the warm tokens once more at the price of fresh input instead of the price of
cached input, in nano-dollars; a session moves to another tier when what the next request would cost there is less than
what it would cost here, cache included. After each answer the session's tier, deployment and warm tokens are written
to the state block, where each door's decisions find them.

Prices are integer nano-dollars a token: a price of 2.50 US dollars a million tokens is 2,500.
"""

from __future__ import annotations

from dataclasses import dataclass

from turnout_fastpath import StateBlock

from turnout_server.completion.tokens import TokenCounts

# OpenAI's automatic cache begins at 1,024 tokens and grows by 128 (their prompt caching guide).
AUTOMATIC_FROM_TOKENS = 1024
AUTOMATIC_STEP_TOKENS = 128
# The state block holds 32 bits.
MOST_WARM_TOKENS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Nano-dollars a token.

    Attributes:
        input_nano_usd: input that no cache serves.
        cache_read_nano_usd: input from the provider's cache; None: the provider has no such price.
        output_nano_usd: output.
    """

    input_nano_usd: int
    cache_read_nano_usd: int | None
    output_nano_usd: int


def price_of_leaving_nano_usd(warm_tokens: int, prices: TokenPrices) -> int:
    """What a warm cache saves the next request: warm tokens times the difference of the input prices."""
    if prices.cache_read_nano_usd is None:
        return 0
    return warm_tokens * max(0, prices.input_nano_usd - prices.cache_read_nano_usd)


def next_cost_nano_usd(
    prices: TokenPrices, input_tokens: int, output_tokens: int, warm_tokens: int = 0
) -> int:
    """What the next request costs where so many of its input tokens are warm."""
    warm_tokens = min(warm_tokens, input_tokens)
    full = input_tokens * prices.input_nano_usd + output_tokens * prices.output_nano_usd
    return full - price_of_leaving_nano_usd(warm_tokens, prices)


def stays(
    here: TokenPrices, there: TokenPrices, *, warm_tokens: int, input_tokens: int, output_tokens: int
) -> bool:
    """True if the next request costs no more here, with the warm cache, than there, without one."""
    cost_here = next_cost_nano_usd(here, input_tokens, output_tokens, warm_tokens)
    return cost_here <= next_cost_nano_usd(there, input_tokens, output_tokens)


def warm_tokens_of(counts: TokenCounts, *, automatic: bool) -> int:
    """Input tokens that the provider's cache holds after an answer.

    Args:
        counts: the answer's usage.
        automatic: the provider caches every long prefix unasked and reports no writes, as OpenAI does.
    """
    warm = counts.input_cache_read + counts.input_cache_write_5m + counts.input_cache_write_1h
    if automatic and counts.input_total >= AUTOMATIC_FROM_TOKENS:
        warm = max(warm, counts.input_total // AUTOMATIC_STEP_TOKENS * AUTOMATIC_STEP_TOKENS)
    return min(warm, MOST_WARM_TOKENS)


class SessionWriter:
    """Notes what served a session."""

    def __init__(self, state: StateBlock) -> None:
        self._state = state

    def note_answer(
        self,
        session_id: str,
        tier: int,
        deployment: str,
        counts: TokenCounts,
        *,
        keep_s: float,
        automatic_cache: bool,
    ) -> None:
        """The session has had an answer.

        Args:
            session_id: the caller's; empty: nothing is noted.
            tier: what served it, 0 is the cheapest.
            deployment: what served it.
            counts: the answer's usage.
            keep_s: how long the policy keeps a session's tier.
            automatic_cache: see `warm_tokens_of`.
        """
        if not session_id:
            return
        warm_tokens = warm_tokens_of(counts, automatic=automatic_cache)
        self._state.set_session(session_id, tier, keep_s, deployment=deployment, warm_tokens=warm_tokens)
