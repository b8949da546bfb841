"""Text that means nothing, of many sorts: what the classifier must not pretend to understand."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890")
CONSONANTS = "bcdfghjklmnpqrstvwxz"
# Letters at random; not Han, Hangul or kana, where a table of single characters cannot tell chance from text.
SCRIPTS = (
    (0x0430, 0x044F),
    (0x03B1, 0x03C9),
    (0x0627, 0x064A),
    (0x0905, 0x0939),
    (0x0E01, 0x0E2E),
    (0x10D0, 0x10F0),
)


def make_gibberish(n: int, *, seed: int) -> list[str]:
    """N texts, the sorts in turn."""
    source = random.Random(seed)
    return [SORTS[i % len(SORTS)](source) for i in range(n)]


def _words(source: random.Random, make: Callable[[], str], low: int = 2, high: int = 14) -> str:
    return " ".join(make() for _ in range(source.randint(low, high)))


def random_letters(source: random.Random) -> str:
    """Words of random letters."""
    return _words(source, lambda: "".join(source.choices(string.ascii_lowercase, k=source.randint(3, 11))))


def key_mash(source: random.Random) -> str:
    """Runs along a keyboard's rows."""
    return _words(
        source, lambda: "".join(source.choices(source.choice(KEY_ROWS), k=source.randint(4, 14))), 1, 8
    )


def consonants(source: random.Random) -> str:
    """Words without vowels."""
    return _words(source, lambda: "".join(source.choices(CONSONANTS, k=source.randint(3, 9))))


def printable(source: random.Random) -> str:
    """Random printable ASCII."""
    return "".join(
        source.choices(
            string.ascii_letters + string.digits + string.punctuation + "  ", k=source.randint(12, 120)
        )
    )


def encoded(source: random.Random) -> str:
    """Base64 or hexadecimal of random bytes."""
    data = source.randbytes(source.randint(12, 90))
    return base64.b64encode(data).decode() if source.random() < 0.5 else data.hex()


def random_script(source: random.Random) -> str:
    """Random letters of one other script."""
    low, high = source.choice(SCRIPTS)
    return _words(
        source, lambda: "".join(chr(source.randint(low, high)) for _ in range(source.randint(2, 9))), 2, 10
    )


def mixed_scripts(source: random.Random) -> str:
    """Letters of several scripts within a word."""

    def make() -> str:
        return "".join(chr(source.randint(*source.choice(SCRIPTS))) for _ in range(source.randint(3, 9)))

    return _words(source, make, 2, 9)


def syllables(source: random.Random) -> str:
    """Pronounceable words that no language has."""

    def make() -> str:
        return "".join(
            source.choice(CONSONANTS) + source.choice("aeiou") for _ in range(source.randint(2, 5))
        )

    return _words(source, make)


SORTS = (random_letters, key_mash, consonants, printable, encoded, random_script, mixed_scripts, syllables)
