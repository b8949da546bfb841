"""Hashed n-grams equal their twin bit for bit, and wrong tables are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.ngrams import NgramTable, buckets_of

from tests.fastpath.twins import pooling

WORDS = st.lists(st.integers(0, 2**64 - 1), max_size=300)


def random_table(bits: int, columns: int, seed: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    rows = random.integers(-128, 128, (2**bits, columns), dtype=np.int8)
    return rows, random.standard_normal(columns).astype(np.float32)


@given(words=WORDS, bits=st.integers(4, 24))
def test_buckets_equal_the_twin(words: list[int], bits: int) -> None:
    assert buckets_of(np.array(words, np.uint64), bits).tolist() == pooling.ngram_buckets(words, bits)


@given(
    words=WORDS,
    bits=st.integers(4, 12),
    columns=st.sampled_from([16, 32, 48, 64]),
    seed=st.integers(0, 2**32),
)
def test_values_equal_the_twin(words: list[int], bits: int, columns: int, seed: int) -> None:
    rows, scales = random_table(bits, columns, seed)
    values = NgramTable(rows, scales).values(np.array(words, np.uint64))
    assert values.tobytes() == pooling.ngram_values(rows, scales, [words]).tobytes()


def test_two_grams_know_the_order_of_their_words() -> None:
    one, other = buckets_of(np.array([11, 22], np.uint64), 24), buckets_of(np.array([22, 11], np.uint64), 24)
    assert sorted(one[[0, 1]]) == sorted(other[[0, 1]])
    assert one[2] != other[2]


def test_buckets_spread_over_the_table() -> None:
    words = np.random.default_rng(0).integers(0, 2**63, 1024, dtype=np.uint64)
    counts = np.bincount(buckets_of(words, 4), minlength=16)
    # 2,047 n-grams in 16 buckets: 128 each, with a standard deviation of 11.
    assert counts.min() > 70
    assert counts.max() < 190


def test_no_words_are_zero() -> None:
    assert not NgramTable(*random_table(4, 16, 0)).values([]).any()
    assert buckets_of([], 8).shape == (0,)


def test_table_says_its_shape() -> None:
    table = NgramTable(*random_table(7, 32, 0))
    assert (table.bits, table.columns) == (7, 32)


def test_most_words_are_taken_and_one_more_is_refused() -> None:
    table = NgramTable(*random_table(4, 16, 0))
    words = np.zeros(1025, np.uint64)
    assert table.values(words[:1024]).shape == (16,)
    for run in (lambda: table.values(words), lambda: buckets_of(words, 8)):
        with pytest.raises(ValueError, match="1025 words, limit: 1024"):
            run()


@pytest.mark.parametrize("bits", [3, 25, -1])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"bits is {bits}, needed: 4 to 24"):
        buckets_of([1], bits)


@pytest.mark.parametrize("rows", [0, 8, 24])
def test_table_whose_length_is_no_power_of_two_is_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"the table has {rows} rows, needed: a power of two of at least 16"):
        NgramTable(np.zeros((rows, 16), np.int8), np.ones(16, np.float32))


@pytest.mark.parametrize("columns", [0, 8, 80])
def test_table_of_another_width_is_refused(columns: int) -> None:
    with pytest.raises(
        ValueError, match=f"the table has {columns} columns, needed: a multiple of 16 up to 64"
    ):
        NgramTable(np.zeros((16, columns), np.int8), np.ones(columns, np.float32))


def test_another_number_of_scales_is_refused() -> None:
    with pytest.raises(ValueError, match="15 scales for 16 columns"):
        NgramTable(np.zeros((16, 16), np.int8), np.ones(15, np.float32))


@pytest.mark.parametrize(
    "rows",
    [np.zeros((16, 16), np.int16), np.zeros(256, np.int8), np.zeros((16, 16), np.int8)[:, ::-1]],
    ids=["type", "dimensions", "order"],
)
def test_rows_of_another_layout_are_refused(rows: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"Buffer|contiguous"):
        NgramTable(rows, np.ones(16, np.float32))
