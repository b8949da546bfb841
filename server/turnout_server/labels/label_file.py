"""Writes labels: JSON Lines that `train`, `calibrate`, `evaluate` and `gate` read (docs/training.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from turnout_server.labels.criteria import Grader
from turnout_server.labels.journal import Progress
from turnout_server.labels.prompt_rows import PromptRow

NANO = 1_000_000_000
# Of the top tier's own answer, where others are compared with it: neither better nor worse than itself.
TOP_OF_PAIRS = 0.5


def label_rows(
    rows: Iterable[PromptRow], tiers: Sequence[str], progress: Progress
) -> Iterable[Mapping[str, Any]]:
    """Rows that have a score of some tier, in the order of the prompts."""
    for row in rows:
        scores: dict[str, float] = {}
        for tier in tiers:
            grade = progress.grades.get((row.digest, tier, row.criterion.digest))
            if grade is not None and grade.score is not None:
                scores[tier] = grade.score
        if row.criterion.grader is Grader.PAIRWISE and scores:
            scores[tiers[-1]] = TOP_OF_PAIRS
        if not scores:
            continue
        costs = {
            tier: answer.cost_nano / NANO
            for tier in tiers
            if (answer := progress.answers.get((row.digest, tier))) is not None
            and answer.cost_nano is not None
        }
        told = {"id": row.id, **row.kept, "scores": scores}
        yield told | {"costs": costs} if costs else told


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes rows whole or not at all, readable by their owner alone; returns how many there were.

    Raises:
        OSError: the file cannot be written; what was there before still is.
    """
    making = path.with_name(f".{path.name}.{os.getpid()}.making")
    written = 0
    try:
        with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for row in rows:
                file.write(orjson.dumps(row) + b"\n")
                written += 1
            file.flush()
            os.fsync(file.fileno())
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)
    return written
