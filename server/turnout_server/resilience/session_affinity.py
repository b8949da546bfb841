"""Whether a session should stay where its provider's cache is warm, and the note of it that decisions read.

The rule: leaving a warm cache costs the warm tokens once more at the price of fresh input instead of the price of
cached input, in nano-dollars; a session moves to another tier when what the next request would cost there is less than
what it would cost here, cache included. After each answer the session's tier, deployment and warm tokens are written
to the state block, where each door's decisions find them.

Prices are integer nano-dollars a million tokens, so that no price is rounded: 0.01875 US dollars are 18,750,000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnout_fastpath import StateBlock

from turnout_server.completion.tokens import TokenCounts

MILLION = 1_000_000
# OpenAI's automatic cache begins at 1,024 tokens and grows by 128 (their prompt caching guide).
AUTOMATIC_FROM_TOKENS = 1024
AUTOMATIC_STEP_TOKENS = 128
# Providers whose cache takes every long prefix unasked and reports no writes.
AUTOMATIC_CACHES = frozenset({"openai", "azure"})
# What providers promise at least: Anthropic's two lifetimes; OpenAI's is 5 to 10 minutes without use.
WARM_S = 300.0
LONG_WARM_S = 3600.0
# The state block holds 32 bits.
MOST_WARM_TOKENS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Nano-dollars a million tokens.

    Attributes:
        input_nano_usd_per_mtok: input that no cache serves.
        cache_read_nano_usd_per_mtok: input from the provider's cache; None: the provider has no such price.
        output_nano_usd_per_mtok: output.
    """

    input_nano_usd_per_mtok: int
    cache_read_nano_usd_per_mtok: int | None
    output_nano_usd_per_mtok: int


def price_of_leaving_nano_usd(warm_tokens: int, prices: TokenPrices) -> int:
    """What a warm cache saves the next request, rounded down: warm tokens times the difference of the input prices."""
    return _saving(warm_tokens, prices) // MILLION


def stays(
    here: TokenPrices, there: TokenPrices, *, warm_tokens: int, input_tokens: int, output_tokens: int
) -> bool:
    """True if the next request costs no more here, with the warm cache, than there, without one."""
    cost_here = _cost(here, input_tokens, output_tokens) - _saving(min(warm_tokens, input_tokens), here)
    return cost_here <= _cost(there, input_tokens, output_tokens)


def _cost(prices: TokenPrices, input_tokens: int, output_tokens: int) -> int:
    """Of a request that no cache serves, in nano-dollars times a million."""
    return input_tokens * prices.input_nano_usd_per_mtok + output_tokens * prices.output_nano_usd_per_mtok


def _saving(warm_tokens: int, prices: TokenPrices) -> int:
    """In nano-dollars times a million."""
    if prices.cache_read_nano_usd_per_mtok is None:
        return 0
    return warm_tokens * max(0, prices.input_nano_usd_per_mtok - prices.cache_read_nano_usd_per_mtok)


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


def kept_session_s(policy: Mapping[str, Any]) -> float | None:
    """Seconds for which a policy, as its document states it, keeps a session's tier; None: it keeps none."""
    sessions = policy["sessions"]
    return None if sessions["mode"] == "none" else float(sessions["ttl_s"])


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
        self._state.set_session(
            session_id,
            tier,
            keep_s,
            deployment=deployment,
            warm_tokens=warm_tokens_of(counts, automatic=automatic_cache),
            warm_seconds=LONG_WARM_S if counts.input_cache_write_1h else WARM_S,
        )
