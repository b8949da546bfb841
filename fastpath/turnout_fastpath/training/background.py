"""The sample of unrelated prompts by which a bundle gives each exemplar a scale of its own.

    python -m turnout_fastpath.training.background BUNDLE [--data FOLDER]

writes the sample into a bundle that has none. Its revision changes, its classifier does not.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet

from turnout_fastpath.bundle import Bundle, load_bundle, write_bundle
from turnout_fastpath.embedding import EmbeddingTable, VectorSet
from turnout_fastpath.exemplar_scale import MATCH, fit_bucket
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


def add_background(path: Path, data: Path | None) -> dict[str, Any]:
    """Writes the sample into a bundle, and what it measures into the manifest; returns the figures."""
    bundle = load_bundle(path)
    embed = embedder(bundle)
    sample, apart = (
        np.stack([embed(text) for text in unrelated_texts(data, set_apart=which)]) for which in (False, True)
    )
    levels = background_levels(sample)
    figures = measure(embed, _unit(levels), apart[np.linalg.norm(apart, axis=1) > 0.5])
    manifest = {key: value for key, value in bundle.manifest.items() if key not in ("format", "files")}
    manifest["metrics"] = {**manifest.get("metrics", {}), "exemplar_scale": figures}
    arrays = {name: np.array(array) for name, array in bundle.arrays.items()} | {"background": levels}
    write_bundle(
        path.resolve(),
        manifest,
        vocabulary=bundle.vocabulary,
        arrays=arrays,
        exemplars=bundle.exemplars,
        classifier=bundle.classifier,
    )
    return figures


def _unit(levels: npt.NDArray[np.int8]) -> Floats:
    vectors = levels.astype(np.float32)
    result: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--data", default=os.environ.get("TURNOUT_DATA"), help="folder of the public data")
    given = parser.parse_args(arguments)
    print(json.dumps(add_background(given.bundle, given.data and Path(given.data)), indent=1))


if __name__ == "__main__":
    main()
