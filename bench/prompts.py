"""The prompts that every benchmark uses: by length, deterministic.

From TURNOUT_DATA/loadtest/prompts.jsonl.gz where that variable is set, else from the project's everyday corpus.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import turnout_fastpath
from turnout_fastpath import load_bundle
from turnout_fastpath.wordpiece import WordPiece

LENGTHS = (32, 128, 256, 512, 2048)
WORDS = 20
MIXED = "mixed"
TWENTY_WORDS = "20 words"
OTHER_SCRIPTS = "128, other scripts"
SEED = 20260101
# Mostly ASCII, or hardly any; the word pieces of what lies between have no typical size.
PLAIN_SHARE = 0.98
OTHER_SHARE = 0.5
JOINT = "\n\n"
# A word of one piece, which brings a text of whole words up to its exact length.
FILLER = "and"
MOST_FILLERS = 4


@dataclass(frozen=True)
class PromptSet:
    """Prompts by class.

    Attributes:
        source: where they come from.
        digest: of all of them; equal digests, equal prompts.
        classes: by name: "32" to "2048" exactly as many word pieces, mostly ASCII; "20 words" as many words;
            "128, other scripts" as many pieces, mostly not ASCII; "mixed" as they come, all lengths and scripts.
        documents: prompts that their source calls documents, of 500 pieces and more.
    """

    source: str
    digest: str
    classes: dict[str, list[str]]
    documents: frozenset[str] = frozenset()

    def of_pieces(self, pieces: int) -> list[str]:
        """Prompts of exactly so many word pieces."""
        return self.classes[str(pieces)]

    def joined(self, name: str, size: int, count: int) -> list[str]:
        """Texts of `size` bytes, or up to 3 less, made of a class's prompts."""
        source = itertools.cycle(self.classes[name])
        texts = []
        for _ in range(count):
            parts, taken = [], 0
            while taken < size:
                parts.append(next(source))
                taken += len(parts[-1].encode()) + len(JOINT)
            texts.append(JOINT.join(parts).encode()[:size].decode(errors="ignore"))
        return texts

    def describe(self) -> dict[str, Any]:
        """What is saved with a result: the source, and the mean sizes of each class."""
        wordpiece = WordPiece(load_bundle().vocabulary)
        sizes = {
            name: {
                "prompts": len(texts),
                "mean_bytes": _mean([len(text.encode()) for text in texts]),
                "mean_words": _mean([len(text.split()) for text in texts]),
                "mean_pieces": _mean([len(wordpiece.encode(text)) for text in texts]),
            }
            for name, texts in self.classes.items()
        }
        return {"source": self.source, "digest": self.digest, "classes": sizes}


def load_prompts(count: int, data: Path | None = None) -> PromptSet:
    """Makes the classes.

    Args:
        count: prompts of each class; `mixed` has four times as many.
        data: folder that holds loadtest/prompts.jsonl.gz; None means the everyday corpus.
    """
    documents: frozenset[str] = frozenset()
    if data is None:
        source, texts = "everyday corpus", list(_everyday())
    else:
        rows = list(_loadtest(data))
        source, texts = "TURNOUT_DATA/loadtest", [row["prompt"] for row in rows]
        documents = frozenset(row["prompt"] for row in rows if row["kind"].startswith("document_"))
    random.Random(SEED).shuffle(texts)
    wordpiece = WordPiece(load_bundle().vocabulary)
    plain = [text for text in texts if _ascii_share(text) >= PLAIN_SHARE]
    others = [text for text in texts if _ascii_share(text) <= OTHER_SHARE]
    classes = {str(pieces): _cut_all(wordpiece, plain, pieces, count) for pieces in LENGTHS}
    classes[TWENTY_WORDS] = _first_words(plain, count)
    classes[OTHER_SCRIPTS] = _cut_all(wordpiece, others, 128, count)
    classes[MIXED] = texts[: 4 * count]
    digest = hashlib.sha256(json.dumps(classes).encode()).hexdigest()[:16]
    return PromptSet(source, digest, classes, documents)


def data_folder() -> Path | None:
    """The folder that TURNOUT_DATA names, if it is set."""
    named = os.environ.get("TURNOUT_DATA", "").strip()
    return Path(named) if named else None


def _loadtest(folder: Path) -> Iterator[dict[str, str]]:
    """Rows with a `prompt` and its `kind`."""
    with gzip.open(folder / "loadtest" / "prompts.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _everyday() -> Iterator[str]:
    """The last user turns of the corpus."""
    assert turnout_fastpath.__file__ is not None
    folder = Path(turnout_fastpath.__file__).parent / "training" / "everyday"
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            turns = json.loads(line).get("messages", ())
            yield from [turn["content"] for turn in turns if turn["role"] == "user"][-1:]


def _cut_all(wordpiece: WordPiece, texts: Sequence[str], pieces: int, count: int) -> list[str]:
    """`count` different texts of exactly `pieces` pieces; whole prompts' beginnings first, then joined prompts."""
    found: dict[str, None] = {}
    for text in itertools.chain(texts, _joined(wordpiece, texts, pieces)):
        cut = _cut(wordpiece, text, pieces)
        if cut is not None:
            found[cut] = None
            if len(found) == count:
                break
    return list(found)


def _joined(wordpiece: WordPiece, texts: Sequence[str], pieces: int) -> Iterator[str]:
    """Texts of at least `pieces` pieces, each of prompts that follow one another; without end."""
    if not texts:
        raise ValueError(f"no prompt to make {pieces} word pieces of")
    shuffler = random.Random(SEED + pieces)
    parts: list[str] = []
    taken = 0
    while True:
        for text in shuffler.sample(texts, len(texts)):
            parts.append(text)
            taken += len(wordpiece.encode(text))
            if taken >= pieces:
                yield JOINT.join(parts)
                parts, taken = [], 0


def _cut(wordpiece: WordPiece, text: str, pieces: int) -> str | None:
    """The beginning of a text that has exactly `pieces` pieces, or None where there is none."""
    ids, _, end = wordpiece.read(text, pieces)
    missing = pieces - len(ids)
    if missing > MOST_FILLERS:
        return None
    cut = text.encode()[:end].decode(errors="ignore").rstrip() + f" {FILLER}" * missing
    return cut if len(wordpiece.encode(cut)) == pieces else None


def _first_words(texts: Sequence[str], count: int) -> list[str]:
    long_enough = (words for words in (text.split() for text in texts) if len(words) >= WORDS)
    return [" ".join(words[:WORDS]) for words in itertools.islice(long_enough, count)]


def _ascii_share(text: str) -> float:
    return sum(map(str.isascii, text)) / len(text) if text else 0.0


def _mean(values: Sequence[int]) -> float:
    return round(sum(values) / len(values), 1)
