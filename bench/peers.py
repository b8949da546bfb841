"""The same work by others, in one run on the same prompts: model2vec's `encode` and Hugging Face `tokenizers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from model2vec import StaticModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from turnout_fastpath import Bundle, Engine
from turnout_fastpath.embedding import EmbeddingTable
from turnout_fastpath.wordpiece import WordPiece

from bench.machine import describe_machine
from bench.prompts import PromptSet, data_folder, load_prompts
from bench.sampling import Arm, Effort, figure, paired_ratio, time_arms

POINTS = 101
# Few prompts would be learnt by heart, by the word cache and by the processor's branch predictor.
FULL = (256, Effort(5, 0.12))
QUICK = (64, Effort(2, 0.02))
BATCH = 64
# `EmbeddingTable.pool` takes at most 1,000 pieces, more than the engine reads.
POOLED_LENGTHS = (32, 128, 256, 512)
TOKENISED_LENGTHS = (32, 128, 256, 512, 2048)
LEAST_COSINE = 0.999
# BERT's own limit, beyond which a word is [UNK].
MAX_WORD_CHARS = 100

Vector = npt.NDArray[np.float32]

# Ratios that are saved: name, the arm above, the arm below.
RATIOS = (
    ("model2vec / tokenise and pool", "model2vec", "tokenise and pool"),
    ("model2vec / tokenise and pool, no cache", "model2vec", "tokenise and pool, no cache"),
    ("model2vec / decision", "model2vec", "decision"),
    ("model2vec batch / tokenise and pool batch", "model2vec, batch", "tokenise and pool, batch"),
    ("tokenizers / wordpiece", "tokenizers", "wordpiece"),
    ("tokenizers / wordpiece, no cache", "tokenizers", "wordpiece, no cache"),
    ("tokenizers batch / wordpiece batch", "tokenizers, batch", "wordpiece, batch"),
)


class WrongAnswerError(AssertionError):
    """Two arms that should do the same work do not: their times must not be compared."""


class Ours:
    """Tokenising and pooling by this project's kernels, on a bundle's table."""

    def __init__(self, bundle: Bundle, *, caches: bool = True) -> None:
        """Compiles the kernels.

        Args:
            bundle: the vocabulary and the table.
            caches: whether words are remembered with their pieces, as in the engine.
        """
        self.wordpiece = (
            WordPiece(bundle.vocabulary) if caches else WordPiece(bundle.vocabulary, cache_slots=1)
        )
        self._table = EmbeddingTable(bundle.arrays["embedding"], bundle.arrays["embedding_weights"])

    def embed(self, text: str) -> Vector:
        """Unit vector of a text."""
        return self._table.pool(self.wordpiece.encode(text))

    def embed_known(self, text: str) -> Vector:
        """Unit vector of a text without its unknown pieces, which model2vec leaves out."""
        ids = self.wordpiece.encode(text)
        return self._table.pool(ids[ids != self.wordpiece.unk_id])

    def embed_many(self, texts: Sequence[str]) -> list[Vector]:
        """Unit vectors of texts."""
        pool = self._table.pool
        return [pool(ids) for ids in self.wordpiece.encode_many(texts)]


def make_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """The reference tokenizer of BERT, uncased, for a vocabulary."""
    model = models.WordPiece(
        vocab={piece: i for i, piece in enumerate(vocabulary)},
        unk_token="[UNK]",
        max_input_chars_per_word=MAX_WORD_CHARS,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def make_static_model(bundle: Bundle) -> StaticModel:
    """model2vec with the bundle's own table, in the layout that it is fastest with: float32 rows, weights in them."""
    rows = bundle.arrays["embedding"].astype(np.float32)
    rows *= bundle.arrays["embedding_weights"].astype(np.float32)[:, None]
    # Without truncation: all arms read the whole prompt.
    return StaticModel(rows, make_tokenizer(bundle.vocabulary), normalize=True, max_length=None)


def run(*, quick: bool) -> dict[str, Any]:
    """Measures everything; about a minute, some seconds if `quick`.

    Raises:
        WrongAnswerError: an arm's answers are not the others'.
    """
    count, effort = QUICK if quick else FULL
    machine = describe_machine()
    prompts = load_prompts(count, data_folder())
    engine = Engine.load()
    bundle = engine.snapshot.bundle
    ours, forgetful = Ours(bundle), Ours(bundle, caches=False)
    static = make_static_model(bundle)
    tokenizer = make_tokenizer(bundle.vocabulary)
    agreement = check_agreement(prompts, ours, static, tokenizer)
    lengths = {}
    for pieces in TOKENISED_LENGTHS:
        texts = prompts.of_pieces(pieces)
        batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        arms = [
            Arm("decision", engine.route, texts),
            Arm("decision, batch", engine.route_many, batches, items=BATCH),
            Arm("wordpiece", ours.wordpiece.encode, texts),
            Arm("wordpiece, no cache", forgetful.wordpiece.encode, texts),
            Arm("tokenizers", lambda text: tokenizer.encode(text, add_special_tokens=False), texts),
            Arm("wordpiece, batch", ours.wordpiece.encode_many, batches, items=BATCH),
            Arm(
                "tokenizers, batch",
                lambda batch: tokenizer.encode_batch_fast(batch, add_special_tokens=False),
                batches,
                items=BATCH,
            ),
        ]
        if pieces in POOLED_LENGTHS:
            arms += [
                Arm("tokenise and pool", ours.embed, texts),
                Arm("tokenise and pool, no cache", forgetful.embed, texts),
                Arm("model2vec", static.encode, texts),
                Arm("tokenise and pool, batch", ours.embed_many, batches, items=BATCH),
                Arm("model2vec, batch", static.encode, batches, items=BATCH),
            ]
        timings = time_arms(arms, effort)
        lengths[str(pieces)] = {
            "arms": {name: timing.summary(POINTS) for name, timing in timings.items()},
            "ratios": {
                name: paired_ratio(timings[above], timings[below])
                for name, above, below in RATIOS
                if above in timings and below in timings
            },
        }
    return {
        "bench": "peers",
        "quick": quick,
        "machine": machine,
        "bundle_revision": bundle.revision.hex(),
        "prompts": prompts.describe(),
        "batch": BATCH,
        "agreement": agreement,
        "lengths": lengths,
    }


def check_agreement(
    prompts: PromptSet, ours: Ours, static: StaticModel, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Compares the answers on every prompt: the same pieces, the same direction of the pooled vectors.

    Raises:
        WrongAnswerError: names the first prompt's class and place where they differ.
    """
    compared = unknown = pooled = 0
    least = 1.0
    for name, texts in prompts.classes.items():
        for place, text in enumerate(texts):
            ids = ours.wordpiece.encode(text)
            if ids.tolist() != tokenizer.encode(text, add_special_tokens=False).ids:
                raise WrongAnswerError(f"class {name!r}, prompt {place}: the tokenizers' pieces differ")
            compared += 1
            if len(ids) > max(POOLED_LENGTHS):
                continue
            unknown += bool((ids == ours.wordpiece.unk_id).any())
            mine, theirs = ours.embed_known(text), static.encode(text)
            cosine = float(mine @ theirs) if mine.any() or theirs.any() else 1.0
            if cosine < LEAST_COSINE:
                raise WrongAnswerError(
                    f"class {name!r}, prompt {place}: cosine {cosine:.6f} of the pooled vectors"
                )
            pooled += 1
            least = min(least, cosine)
    return {
        "prompts_with_equal_pieces": compared,
        "prompts_with_equal_vectors": pooled,
        "least_cosine": round(least, 7),
        "prompts_with_unknown_pieces": unknown,
    }


def print_summary(result: dict[str, Any]) -> None:
    """The figures in short, for the terminal."""
    print(f"agreement: {result['agreement']}")
    for pieces, entry in result["lengths"].items():
        print(f"{pieces} pieces; us a prompt, wall and CPU")
        for name, arm in entry["arms"].items():
            print(f"  {name:28} {arm['p50_ns'] / 1000:9.2f} {arm['cpu_ns'] / 1000:9.2f}")
        for name, ratio in entry["ratios"].items():
            print(f"  {name:44} {figure(ratio['median']):6} ({ratio['min']} to {ratio['max']})")
