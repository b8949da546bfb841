"""Many requests as the engine reads them, laid out for fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from turnout_fastpath.ngrams import buckets_of
from turnout_fastpath.reader import Reader
from turnout_fastpath.request import Request

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Readings:
    """n requests, read.

    Attributes:
        features: (n, f) raw features, in the order of snapshot.ALL_FEATURE_NAMES.
        pieces: (n, vocabulary) counts of the windows' word pieces.
        ngrams: (n, 2 ** bits) counts of hashed word 1-grams and 2-grams, each row divided by the root of its sum.
        unknown_share: (n,) share of the pieces that are [UNK].
        pieces_per_word: (n,).
    """

    features: Floats
    pieces: sparse.csr_matrix
    ngrams: sparse.csr_matrix
    unknown_share: Floats
    pieces_per_word: Floats

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Readings:
        """The readings at these rows."""
        return Readings(
            self.features[rows],
            self.pieces[rows],
            self.ngrams[rows],
            self.unknown_share[rows],
            self.pieces_per_word[rows],
        )


def read_requests(
    vocabulary: list[str],
    requests: Iterable[Request],
    *,
    bits: int,
    progress: Callable[[int], None] | None = None,
) -> Readings:
    """Reads requests with the engine's kernels.

    Args:
        vocabulary: word pieces.
        requests: what is to be read.
        bits: the n-gram table has 2 ** bits buckets.
        progress: called with 1 after each request.
    """
    reader = Reader(vocabulary)
    features: list[npt.NDArray[np.float32]] = []
    pieces: list[npt.NDArray[np.int32]] = []
    buckets: list[npt.NDArray[np.uint32]] = []
    unknown: list[float] = []
    per_word: list[float] = []
    for request in requests:
        reading = reader.read(request)
        features.append(reading.features)
        pieces.append(reading.ids)
        buckets.append(
            np.concatenate([buckets_of(reading.head_words, bits), buckets_of(reading.tail_words, bits)])
        )
        words = len(reading.head_words) + len(reading.tail_words)
        unknown.append(reading.n_unknown / max(1, len(reading.ids)))
        per_word.append(len(reading.ids) / words if words else 0.0)
        if progress is not None:
            progress(1)
    counts = _counts(buckets, 1 << bits)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    return Readings(
        features=np.stack(features),
        pieces=_counts(pieces, len(vocabulary)),
        ngrams=(sparse.diags((1 / np.sqrt(np.maximum(totals, 1))).astype(np.float32)) @ counts).tocsr(),
        unknown_share=np.array(unknown, np.float32),
        pieces_per_word=np.array(per_word, np.float32),
    )


def _counts(
    rows: list[npt.NDArray[np.int32]] | list[npt.NDArray[np.uint32]], width: int
) -> sparse.csr_matrix:
    starts = np.cumsum([0, *(len(row) for row in rows)])
    columns = np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)
    matrix = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, starts), (len(rows), width))
    matrix.sum_duplicates()
    return matrix
