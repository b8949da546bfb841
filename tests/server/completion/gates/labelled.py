"""The labelled answers, and which third of them is set apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("answers")
REFUSALS = frozenset({"refusal_hard", "refusal_soft", "refusal_policy"})
LABELS = REFUSALS | {"partial", "hedged_essay", "contains_words", "empty", "filler", "unsure", "good"}


@dataclass(frozen=True)
class Labelled:
    """An answer and what it is."""

    language: str
    label: str
    text: str

    @property
    def set_apart(self) -> bool:
        """True for the third that no wording was developed on."""
        return hashlib.blake2b(self.text.encode()).digest()[0] % 3 == 0


def read_labelled() -> Iterator[Labelled]:
    """All of them, by language."""
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield Labelled(path.stem, row["label"], row["text"])
