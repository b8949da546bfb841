"""Estimates: what a call may cost, and token counts of calls that were aborted before the provider counted them."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from turnout_server.completion.cost import ModelPrice
from turnout_server.completion.tokens import TokenCounts

# Bytes of UTF-8 a token, at the low end for prose (about 4 in English, 3 and fewer elsewhere): an estimate of money
# spent errs to the dear side.
BYTES_PER_TOKEN = 3


def estimate_aborted(
    reported: TokenCounts | None,
    *,
    input_tokens: int,
    text_bytes: int,
    reasoning_bytes: int = 0,
) -> TokenCounts:
    """What an aborted call has probably cost, in tokens; its cost is flagged as estimated.

    Args:
        reported: what the provider had counted before the abort, as Anthropic does for the input at the start of a
            stream; None: nothing.
        input_tokens: the estimate of the input that was made before the call, in provider tokens.
        text_bytes: UTF-8 bytes of visible output, tool calls included, that had arrived.
        reasoning_bytes: the same of reasoning that the provider showed.
    """
    counted = TokenCounts() if reported is None else reported
    if not counted.input_total:
        counted = replace(counted, input_uncached=input_tokens)
    # A provider's running count can lag behind what it has sent.
    return replace(
        counted,
        output_text=max(counted.output_text, ceil(text_bytes / BYTES_PER_TOKEN)),
        output_reasoning=max(counted.output_reasoning, ceil(reasoning_bytes / BYTES_PER_TOKEN)),
    )


def estimate_cost(price: ModelPrice | None, input_tokens: int, output_tokens: int) -> int:
    """What a call may cost in nano-dollars, rounded up, before it is made; 0 without a price."""
    rates = None if price is None else price.rates(input_tokens)
    if rates is None:
        return 0
    return -(-(input_tokens * rates.input + output_tokens * rates.output) // 1_000_000)
