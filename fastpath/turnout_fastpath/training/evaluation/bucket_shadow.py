"""Exemplar buckets against traffic that they do not mean: the everyday corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from turnout_fastpath.engine import Engine
from turnout_fastpath.training.evaluation.bucket_recall import effect_of
from turnout_fastpath.training.everyday_rows import TIERS, EverydayRow, load_everyday


@dataclass(frozen=True)
class Shadow:
    """Everyday prompts that match a bucket.

    Attributes:
        rows: everyday prompts.
        matched: those that reach the bucket's threshold.
        against: matched ones whose label says that the effect does not fit them, as a small request for a floor of
            frontier; 0 for effects that the labels say nothing of.
        by_member: the bucket's texts that these are nearest to, with their number, the greatest first.
    """

    rows: int
    matched: int
    against: int
    by_member: tuple[tuple[str, int], ...]

    @property
    def share(self) -> float:
        """Of everyday prompts that match."""
        return self.matched / self.rows


def find_shadows(engine: Engine, progress: Callable[[int], None] | None = None) -> dict[str, Shadow]:
    """What each bucket matches of the everyday corpus, by the compiled engine; progress is called with 1 a row."""
    policies = engine.snapshot.policies
    document = policies.document
    rows = load_everyday()
    matched: dict[str, list[EverydayRow]] = {name: [] for name in policies.bucket_names}
    for row in rows:
        explanation = engine.decide(row.request(explain=True)).explanation
        if explanation is not None:
            for bucket in document["buckets"]:
                if explanation.buckets[bucket["name"]] >= bucket["threshold"]:
                    matched[bucket["name"]].append(row)
        if progress is not None:
            progress(1)
    vectors = np.asarray(engine.snapshot.exemplars.levels, np.float32)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    found, at = {}, 0
    for bucket, texts in zip(document["buckets"], policies.bucket_exemplars, strict=True):
        kind, value = effect_of(bucket)
        own = matched[bucket["name"]]
        match = engine.snapshot.match_cosines[at : at + len(texts)]
        others = [row for row in own if is_against(row, kind, value)]
        nearest: Counter[str] = Counter()
        for row in others:
            cosines = vectors[at : at + len(texts)] @ engine.snapshot.embed(row.last_user_turn)
            nearest[texts[int(((cosines - match) / (1 - match)).argmax())]] += 1
        found[bucket["name"]] = Shadow(len(rows), len(own), len(others), tuple(nearest.most_common()))
        at += len(texts)
    return found


def is_against(row: EverydayRow, kind: str, value: str) -> bool:
    """Whether the row's label says that an effect does not fit it."""
    if kind == "task":
        return row.task != value
    if value not in TIERS:
        return False
    if kind == "floor":
        return TIERS.index(row.tier) < TIERS.index(value)
    return row.tier != value
