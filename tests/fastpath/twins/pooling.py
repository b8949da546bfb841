"""Pooling, cosines and n-gram sums with NumPy and plain integers; equal to the kernels bit for bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
MASK = 2**64 - 1
LANES = 8


def pooled_sums(rows: npt.NDArray[np.int8], weights: npt.NDArray[np.uint16], ids: Sequence[int]) -> list[int]:
    """Sum over `ids` of weight times row, exact; (dim,)."""
    at = np.asarray(ids, dtype=np.int64)
    weighted = rows[at].astype(np.int64) * weights[at].astype(np.int64)[:, None]
    return [int(total) for total in weighted.sum(axis=0)]


def unit_vector(sums: Sequence[int]) -> FloatArray:
    """The sums over their Euclidean length, as float32; zeros if all are zero.

    Squares are added up by lanes, and then halves of these to halves.
    """
    squares = [0.0] * LANES
    for at, value in enumerate(sums):
        squares[at % LANES] += float(value) * float(value)
    while len(squares) > 1:
        half = len(squares) // 2
        squares = [a + b for a, b in zip(squares[:half], squares[half:], strict=True)]
    square = squares[0]
    if square == 0:
        return np.zeros(len(sums), np.float32)
    factor = 1.0 / math.sqrt(square)
    return np.array([value * factor for value in sums], np.float64).astype(np.float32)


def query_of(unit: FloatArray) -> npt.NDArray[np.int64]:
    """A unit vector in steps of 1/32,767, rounded to nearest even."""
    steps: npt.NDArray[np.int64] = np.rint(np.clip(unit, -1, 1) * np.float32(32767)).astype(np.int64)
    return steps


def cosines(rows: npt.NDArray[np.int8], unit: FloatArray) -> FloatArray:
    """Cosine of each row with the unit vector, in the kernel's float32 arithmetic."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1).astype(np.float32)
    dots = rows.astype(np.int64) @ query_of(unit)
    found: FloatArray = dots.astype(np.float32) / (lengths * np.float32(32767))
    return found


def bucket_of(key: int, bits: int) -> int:
    """Fibonacci hashing of a folded 64-bit key to `bits` bits."""
    key ^= key >> 32
    return (key * 0x9E3779B97F4A7C15 & MASK) >> (64 - bits)


def ngram_buckets(words: Sequence[int], bits: int) -> list[int]:
    """Buckets of every 1-gram and of every 2-gram, which follows its second word."""
    found = []
    for i, word in enumerate(words):
        found.append(bucket_of(word, bits))
        if i:
            before = words[i - 1]
            rotated = (before << 23 | before >> 41) & MASK
            found.append(bucket_of((rotated + word * 0xD6E8FEB86659FD93) & MASK, bits))
    return found


def ngram_values(
    rows: npt.NDArray[np.int8], scales: npt.NDArray[Any], windows: Sequence[Sequence[int]]
) -> FloatArray:
    """Column sums over the n-grams of each window, over the root of their number, scaled; (columns,)."""
    bits = len(rows).bit_length() - 1
    buckets = [bucket for words in windows for bucket in ngram_buckets(words, bits)]
    factor = 1.0 / math.sqrt(len(buckets)) if buckets else 0.0
    sums = rows[buckets].astype(np.int64).sum(axis=0)
    values: FloatArray = (sums * factor * scales.astype(np.float64)).astype(np.float32)
    return values
