"""The sample of unrelated prompts by which a bundle gives each exemplar a scale of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet

from turnout_fastpath.bundle import Bundle
from turnout_fastpath.embedding import EmbeddingTable, VectorSet
from turnout_fastpath.exemplar_scale import MATCH, fit_bucket
from turnout_fastpath.training.dataset import GIBBERISH, Dataset
from turnout_fastpath.training.everyday_rows import TIERS, load_everyday, load_paraphrases
from turnout_fastpath.wordpiece import WordPiece

Floats = npt.NDArray[np.float32]
Embed = Callable[[str], Floats]

ROWS = 4096
# Of the sample, at most this share is exam questions: everyday prompts are what callers ask.
PUBLIC_SHARE = 0.25
# Paraphrase pairs by whose recall the form of the scale was chosen; the others are only measured on.
CHOSEN_BY = 120
BUCKET_SIZES = (1, 4, 16, 64)


def unrelated_texts(data: Path | None, *, set_apart: bool) -> list[str]:
    """Prompts that are no known-hard ones: everyday rows below the top tier, and public prompts.

    Args:
        data: the public data's folder; None means everyday rows alone.
        set_apart: the rows that are only measured on, or else those to make a sample of.
    """
    everyday = [
        row.last_user_turn
        for row in load_everyday()
        if row.tier != TIERS[-1] and row.set_apart == set_apart and row.last_user_turn.strip()
    ]
    if data is None:
        return everyday
    table = pyarrow.parquet.read_table(data / "public" / "pairs.parquet", columns=["prompt", "group"])
    prompts = dict(zip(table["prompt"].to_pylist(), table["group"].to_pylist(), strict=True))
    # Groups are hashes: their first digit splits them evenly.
    public = [prompt for prompt, group in prompts.items() if (group[0] in "01234") == set_apart]
    size = int(len(everyday) * PUBLIC_SHARE / (1 - PUBLIC_SHARE))
    chosen = np.random.default_rng(7).permutation(len(public))[:size]
    return everyday + [public[i] for i in chosen]


def unrelated_rows(dataset: Dataset) -> npt.NDArray[np.intp]:
    """Rows of a training set that the sample may be drawn from: no gibberish, nothing labelled for the top tier."""
    return np.flatnonzero((dataset.sources != GIBBERISH) & (dataset.tiers < len(TIERS) - 1))


def background_levels(vectors: Floats, *, rows: int = ROWS, seed: int = 3) -> npt.NDArray[np.int8]:
    """(at most `rows`, dim) int8 sample of (n, dim) unit vectors, without zero vectors."""
    usable = vectors[np.linalg.norm(vectors, axis=1) > 0.5]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(usable))[:rows])
    levels: npt.NDArray[np.int8] = np.asarray(VectorSet.quantise(usable[chosen]).levels)
    return levels


def embedder(bundle: Bundle) -> Embed:
    """Maps a text to the unit vector that the engine gives it."""
    wordpiece = WordPiece(bundle.vocabulary)
    table = EmbeddingTable(bundle.arrays["embedding"], bundle.arrays["embedding_weights"])
    return lambda text: table.pool(wordpiece.encode(text, 384))


def measure(embed: Embed, background: Floats, unrelated: Floats) -> dict[str, Any]:
    """Recall on the paraphrases that chose nothing, and matches of unrelated prompts, by the size of the bucket.

    Args:
        embed: see `embedder`.
        background: (n, dim) unit vectors, the sample.
        unrelated: (m, dim) unit vectors that are not in the sample.
    """
    pairs = load_paraphrases()
    held = np.random.default_rng(23).permutation(len(pairs))[CHOSEN_BY:]
    texts, paraphrases = (np.stack([embed(pairs[i][side]) for i in held]) for side in range(2))
    figures = {}
    for size in BUCKET_SIZES:
        recalled, matched = [], []
        for start in range(0, len(held) - size + 1, size):
            own = slice(start, start + size)
            match = fit_bucket(texts[own], background).match
            recalled.append((paraphrases[own] @ texts[own].T >= match).any(axis=1).mean())
            matched.append((unrelated @ texts[own].T >= match).any(axis=1).mean())
        figures[str(size)] = {
            "paraphrase_recall": round(float(np.mean(recalled)), 4),
            "unrelated_matches": round(float(np.mean(matched)), 5),
            "unrelated_matches_worst_bucket": round(float(np.max(matched)), 5),
        }
    return {"threshold": MATCH, "paraphrases": len(held), "background": len(background), "by_size": figures}


def unit_vectors(levels: npt.NDArray[np.int8]) -> Floats:
    """(n, dim) of int8 rows."""
    vectors = levels.astype(np.float32)
    result: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result
