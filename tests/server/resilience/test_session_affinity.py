"""What a warm cache is worth, in exact money, and what is written of it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath import Engine, StateBlock
from turnout_server.completion.tokens import TokenCounts
from turnout_server.resilience.session_affinity import (
    SessionWriter,
    TokenPrices,
    price_of_leaving_nano_usd,
    stays,
    warm_tokens_of,
)

from tests.fastpath.documents import document
from tests.fastpath.synthetic import write_synthetic

USD = 10**9
PRICE = st.integers(0, 100 * USD)
PRICES = st.builds(TokenPrices, PRICE, st.none() | PRICE, PRICE)
TOKENS = st.integers(0, 10**6)
# US dollars a million tokens: 2.50 in, 1.25 cached, 10 out; 0.15, 0.075 and 0.60.
LARGE = TokenPrices(2_500_000_000, 1_250_000_000, 10 * USD)
SMALL = TokenPrices(150_000_000, 75_000_000, 600_000_000)


def bill(prices: TokenPrices, fresh: int, cached: int, output: int) -> Fraction:
    """Nano-dollars of a request."""
    read = prices.cache_read_nano_usd_per_mtok
    cached_price = prices.input_nano_usd_per_mtok if read is None else read
    parts = (
        (fresh, prices.input_nano_usd_per_mtok),
        # Nobody is made to read a cache that costs more than fresh input.
        (cached, min(cached_price, prices.input_nano_usd_per_mtok)),
        (output, prices.output_nano_usd_per_mtok),
    )
    return sum((Fraction(tokens * price, 10**6) for tokens, price in parts), Fraction(0))


@given(prices=PRICES, warm=TOKENS)
def test_leaving_costs_the_difference_of_two_bills(prices: TokenPrices, warm: int) -> None:
    difference = bill(prices, warm, 0, 0) - bill(prices, 0, warm, 0)
    assert price_of_leaving_nano_usd(warm, prices) == difference // 1


@given(here=PRICES, there=PRICES, warm=TOKENS, tokens=TOKENS, output=TOKENS)
def test_a_session_stays_where_the_next_bill_is_no_larger(
    here: TokenPrices, there: TokenPrices, warm: int, tokens: int, output: int
) -> None:
    cached = min(warm, tokens)
    expected = bill(here, tokens - cached, cached, output) <= bill(there, tokens, 0, output)
    assert stays(here, there, warm_tokens=warm, input_tokens=tokens, output_tokens=output) == expected


def test_named_examples() -> None:
    assert price_of_leaving_nano_usd(100_000, LARGE) == 125_000_000
    # A cache of the large model never makes it as cheap as the small one.
    assert not stays(LARGE, SMALL, warm_tokens=100_000, input_tokens=100_000, output_tokens=100)
    # Among equals the warm one wins, and one a little cheaper too.
    cheaper = TokenPrices(2_000_000_000, None, 10 * USD)
    assert stays(LARGE, cheaper, warm_tokens=80_000, input_tokens=100_000, output_tokens=100)
    assert not stays(LARGE, cheaper, warm_tokens=10_000, input_tokens=100_000, output_tokens=100)


@pytest.mark.parametrize(
    ("counts", "automatic", "warm"),
    [
        (TokenCounts(input_uncached=5000), False, 0),
        (TokenCounts(input_uncached=5000), True, 4992),
        (TokenCounts(input_uncached=1023), True, 0),
        (TokenCounts(input_uncached=1024), True, 1024),
        (TokenCounts(input_uncached=10, input_cache_read=2048, input_cache_write_5m=100), False, 2148),
        (TokenCounts(input_cache_read=100, input_cache_write_1h=1), True, 101),
        (TokenCounts(input_cache_read=2**33), False, 2**32 - 1),
        (TokenCounts(output_text=5000), True, 0),
    ],
)
def test_warm_tokens_come_from_usage(counts: TokenCounts, automatic: bool, warm: int) -> None:
    assert warm_tokens_of(counts, automatic=automatic) == warm


def test_the_next_decision_of_a_session_knows_its_tier_and_its_cache(tmp_path: Path) -> None:
    engine = Engine.load(write_synthetic(tmp_path / "bundle"), document(), state=tmp_path / "state")
    writer = SessionWriter(StateBlock(tmp_path / "state"))
    served = engine.route("hello", session_id="s")
    assert served.live_state.session_tier == ""
    top = len(served.candidates) - 1
    name = engine.route("hello", min_tier=served.candidates[top].tier).deployment
    counts = TokenCounts(input_cache_write_5m=1000)
    writer.note_answer("s", top, name, counts, keep_s=3600, automatic_cache=False)
    writer.note_answer("", top, name, counts, keep_s=3600, automatic_cache=False)
    again = engine.route("hello", session_id="s")
    assert again.live_state.session_tier == again.tier == served.candidates[top].tier
    assert engine.route("hello").live_state.session_tier == ""
