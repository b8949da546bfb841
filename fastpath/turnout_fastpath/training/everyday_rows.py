"""The everyday corpus: rows, their groups, and the third that is set apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout_fastpath.request import Request

FOLDER = Path(__file__).parent / "everyday"
TASKS = ("chat", "knowledge", "math", "code", "reasoning", "extraction", "rewriting", "analysis")
TIERS = ("small", "mid", "frontier")
SPLIT_SALT = "everyday-split-v1|"
# Prompts that share this much of their word 3-grams (Jaccard) are put into one group, whatever their labels say.
NEAR_DUPLICATE = 0.5


@dataclass(frozen=True)
class EverydayRow:
    """One labelled request; GUIDE.md defines the fields."""

    id: str
    kind: str
    lang: str
    task: str
    tier: str
    group: str
    messages: tuple[tuple[str, str], ...]
    tools: int

    @property
    def set_apart(self) -> bool:
        """True for the third that is only measured on: a hash of the group, so that groups stay whole."""
        digest = hashlib.sha256((SPLIT_SALT + self.group).encode()).digest()
        return int.from_bytes(digest[:4], "big") < (1 << 32) // 3

    @property
    def last_user_turn(self) -> str:
        """The text that the labels judge."""
        return next(content for role, content in reversed(self.messages) if role == "user")

    def request(self, **fields: Any) -> Request:
        """The row as the engine reads it."""
        # Roles are checked by the engine.
        turns: Any = self.messages
        return Request(messages=turns, n_tools=self.tools, **fields)


def load_everyday(folder: Path = FOLDER) -> list[EverydayRow]:
    """All rows, near duplicates regrouped.

    Raises:
        ValueError: names the file, the line and what is wrong with it.
    """
    rows = list(_read(folder))
    merged = _merge_groups([row.last_user_turn for row in rows], [row.group for row in rows])
    return [
        EverydayRow(row.id, row.kind, row.lang, row.task, row.tier, group, row.messages, row.tools)
        for row, group in zip(rows, merged, strict=True)
    ]


def load_paraphrases(folder: Path = FOLDER) -> list[tuple[str, str]]:
    """Pairs of a short prompt and a paraphrase of it."""
    lines = (folder / "paraphrases.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["text"], row["paraphrase"]) for row in map(json.loads, lines)]


def _read(folder: Path) -> Iterator[EverydayRow]:
    for path in sorted(folder.glob("*.jsonl")):
        if path.name == "paraphrases.jsonl":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{path.name}:{number}"
            try:
                row = json.loads(line)
                yield EverydayRow(
                    id=where,
                    kind=row["kind"],
                    lang=row["lang"],
                    task=_known(row["task"], TASKS, "task"),
                    tier=_known(row["tier"], TIERS, "tier"),
                    group=row["group"],
                    messages=tuple((turn["role"], turn["content"]) for turn in row["messages"]),
                    tools=row.get("tools", 0),
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{where}: {error!r}") from error


def _known(value: str, known: Sequence[str], field: str) -> str:
    if value not in known:
        raise ValueError(f"{field} {value!r}, known: {', '.join(known)}")
    return value


def _shingles(text: str) -> frozenset[int]:
    words = text.lower().split()
    if len(words) < 4:
        # Scripts without spaces, and very short prompts: characters.
        words = list(text.lower().replace(" ", ""))
    return frozenset(hash(tuple(words[i : i + 3])) for i in range(max(1, len(words) - 2)))


def _merge_groups(texts: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Group names after near duplicates are joined; a joined group has the first of its names."""
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    shingles = [_shingles(text) for text in texts]
    postings: dict[int, list[int]] = {}
    for i, own in enumerate(shingles):
        shared: dict[int, int] = {}
        for shingle in own:
            for j in postings.setdefault(shingle, []):
                shared[j] = shared.get(j, 0) + 1
            postings[shingle].append(i)
        for j, count in shared.items():
            if count / (len(own) + len(shingles[j]) - count) >= NEAR_DUPLICATE:
                a, b = sorted((root(groups[i]), root(groups[j])))
                parent[b] = a
    return [root(group) for group in groups]
