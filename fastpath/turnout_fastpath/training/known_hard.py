"""Exemplars of what cheap models fail on, and the scale on which a text is like one of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from turnout_fastpath.embedding import EmbeddingTable, VectorSet
from turnout_fastpath.training.dataset import GIBBERISH, Dataset
from turnout_fastpath.training.everyday_rows import TIERS, load_everyday, load_paraphrases
from turnout_fastpath.training.similarity import THRESHOLD, choose_exemplars, fit_similarity
from turnout_fastpath.training.static_table import Table
from turnout_fastpath.wordpiece import WordPiece

Floats = npt.NDArray[np.float32]

EXEMPLARS = 64
KNOWN_HARD = "known_hard"


def known_hard_set(
    dataset: Dataset, vectors: Floats, table: Table, vocabulary: list[str]
) -> tuple[list[str], dict[str, list[float]], dict[str, float]]:
    """Exemplars, the similarity map, and how well it matches; see `known_hard` and `similarity_facts`."""
    exemplars = known_hard(dataset, vectors)
    by_text = {row.last_user_turn: row.id for row in load_everyday()}
    position = {key: i for i, key in enumerate(dataset.ids)}
    exemplar_vectors = vectors[[position[by_text[text]] for text in exemplars]]
    similarity, facts = similarity_facts(dataset, vectors, exemplar_vectors, _embedder(table, vocabulary))
    return exemplars, similarity, facts


def known_hard(dataset: Dataset, vectors: Floats) -> list[str]:
    """Exemplars from the training rows that are labelled frontier, in ASCII.

    Scripts that the vocabulary spells letter by letter pool to nearly one vector a script: an exemplar in one of them
    would match every text of its script.
    """
    text_of = {
        row.id: row.last_user_turn
        for row in load_everyday()
        if row.tier == TIERS[-1] and not row.set_apart and row.last_user_turn.isascii()
    }
    usable = np.array(
        [i for i, key in enumerate(dataset.ids) if 5 <= len(text_of.get(key, "").split()) <= 80]
    )
    return [text_of[dataset.ids[i]] for i in usable[choose_exemplars(vectors[usable], EXEMPLARS)]]


def similarity_facts(
    dataset: Dataset, vectors: Floats, exemplar_vectors: Floats, embed: Callable[[str], Floats]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The similarity map, and the share of unrelated prompts and of paraphrases that match at the threshold."""
    hard = VectorSet.quantise(exemplar_vectors)
    easy = np.flatnonzero((dataset.sources != GIBBERISH) & (dataset.tiers < len(TIERS) - 1))
    fold = np.random.default_rng(5).random(len(easy)) < 0.5
    nearest = np.array([hard.cosine(vectors[i]).max() for i in easy], np.float32)
    raw, calibrated = fit_similarity(nearest[fold])
    texts, paraphrases = (np.stack([embed(pair[i]) for pair in load_paraphrases()]) for i in range(2))
    facts = {
        "threshold": THRESHOLD,
        "unrelated_matches": round(float((nearest[~fold] >= raw[2]).mean()), 5),
        "paraphrase_recall": round(float(((texts * paraphrases).sum(axis=1) >= raw[2]).mean()), 4),
        "paraphrases": len(texts),
    }
    return {"raw": [round(x, 5) for x in raw], "calibrated": calibrated}, facts


def _embedder(table: Table, vocabulary: list[str]) -> Callable[[str], Floats]:
    wordpiece, rows = WordPiece(vocabulary), EmbeddingTable(table.rows, table.weights)
    return lambda text: rows.pool(wordpiece.encode(text, 384))
