"""Near duplicates, against the exact Jaccard similarity of small sets of texts."""

from __future__ import annotations

import random

from turnout_fastpath.training.near_duplicates import group_texts, shingles

WORDS = (
    "the",
    "a",
    "turnout",
    "moves",
    "train",
    "from",
    "one",
    "line",
    "to",
    "another",
    "and",
    "back",
    "by",
    "a",
    "lever",
    "or",
    "motor",
    "in",
    "winter",
    "heat",
)


def jaccard(one: str, other: str) -> float:
    """Exact similarity."""
    a, b = set(shingles(one).tolist()), set(shingles(other).tolist())
    return len(a & b) / len(a | b)


def test_copies_and_near_copies_are_grouped_and_others_are_not() -> None:
    source = random.Random(3)
    texts: list[str] = []
    for _ in range(40):
        words = source.choices(WORDS, k=60)
        texts.append(" ".join(words))
        words[source.randrange(60)] = "signal"
        texts.append(" ".join(words).upper() + "  ")
    groups = group_texts(texts)
    assert all(groups[i] == groups[i + 1] == i for i in range(0, len(texts), 2))
    assert len(set(groups)) == 40


def test_what_is_joined_is_alike() -> None:
    source = random.Random(5)
    texts = []
    for _ in range(60):
        words = source.choices(WORDS, k=30)
        texts.append(" ".join(words))
        for _ in range(source.randrange(12)):
            words[source.randrange(30)] = source.choice(WORDS)
        texts.append(" ".join(words))
    groups = group_texts(texts)
    joined = [jaccard(texts[i], texts[i + 1]) for i in range(0, 120, 2) if groups[i] == groups[i + 1]]
    apart = [jaccard(texts[i], texts[i + 1]) for i in range(0, 120, 2) if groups[i] != groups[i + 1]]
    assert joined and min(joined) > 0.35
    assert apart and max(apart) < 0.85


def test_texts_of_any_kind() -> None:
    assert group_texts([]) == []
    assert group_texts(["", "", "x", "你好吗", "你好 吗"]) == [0, 0, 2, 3, 3]
