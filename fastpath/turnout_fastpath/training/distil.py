"""Learns the static table: pooled vectors of word pieces that match a sentence encoder's vectors.

    python -m turnout_fastpath.training.distil OUT [--data FOLDER] [--dim 64]

Slow (the encoder reads every prompt), and done once; `train` reuses the table. Unlabelled prompts are all it needs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
from scipy import sparse

from turnout_fastpath.training.everyday_rows import load_everyday
from turnout_fastpath.training.ridge import fit_ridge
from turnout_fastpath.training.teacher import Teacher
from turnout_fastpath.wordpiece import WordPiece

Floats = npt.NDArray[np.float32]

MAX_WEIGHT = 16383
# Pieces of a prompt that encoder and table both read: labels gain nothing from more (docs/quality.md).
PIECES = 96
LONGEST_CHARS = 2000
# Weight of a piece by its frequency p: SIF_A / (SIF_A + p) (Arora, Liang and Ma 2017).
SIF_A = 1e-3
HELD_OUT = 0.15
PENALTY = 0.1
ROUNDS = 2


@dataclass(frozen=True)
class Table:
    """A static table.

    Attributes:
        rows: (vocabulary, dim) int8.
        weights: (vocabulary,) uint16; row i stands for weights[i] * rows[i].
        facts: what it was made of and how well it matches, for the manifest.
    """

    rows: npt.NDArray[np.int8]
    weights: npt.NDArray[np.uint16]
    facts: dict[str, Any]


def piece_counts(wordpiece: WordPiece, texts: Sequence[str], limit: int = PIECES) -> sparse.csr_matrix:
    """(n, vocabulary) counts of the first `limit` pieces of each text."""
    ids = [wordpiece.encode(text)[:limit] for text in texts]
    starts = np.cumsum([0, *(len(one) for one in ids)])
    columns = np.concatenate(ids).astype(np.int64)
    counts = sparse.csr_matrix(
        (np.ones(len(columns), np.float32), columns, starts), (len(ids), wordpiece.vocab_size)
    )
    counts.sum_duplicates()
    return counts


def fit_table(counts: sparse.csr_matrix, vectors: Floats, piece_vectors: Floats, dim: int) -> Floats:
    """Float rows whose sums point where the encoder's vectors point.

    Starts from the encoder's vector of each piece alone, weighted by frequency, and moves the rows by ridge regression
    onto the first `dim` principal directions of the sentence vectors. A sum's length is free, since pooling normalises
    it: each round divides the counts by the sum's present length.

    Args:
        counts: (n, vocabulary).
        vectors: (n, 384) unit vectors of the texts.
        piece_vectors: (vocabulary, 384) unit vectors of the pieces alone.
        dim: width of the table.
    """
    directions = np.linalg.svd(vectors, full_matrices=False)[2][:dim].T
    targets = vectors @ directions
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    frequency = np.asarray(counts.sum(axis=0)).ravel() + 1
    frequency = frequency / frequency.sum()
    rows = ((piece_vectors @ directions) * (SIF_A / (SIF_A + frequency))[:, None]).astype(np.float32)
    ones = np.ones((counts.shape[0], 1), np.float32)
    for _ in range(ROUNDS):
        lengths = np.linalg.norm(counts @ rows, axis=1)
        scaled = (sparse.diags((1 / np.maximum(lengths, 1e-6)).astype(np.float32)) @ counts).tocsr()
        rows = fit_ridge(scaled, targets, ones, penalty=PENALTY, start=rows)
    return np.asarray(rows, np.float32)


def quantise(rows: Floats) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16]]:
    """int8 rows and fixed-point weights, so that weights[i] * int8 row i is proportional to row i."""
    peaks = np.abs(rows).max(axis=1)
    weights = np.rint(peaks / peaks.max() * MAX_WEIGHT).astype(np.uint16)
    levels = np.rint(rows / np.maximum(peaks, 1e-12)[:, None] * 127).astype(np.int8)
    return levels, weights


def similarity_correlation(
    pooled: Floats, vectors: Floats, groups: npt.NDArray[np.str_] | None = None, *, pairs: int = 60_000
) -> float:
    """Pearson correlation of the cosines of random pairs, table against encoder; within `groups` if given."""
    random = np.random.default_rng(7)
    i, j = random.integers(0, len(pooled), (2, pairs))
    keep = i != j
    if groups is not None:
        by_group = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        by_group = [rows for rows in by_group if len(rows) >= 20]
        chosen = [random.choice(rows, (2, pairs // len(by_group))) for rows in by_group]
        i, j = np.hstack(chosen)
        keep = i != j
    unit = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)
    ours = (unit[i[keep]] * unit[j[keep]]).sum(axis=1)
    theirs = (vectors[i[keep]] * vectors[j[keep]]).sum(axis=1)
    return float(np.corrcoef(ours, theirs)[0, 1])


def unlabelled_texts(data: Path | None) -> tuple[list[str], list[str], list[str]]:
    """Texts to learn from, the subject of each (empty where none), and where they come from.

    The third of the everyday corpus that is set apart is not among them.
    """
    subject_of: dict[str, str] = {}
    sources = ["turnout everyday corpus"]
    for row in load_everyday():
        if not row.set_apart:
            subject_of.setdefault(row.last_user_turn[:LONGEST_CHARS], "")
    if data is not None:
        table = pyarrow.parquet.read_table(
            data / "public" / "pairs.parquet", columns=["prompt", "category", "source"]
        )
        for row in table.to_pylist():
            subject_of.setdefault(row["prompt"][:LONGEST_CHARS], row["source"] + "/" + row["category"])
        with gzip.open(data / "loadtest" / "prompts.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                subject_of.setdefault(json.loads(line)["prompt"][:LONGEST_CHARS], "")
        sources += ["public routing labels (prompts only)", "load-test prompts"]
    return list(subject_of), list(subject_of.values()), sources


def learn_table(
    texts: Sequence[str],
    subjects: Sequence[str],
    teacher: Teacher,
    vocabulary: list[str],
    dim: int,
    report: Callable[[str], None] = print,
) -> Table:
    """Fits on most of the texts, measures on the rest, then fits on all."""
    report(f"encoding {len(texts)} texts and {len(vocabulary)} pieces")
    done = 0

    def progress(n: int) -> None:
        nonlocal done
        if (done + n) // 2000 != done // 2000:
            report(f"  {done + n} of {len(texts)}")
        done += n

    vectors = teacher.encode(texts, max_pieces=PIECES + 2, progress=progress)
    piece_vectors = teacher.encode_pieces(len(vocabulary))
    counts = piece_counts(WordPiece(vocabulary), texts)
    held_out = np.random.default_rng(3).random(len(texts)) < HELD_OUT
    trial = fit_table(counts[~held_out], vectors[~held_out], piece_vectors, dim)
    levels, weights = quantise(trial)
    pooled = counts[held_out] @ (levels.astype(np.float32) * weights[:, None])
    labels = np.array(subjects)[held_out]
    facts = {
        "teacher": "all-MiniLM-L6-v2 (Apache-2.0)",
        "dim": dim,
        "texts": len(texts),
        "held_out_texts": int(held_out.sum()),
        "similarity_correlation": round(similarity_correlation(pooled, vectors[held_out]), 4),
    }
    if (labels != "").any():
        inside = labels != ""
        facts["similarity_correlation_within_subject"] = round(
            similarity_correlation(pooled[inside], vectors[held_out][inside], labels[inside]), 4
        )
    report(f"held out: {facts}")
    levels, weights = quantise(fit_table(counts, vectors, piece_vectors, dim))
    return Table(levels, weights, facts)


def save_table(path: Path, table: Table, vocabulary: list[str]) -> None:
    """Writes a table folder that `train --table` reads."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    np.save(path / "embedding.npy", table.rows)
    np.save(path / "embedding_weights.npy", table.weights)
    (path / "table.json").write_text(json.dumps(table.facts, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the table")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("TURNOUT_DATA"), help="folder of the public data"
    )
    parser.add_argument("--dim", type=int, default=64, help="width of the table, a multiple of 16")
    arguments = parser.parse_args()
    teacher = Teacher()
    texts, subjects, sources = unlabelled_texts(arguments.data and Path(arguments.data))
    table = learn_table(texts, subjects, teacher, teacher.vocabulary, arguments.dim)
    table.facts["sources"] = sources
    save_table(arguments.out, table, teacher.vocabulary)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
