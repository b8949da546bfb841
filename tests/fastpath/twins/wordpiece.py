"""BERT WordPiece, uncased, in plain Python: normalise, split, hash, match.

It follows `unicodedata`. The reference's Unicode tables are older in places, so they part over characters
that were added or changed since Unicode 8; the kernel takes the reference's side.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MAX_WORD_CHARS = 100
MASK = 2**64 - 1
IDEOGRAPHS = (
    range(0x4E00, 0xA000),
    range(0x3400, 0x4DC0),
    range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2B740),
    range(0x2B740, 0x2B820),
    range(0x2B920, 0x2CEB0),
    range(0xF900, 0xFB00),
    range(0x2F800, 0x2FA20),
)


class Mark(NamedTuple):
    """A normalised character with its canonical combining class; no character: nothing moves across."""

    char: str
    combining: int


FENCE = Mark("", 0)


def is_removed(char: str) -> bool:
    """Whether clean_text drops the character."""
    return char not in "\t\n\r" and (
        char in "\0\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs")
    )


def is_ideograph(char: str) -> bool:
    """Whether the character is one of those that BERT sets apart."""
    return any(ord(char) in block for block in IDEOGRAPHS)


def is_punctuation(char: str) -> bool:
    """All ASCII symbols are punctuation, other symbols are not."""
    ascii_symbol = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return ascii_symbol or unicodedata.category(char).startswith("P")


def normalise_char(char: str) -> list[Mark]:
    """NFD without nonspacing marks, in lower case."""
    marks = []
    for part in unicodedata.normalize("NFD", char):
        combining = unicodedata.combining(part)
        if unicodedata.category(part) != "Mn":
            marks += [Mark(lower, combining) for lower in part.lower()]
        elif combining == 0:
            marks.append(FENCE)
    return marks


def order_marks(marks: list[Mark]) -> str:
    """Canonical ordering: characters of a class above 0 are sorted by it between those of class 0."""
    ordered: list[Mark] = []
    run: list[Mark] = []
    for mark in [*marks, FENCE]:
        if mark.combining:
            run.append(mark)
            continue
        ordered += [*sorted(run, key=lambda held: held.combining), mark]
        run = []
    return "".join(mark.char for mark in ordered)


def gather_words(text: str) -> Iterator[list[Mark]]:
    """The characters of each word, in the order of the text."""
    word: list[Mark] = []
    for char in text:
        if is_removed(char):
            continue
        marks = [] if char.isspace() else normalise_char(char)
        alone = len(marks) == 1 and (is_ideograph(char) or is_punctuation(marks[0].char or "x"))
        if alone or char.isspace():
            yield word
            word = []
        if alone:
            yield marks
        else:
            word += marks
    yield word


def split(text: str) -> list[str]:
    """Normalised words; of a longer word the first MAX_WORD_CHARS characters and a "+" for the rest.

    Marks are put in order among the first MAX_WORD_CHARS characters of the text's order alone.
    """
    words = []
    for marks in gather_words(text):
        kept: list[Mark] = []
        chars = 0
        for mark in marks:
            chars += mark != FENCE
            if chars <= MAX_WORD_CHARS:
                kept.append(mark)
        if chars:
            words.append(order_marks(kept) + ("+" if chars > MAX_WORD_CHARS else ""))
    return words


def word_hash(word: str) -> int:
    """The hash that word_hash.pxd defines, of the first MAX_WORD_CHARS characters."""
    data = word[:MAX_WORD_CHARS].encode()
    h = len(data) * 0x9E3779B97F4A7C15 & MASK
    for at in range(0, len(data), 8):
        h = (h ^ int.from_bytes(data[at : at + 8], "little")) * 0xD6E8FEB86659FD93 & MASK
        h ^= h >> 32
    h = h * 0xA0761D6478BD642F & MASK
    return h ^ h >> 29


def match(word: str, ids: Mapping[str, int]) -> list[int]:
    """Greedy longest match first; one [UNK] if no entry fits somewhere, or if the word is too long."""
    pieces = []
    start = 0
    while start < len(word) <= MAX_WORD_CHARS:
        prefix = "##" if start else ""
        stop = next((s for s in range(len(word), start, -1) if prefix + word[start:s] in ids), None)
        if stop is None:
            break
        pieces.append(ids[prefix + word[start:stop]])
        start = stop
    return pieces if start == len(word) else [ids["[UNK]"]]


def encode(text: str, ids: Mapping[str, int]) -> list[int]:
    """The pieces of a text."""
    return [piece for word in split(text) for piece in match(word, ids)]


def hash_words(text: str) -> list[int]:
    """The hash of each word of a text."""
    return [word_hash(word) for word in split(text)]
