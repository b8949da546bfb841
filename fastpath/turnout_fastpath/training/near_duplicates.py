"""Groups of near-duplicate texts, for splits that must not have the same question on both sides.

MinHash over word 3-grams with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3):
pairs whose estimated Jaccard similarity reaches NEAR_DUPLICATE are joined, and groups are the connected parts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NEAR_DUPLICATE = 0.6
HASHES = 64
# 16 bands of 4: a pair at 0.6 shares a band with probability 0.89, at 0.8 with 0.9998, at 0.2 with 0.03.
BANDS = 16
# Of a long text; more would cost time and tell nothing new.
MAX_WORDS = 400
PRIME = np.uint64((1 << 31) - 1)


def group_texts(texts: Sequence[str]) -> list[int]:
    """(n,) for each text the index of the first text of its group."""
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        low, high = sorted((root(i), root(j)))
        parent[high] = low

    first_of: dict[str, int] = {}
    distinct: list[int] = []
    for i, text in enumerate(texts):
        same = first_of.setdefault(" ".join(text.casefold().split()), i)
        if same == i:
            distinct.append(i)
        else:
            join(same, i)
    signatures = _signatures([texts[i] for i in distinct])
    width = HASHES // BANDS
    for band in range(BANDS):
        buckets: dict[bytes, list[int]] = {}
        for at, row in enumerate(signatures[:, band * width : (band + 1) * width]):
            buckets.setdefault(row.tobytes(), []).append(at)
        for members in buckets.values():
            if len(members) < 2:
                continue
            # With the bucket's first text alone: a template's copies make large buckets, and other bands join the rest.
            alike = (signatures[members[1:]] == signatures[members[0]]).mean(axis=1) >= NEAR_DUPLICATE
            for at, same_text in zip(members[1:], alike, strict=True):
                if same_text:
                    join(distinct[members[0]], distinct[at])
    return [root(i) for i in range(len(texts))]


def shingles(text: str) -> npt.NDArray[np.uint64]:
    """Hashes of a text's word 3-grams; of its characters' where it has fewer than four words."""
    words = text.casefold().split()[:MAX_WORDS]
    if len(words) < 4:
        # Scripts without spaces, and very short prompts.
        words = list("".join(words)[:MAX_WORDS])
    found = {
        zlib.crc32("\x1f".join(words[i : i + 3]).encode("utf-8", "replace"))
        for i in range(max(1, len(words) - 2))
    }
    return np.fromiter(found, np.uint64, len(found))


def _signatures(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    random = np.random.default_rng(7)
    factor = random.integers(1, int(PRIME), HASHES, dtype=np.uint64)[:, None]
    offset = random.integers(0, int(PRIME), HASHES, dtype=np.uint64)[:, None]
    result = np.empty((len(texts), HASHES), np.uint64)
    for i, text in enumerate(texts):
        # Below 2^31 times below 2^31: no overflow.
        result[i] = ((factor * (shingles(text) % PRIME) + offset) % PRIME).min(axis=1)
    return result
