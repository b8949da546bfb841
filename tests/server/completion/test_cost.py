"""Costs against hand invoices and against plain fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.cost import (
    AttemptCost,
    CostSum,
    ModelPrice,
    Processing,
    Rates,
    RateStep,
    Subtotal,
    attempt_cost,
    parse_usd,
    round_half_even,
    show_usd,
)
from turnout_server.completion.estimates import estimate_aborted
from turnout_server.completion.tokens import TokenCounts

SONNET = ModelPrice(
    "seller/sonnet",
    "2026-11-01",
    (
        RateStep(
            -1,
            Rates(
                input=parse_usd("3"),
                output=parse_usd("15"),
                cache_read=parse_usd("0.30"),
                cache_write_5m=parse_usd("3.75"),
                cache_write_1h=parse_usd("6"),
            ),
        ),
    ),
)

counts = st.integers(0, 5_000_000)
tokens = st.builds(TokenCounts, counts, counts, counts, counts, counts, counts)
rate = st.integers(0, 100_000 * 10**9)
rates = st.builds(Rates, rate, rate, st.none() | rate, st.none() | rate, st.none() | rate)
steps = st.lists(st.tuples(st.integers(0, 10**6), rates), max_size=2, unique_by=lambda step: step[0]).map(
    lambda later: tuple(RateStep(above, of) for above, of in sorted(later, key=lambda step: step[0]))
)
prices = st.builds(
    lambda first, later: ModelPrice("m", "2026-11-01", (RateStep(-1, first), *later)), rates, steps
)
attempts = st.builds(
    attempt_cost,
    tokens,
    st.none() | prices,
    purpose=st.sampled_from(Purpose),
    result=st.sampled_from(AttemptResult),
    estimated=st.booleans(),
)


def cost(
    given: TokenCounts, price: ModelPrice | None = SONNET, processing: Processing = Processing.STANDARD
) -> AttemptCost:
    return attempt_cost(
        given, price, purpose=Purpose.SERVE, result=AttemptResult.SERVED, processing=processing
    )


@pytest.mark.parametrize(
    ("given", "dollars"),
    [
        (TokenCounts(input_uncached=1000, output_text=500), "0.0105"),
        (TokenCounts(input_uncached=1), "0.000003"),
        (TokenCounts(input_uncached=12, input_cache_read=100_000, output_text=7), "0.030141"),
        (TokenCounts(input_cache_write_5m=2048, input_cache_write_1h=4096), "0.032256"),
        (TokenCounts(output_text=10, output_reasoning=990), "0.015"),
    ],
)
def test_a_hand_invoice_agrees(given: TokenCounts, dollars: str) -> None:
    found = cost(given)
    assert found.cost_nano == parse_usd(dollars)
    assert found.complete
    assert found.price_version == SONNET.version


def test_no_price_is_no_zero() -> None:
    found = cost(TokenCounts(input_uncached=10, output_text=5), None)
    assert found.cost_nano is None
    assert not found.complete
    assert found.price_version is None
    total = CostSum.of([found]).total
    assert total.known_nano is None
    assert not total.complete


def test_a_missing_part_leaves_the_others_and_says_so() -> None:
    plain = ModelPrice("m", "2026-11-01", (RateStep(-1, Rates(input=10**9, output=2 * 10**9)),))
    found = cost(TokenCounts(input_uncached=5, input_cache_read=1000, output_text=5), plain)
    assert found.cost_nano == 15_000
    assert not found.complete
    assert [line.part for line in found.lines if line.rate_nano_per_mtok is None] == ["input_cache_read"]


def test_an_attempt_without_tokens_costs_nothing_at_any_price() -> None:
    for price in (SONNET, None):
        found = cost(TokenCounts(), price)
        assert (found.cost_nano, found.complete) == (0, True)


def test_a_long_request_is_billed_wholly_at_the_dearer_rates() -> None:
    tiered = ModelPrice(
        "m",
        None,
        (RateStep(-1, Rates(2 * 10**9, 12 * 10**9)), RateStep(200_000, Rates(4 * 10**9, 18 * 10**9))),
    )
    assert (
        cost(TokenCounts(input_uncached=200_000, output_text=1), tiered).cost_nano == 200_000 * 2000 + 12_000
    )
    # Cached tokens count for the length, as they do at the sellers.
    long = cost(TokenCounts(input_uncached=200_000, output_text=1, input_cache_read=1), tiered)
    assert long.cost_nano == 200_000 * 4000 + 18_000
    assert not long.complete


def test_batch_has_prices_of_its_own_or_none() -> None:
    both = ModelPrice(
        "m", None, (RateStep(-1, Rates(2 * 10**9, 4 * 10**9)),), (RateStep(-1, Rates(10**9, 2 * 10**9)),)
    )
    given = TokenCounts(input_uncached=3, output_text=1)
    assert cost(given, both).cost_nano == 10_000
    assert cost(given, both, processing=Processing.BATCH).cost_nano == 5_000
    assert cost(given, SONNET, processing=Processing.BATCH).cost_nano is None


@given(tokens, prices)
def test_an_attempt_is_its_parts_rounded_once(given: TokenCounts, price: ModelPrice) -> None:
    found = cost(given, price)
    known = [line.cost_femto for line in found.lines if line.cost_femto is not None]
    exact = sum((Fraction(part, 10**6) for part in known), Fraction(0))
    assert found.cost_nano == (round(exact) if known or not found.lines else None)
    assert sum(line.tokens for line in found.lines) == given.input_total + given.output_total
    assert found.complete == (len(known) == len(found.lines))


@given(st.lists(attempts, max_size=12), st.randoms(use_true_random=False))
def test_sums_add_up_in_any_order(costs: list[AttemptCost], source: object) -> None:
    whole = CostSum.of(costs)
    shuffled = list(costs)
    source.shuffle(shuffled)  # type: ignore[attr-defined]
    assert CostSum.of(shuffled) == whole
    cut = len(costs) // 3
    assert CostSum.of(costs[:cut]) + CostSum.of(costs[cut:]) == whole
    assert whole.total.cost_nano == sum(one.cost_nano or 0 for one in costs)
    assert whole.total.complete == all(one.complete for one in costs)
    assert whole.total.estimated == sum(one.estimated for one in costs)
    assert sum(whole.by_purpose().values(), Subtotal()) == whole.total
    assert sum(whole.by_result().values(), Subtotal()) == whole.total
    assert set(whole.by_purpose()) == {one.purpose for one in costs}


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**9))
def test_halves_go_to_the_even_number(value: int, unit: int) -> None:
    assert round_half_even(value, unit) == round(Fraction(value, unit))


@given(st.integers(0, 10**18))
def test_dollars_are_read_as_they_are_shown(nano: int) -> None:
    assert parse_usd(show_usd(nano)) == nano
    assert show_usd(-nano) == (f"-{show_usd(nano)}" if nano else "0.00")


@given(st.integers(0, 10**6), st.integers(0, 9))
def test_a_float_is_read_by_the_digits_that_were_written(units: int, decimals: int) -> None:
    written = f"{units // 10**decimals}.{units % 10**decimals:0{decimals}d}" if decimals else str(units)
    assert parse_usd(float(written)) == parse_usd(written)


@pytest.mark.parametrize("value", ["", "free", "nan", "inf", "-0.1", "0.0000000001", -1])
def test_what_is_no_price_is_refused(value: str | int) -> None:
    with pytest.raises(ValueError, match="dollars"):
        parse_usd(value)


def test_a_version_tells_every_number() -> None:
    dearer = ModelPrice(SONNET.name, SONNET.valid_from, (RateStep(-1, Rates(3 * 10**9 + 1, 15 * 10**9)),))
    assert SONNET.version.startswith("2026-11-01.")
    assert dearer.version != SONNET.version
    assert ModelPrice("other", SONNET.valid_from, SONNET.standard).version != SONNET.version


@pytest.mark.parametrize("above", [[], [0], [-1, 5, 5], [-1, 9, 3]])
def test_steps_cover_every_length_once(above: list[int]) -> None:
    with pytest.raises(ValueError, match=r"m: "):
        ModelPrice("m", None, tuple(RateStep(start, Rates(1, 1)) for start in above))


@given(
    st.none() | tokens,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_an_estimate_is_never_below_what_the_provider_counted(
    reported: TokenCounts | None, input_tokens: int, text: int, reasoning: int
) -> None:
    found = estimate_aborted(reported, input_tokens=input_tokens, text_bytes=text, reasoning_bytes=reasoning)
    before = reported or TokenCounts()
    assert found.input_total == (before.input_total or input_tokens)
    assert found.output_text >= max(before.output_text, text / 3)
    assert found.output_reasoning >= max(before.output_reasoning, reasoning / 3)
    assert (found.output_text == 0) == (before.output_text == text == 0)
