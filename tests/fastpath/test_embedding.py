"""Pooling and cosines equal their twin bit for bit, and wrong tables are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.embedding import EmbeddingTable, VectorSet

from tests.fastpath.twins import pooling

WIDTHS = st.sampled_from([16, 32, 48, 64, 96, 128, 256])


def random_table(
    dim: int, seed: int, pieces: int = 50
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16]]:
    random = np.random.default_rng(seed)
    rows = random.integers(-128, 128, (pieces, dim), dtype=np.int8)
    return rows, random.integers(0, 16384, pieces, dtype=np.uint16)


@given(dim=WIDTHS, seed=st.integers(0, 2**32), ids=st.lists(st.integers(0, 49), max_size=400))
def test_pool_equals_the_twin(dim: int, seed: int, ids: list[int]) -> None:
    rows, weights = random_table(dim, seed)
    pooled = EmbeddingTable(rows, weights).pool(ids)
    assert pooled.tobytes() == pooling.unit_vector(pooling.pooled_sums(rows, weights, ids)).tobytes()


@given(ids=st.lists(st.integers(0, 49), min_size=1, max_size=100), data=st.data())
def test_pool_does_not_depend_on_order(ids: list[int], data: st.DataObject) -> None:
    table = EmbeddingTable(*random_table(64, 1))
    assert table.pool(ids).tobytes() == table.pool(data.draw(st.permutations(ids))).tobytes()


def test_pool_of_the_most_pieces_at_their_greatest_does_not_overflow() -> None:
    rows = np.full((1, 16), 127, np.int8)
    pooled = EmbeddingTable(rows, np.array([16383], np.uint16)).pool([0] * 1000)
    assert pooled == pytest.approx(np.full(16, 0.25))


def test_pool_of_nothing_is_zero() -> None:
    assert not EmbeddingTable(*random_table(16, 0)).pool([]).any()


def test_pool_of_weightless_pieces_is_zero() -> None:
    rows, weights = random_table(16, 0)
    weights[:] = 0
    assert not EmbeddingTable(rows, weights).pool([1, 2, 3]).any()


@pytest.mark.parametrize(
    ("ids", "message"), [([50], "piece 50 at 0 is outside 0..49"), ([1, -1], "piece -1 at 1")]
)
def test_pieces_outside_the_table_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmbeddingTable(*random_table(16, 0)).pool(ids)


def test_more_pieces_than_the_sums_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="1001 pieces, limit: 1000"):
        EmbeddingTable(*random_table(16, 0)).pool([0] * 1001)


def test_table_says_its_shape() -> None:
    table = EmbeddingTable(*random_table(48, 0))
    assert (table.vocab_size, table.dim) == (50, 48)


@pytest.mark.parametrize("dim", [0, 8, 15, 17, 272])
def test_width_that_the_kernel_does_not_take_is_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=f"rows are {dim} wide, needed: a multiple of 16 up to 256"):
        EmbeddingTable(np.zeros((4, dim), np.int8), np.ones(4, np.uint16))


def test_another_number_of_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="3 weights for 4 rows"):
        EmbeddingTable(np.zeros((4, 16), np.int8), np.ones(3, np.uint16))


def test_weight_beyond_fixed_point_is_refused() -> None:
    with pytest.raises(ValueError, match="weight 16384 of row 2 exceeds 16383"):
        EmbeddingTable(np.zeros((3, 16), np.int8), np.array([1, 16383, 16384], np.uint16))


@pytest.mark.parametrize(
    "rows",
    [np.zeros((4, 16), np.int16), np.zeros(64, np.int8), np.zeros((16, 4), np.int8).T],
    ids=["type", "dimensions", "order"],
)
def test_rows_of_another_layout_are_refused(rows: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"Buffer|contiguous"):
        EmbeddingTable(rows, np.ones(4, np.uint16))


@given(dim=WIDTHS, seed=st.integers(0, 2**32), n=st.integers(1, 40))
def test_cosine_equals_the_twin(dim: int, seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(-128, 128, (n, dim), dtype=np.int8)
    rows[:, 0] |= 1  # no row of zeros
    vector = random.standard_normal(dim)
    unit = (vector / np.linalg.norm(vector)).astype(np.float32)
    assert VectorSet(rows).cosine(unit).tobytes() == pooling.cosines(rows, unit).tobytes()


@given(seed=st.integers(0, 2**32))
def test_cosine_is_near_the_exact_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((5, 64))
    unit = vectors[0] / np.linalg.norm(vectors[0])
    exact = vectors @ unit / np.linalg.norm(vectors, axis=1)
    assert VectorSet.quantise(vectors).cosine(unit) == pytest.approx(exact, abs=0.01)


def test_vector_is_most_like_itself() -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 32))
    similar = VectorSet.quantise(vectors).cosine(vectors[13] / np.linalg.norm(vectors[13]))
    assert similar.argmax() == 13
    assert similar[13] == pytest.approx(1, abs=1e-3)


def test_quantise_scales_each_vector_to_its_peak() -> None:
    vectors = VectorSet.quantise([[0.5] * 15 + [-1.0], [2.0] * 15 + [0.0]])
    assert vectors.levels.tolist() == [[64] * 15 + [-127], [127] * 15 + [0]]


def test_set_without_vectors_has_no_cosines() -> None:
    empty = VectorSet(np.zeros((0, 16), np.int8))
    assert len(empty) == 0
    assert empty.cosine(np.zeros(16)).shape == (0,)


@pytest.mark.parametrize("n", [0, 3])
@pytest.mark.parametrize("dim", [0, 20, 1024])
def test_set_of_another_width_is_refused(n: int, dim: int) -> None:
    with pytest.raises(ValueError, match=f"rows are {dim} wide"):
        VectorSet(np.ones((n, dim), np.int8))


def test_row_of_zeros_is_refused() -> None:
    rows = np.ones((3, 16), np.int8)
    rows[1] = 0
    with pytest.raises(ValueError, match="vector 1 is zero"):
        VectorSet(rows)
    with pytest.raises(ValueError, match="vector 1 is zero"):
        VectorSet.quantise(rows)


def test_quantise_needs_two_dimensions() -> None:
    with pytest.raises(ValueError, match=r"vectors have shape \(16,\), needed: \(n, dim\)"):
        VectorSet.quantise(np.ones(16))


def test_vector_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="the vector has 32 dimensions, needed: 16"):
        VectorSet(np.ones((1, 16), np.int8)).cosine(np.zeros(32))


@pytest.mark.parametrize("value", [1.5, -2.0, float("nan")])
def test_vector_that_is_no_unit_vector_is_refused(value: float) -> None:
    vector = np.zeros(16)
    vector[3] = value
    with pytest.raises(ValueError, match=r"component 3 is .*; a unit vector is needed"):
        VectorSet(np.ones((1, 16), np.int8)).cosine(vector)
