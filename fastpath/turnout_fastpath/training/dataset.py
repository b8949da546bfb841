"""The training set: requests from the everyday corpus and the public labels, with what each says of each head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from turnout_fastpath.request import Request
from turnout_fastpath.training.everyday_rows import TASKS, TIERS, EverydayRow, load_everyday
from turnout_fastpath.training.gibberish import make_gibberish
from turnout_fastpath.training.public_pairs import HEAD_MODELS, PublicRow, load_public
from turnout_fastpath.training.readings import Readings, read_requests

Floats = npt.NDArray[np.float32]

HEADS = tuple(HEAD_MODELS)
NGRAM_BITS = 16
EVERYDAY = "everyday"
GIBBERISH = "gibberish"
GIBBERISH_ROWS = 1500


@dataclass(frozen=True)
class Dataset:
    """n requests with labels; NaN marks a label that a request does not have.

    Attributes:
        readings: what the engine reads of each.
        ids, groups, sources: (n,) names; groups stay whole in every split.
        kinds: (n,) "family/subject" of rows with recorded pairs, else "".
        tasks: (n,) numbers in TASKS.
        tiers: (n,) numbers in TIERS, -1 for other rows.
        suffices: (n, heads) share of the head's models that suffice.
        gains: (n, heads) mean of strong score - weak score over the head's models.
        set_apart: (n,) true for rows that are only measured on.
    """

    readings: Readings
    ids: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    kinds: npt.NDArray[np.str_]
    tasks: npt.NDArray[np.intp]
    tiers: npt.NDArray[np.intp]
    suffices: Floats
    gains: Floats
    set_apart: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def everyday(self) -> npt.NDArray[np.bool_]:
        """(n,) true for rows of the everyday corpus."""
        return self.tiers >= 0

    def take(self, rows: npt.NDArray[np.intp]) -> Dataset:
        """These rows."""
        return Dataset(
            self.readings.take(rows),
            *(getattr(self, name)[rows] for name in list(self.__dataclass_fields__)[1:]),
        )


def everyday_labels(row: EverydayRow) -> tuple[list[float], list[float]]:
    """Sufficiency and gain of each head, from a row's least trusted tier.

    A tier below the least trusted one is taken to fail (gain 1), others to suffice (gain 0).
    """
    least = TIERS.index(row.tier)
    suffices = [1.0 if i >= least else 0.0 for i in range(len(HEADS))]
    return suffices, [1 - s for s in suffices]


def load_dataset(data: Path | None, vocabulary: list[str]) -> Dataset:
    """Reads the everyday corpus, made gibberish and, if `data` is given, the public labels.

    Args:
        data: the public data's folder.
        vocabulary: word pieces.
    """
    everyday = load_everyday()
    rows: list[tuple[str, str, str, str, int, int, list[float], list[float], bool]] = []
    requests: list[Request] = []
    for row in everyday:
        suffices, gains = everyday_labels(row)
        rows.append(
            (row.id, row.group, EVERYDAY, "", TASKS.index(row.task), TIERS.index(row.tier),
             suffices, gains, row.set_apart)
        )  # fmt: skip
        requests.append(row.request())
    unknown = [float("nan")] * len(HEADS)
    for i, text in enumerate(make_gibberish(GIBBERISH_ROWS, seed=11)):
        # A third of it is set apart as well.
        rows.append((f"gibberish:{i}", f"gibberish:{i}", GIBBERISH, "", 0, -1, unknown, unknown, i % 3 == 0))
        requests.append(Request(text))
    if data is not None:
        for pair, suffices, gains in _public_prompts(data):
            task = TASKS.index(pair.task)
            rows.append((pair.id, pair.group, pair.source, pair.kind, task, -1, suffices, gains, False))
            requests.append(Request(pair.prompt))
    columns = list(zip(*rows, strict=True))
    return Dataset(
        readings=read_requests(vocabulary, requests, bits=NGRAM_BITS),
        ids=np.array(columns[0]),
        groups=np.array(columns[1]),
        sources=np.array(columns[2]),
        kinds=np.array(columns[3]),
        tasks=np.array(columns[4], np.intp),
        tiers=np.array(columns[5], np.intp),
        suffices=np.array(columns[6], np.float32),
        gains=np.array(columns[7], np.float32),
        set_apart=np.array(columns[8], np.bool_),
    )


def _public_prompts(data: Path) -> Iterable[tuple[PublicRow, list[float], list[float]]]:
    """Each prompt once, by its first pair's row, with the pairs' labels averaged by head."""
    prompts: dict[str, tuple[PublicRow, list[list[float]], list[list[float]]]] = {}
    for row in load_public(data):
        empty: tuple[list[list[float]], list[list[float]]] = ([[] for _ in HEADS], [[] for _ in HEADS])
        entry = prompts.setdefault(row.id, (row, *empty))
        head = HEADS.index(row.head)
        entry[1][head].append(float(row.suffices))
        entry[2][head].append(row.gain)
    for row, suffices, gains in prompts.values():
        yield row, [_mean(s) for s in suffices], [_mean(g) for g in gains]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
