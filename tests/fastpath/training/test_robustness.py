"""Ways of writing the same request: what a change may touch, and what counts as a flip."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath import Engine
from turnout_fastpath.training.robustness import (
    WORDS_A_TYPO,
    Variant,
    flip_figures,
    flips,
    load_variants,
    make_variants,
    respace,
    retype,
)

TEXTS = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyzABC019éß,.?", min_size=1, max_size=9), min_size=1, max_size=30
).map(" ".join)


@given(TEXTS, st.integers(0, 2**32 - 1))
def test_a_typo_touches_one_word_in_so_many(text: str, seed: int) -> None:
    before, after = text.split(" "), retype(text, random.Random(seed)).split(" ")
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) <= max(1, len(before) // WORDS_A_TYPO)
    for old, new in changed:
        assert len(old) >= 4 and old.isascii() and old.isalpha()
        # The first letter stays, and at most a letter comes or goes.
        assert old[0] == new[0] and abs(len(old) - len(new)) <= 1


@given(TEXTS, st.integers(0, 2**32 - 1))
def test_spacing_keeps_the_words(text: str, seed: int) -> None:
    changed = respace(text, random.Random(seed))
    assert changed != text
    assert changed.split() == text.split()


def test_the_committed_set_is_what_the_paraphrases_and_the_seed_give() -> None:
    assert load_variants() == make_variants()


def test_only_what_lands_on_the_other_side_of_the_bar_flips() -> None:
    engine = Engine.load()
    easy, hard = "hello", "Review this contract clause for compliance issues"
    variants = [Variant("same", text, text) for text in (easy, hard)]
    variants += [Variant("swapped", easy, hard), Variant("swapped", hard, easy)]
    found = flips(engine, variants)
    assert found["same"].tolist() == [False, False]
    # The bar lies halfway between the two, so either becomes the other.
    assert found["swapped"].tolist() == [True, True]
    figures = flip_figures(variants, found)
    assert {name: figure.value for name, figure in figures.items()} == {
        "same": 0.0,
        "swapped": 1.0,
        "all": 0.5,
    }


def test_intervals_are_by_text() -> None:
    """Many variants of one text are no more than one text."""
    variants = [Variant("typos", "a", f"a{i}") for i in range(50)] + [Variant("typos", "b", "b0")]
    found = {"typos": np.array([True] * 50 + [False])}
    figure = flip_figures(variants, found)["typos"]
    assert (figure.low, figure.high) == pytest.approx((0.0, 1.0))
