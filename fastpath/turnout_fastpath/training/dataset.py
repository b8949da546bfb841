"""The training set: requests from the everyday corpus and the public labels, with what each says of each head."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from turnout_fastpath.request import Request
from turnout_fastpath.training.everyday_rows import TASKS, TIERS, EverydayRow, load_everyday
from turnout_fastpath.training.gibberish import make_gibberish
from turnout_fastpath.training.outputs import Outputs
from turnout_fastpath.training.public_pairs import HEAD_MODELS, PublicRow, load_public
from turnout_fastpath.training.readings import Readings, read_requests
from turnout_fastpath.training.stages import Advance

Floats = npt.NDArray[np.float32]

HEADS = tuple(HEAD_MODELS)
NGRAM_BITS = 16
EVERYDAY = "everyday"
GIBBERISH = "gibberish"
GIBBERISH_ROWS = 1500


@dataclass(frozen=True)
class DatasetRow:
    """One request before it is read; `suffices` and `gains` by head, NaN where unknown.

    `kind` is "family/subject" of recorded scores; without one, a row with labels is of its source's only kind.
    """

    id: str
    group: str
    source: str
    task: str
    request: Request
    suffices: Sequence[float]
    gains: Sequence[float]
    tier: int = -1
    weight: float = 1.0
    kind: str = ""
    set_apart: bool = False

    def recorded_kind(self) -> str:
        """The kind; empty for everyday rows and rows without labels."""
        recorded = self.tier < 0 and not np.isnan(np.asarray(self.suffices)).all()
        return (self.kind or self.source.replace("/", " ")) if recorded else ""


@dataclass(frozen=True)
class Dataset:
    """n requests with labels; NaN marks a label that a request does not have.

    Attributes:
        task_names, heads: names of the tasks and heads.
        readings: what the engine reads of each.
        ids, groups, sources: (n,) names; groups stay whole in every split.
        kinds: (n,) "family/subject" of rows with recorded scores, else "".
        tasks: (n,) numbers in `task_names`, -1 where unknown.
        tiers: (n,) numbers in TIERS, -1 for other rows than the everyday corpus's.
        suffices: (n, heads) share of the head's models that suffice.
        gains: (n, heads) mean of strong score - weak score over the head's models.
        weights: (n,) of the labels of the heads.
        set_apart: (n,) true for rows that are only measured on.
    """

    task_names: tuple[str, ...]
    heads: tuple[str, ...]
    readings: Readings
    ids: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    kinds: npt.NDArray[np.str_]
    tasks: npt.NDArray[np.intp]
    tiers: npt.NDArray[np.intp]
    suffices: Floats
    gains: Floats
    weights: Floats
    set_apart: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def everyday(self) -> npt.NDArray[np.bool_]:
        """(n,) true for rows of the everyday corpus."""
        return self.tiers >= 0

    @property
    def outputs(self) -> Outputs:
        """Layout of a net for these tasks and heads."""
        return Outputs(
            len(self.task_names), len(self.heads), gated=not np.isnan(self.suffices[self.everyday]).all()
        )

    def take(self, rows: npt.NDArray[np.intp]) -> Dataset:
        """These rows."""
        by_row = {
            field.name: getattr(self, field.name)[rows]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        return dataclasses.replace(self, readings=self.readings.take(rows), **by_row)


def assemble(
    rows: Sequence[DatasetRow],
    vocabulary: list[str],
    *,
    task_names: Sequence[str],
    heads: Sequence[str],
    advance: Advance = lambda _: None,
) -> Dataset:
    """Reads the requests and lays out what is known of them; `advance` is called with 1 after each."""
    numbers = {name: i for i, name in enumerate(task_names)}
    return Dataset(
        task_names=tuple(task_names),
        heads=tuple(heads),
        readings=read_requests(vocabulary, [row.request for row in rows], bits=NGRAM_BITS, progress=advance),
        ids=np.array([row.id for row in rows]),
        groups=np.array([row.group for row in rows]),
        sources=np.array([row.source for row in rows]),
        kinds=np.array([row.recorded_kind() for row in rows]),
        tasks=np.array([numbers.get(row.task, -1) for row in rows], np.intp),
        tiers=np.array([row.tier for row in rows], np.intp),
        suffices=np.array([row.suffices for row in rows], np.float32),
        gains=np.array([row.gains for row in rows], np.float32),
        weights=np.array([row.weight for row in rows], np.float32),
        set_apart=np.array([row.set_apart for row in rows], np.bool_),
    )


def everyday_labels(row: EverydayRow) -> tuple[list[float], list[float]]:
    """Sufficiency and gain of each default head, from a row's least trusted tier.

    A tier below the least trusted one is taken to fail (gain 1), others to suffice (gain 0).
    """
    least = TIERS.index(row.tier)
    suffices = [1.0 if i >= least else 0.0 for i in range(len(HEADS))]
    return suffices, [1 - s for s in suffices]


def corpus_rows(heads: Sequence[str], *, labelled: bool) -> list[DatasetRow]:
    """The everyday corpus and made gibberish: what every bundle learns tasks and unfamiliar text from.

    Args:
        heads: of the dataset.
        labelled: the corpus's tiers are labels of the heads, which are the default ones.
    """
    unknown = [float("nan")] * len(heads)
    rows = []
    for row in load_everyday():
        suffices, gains = everyday_labels(row) if labelled else (unknown, unknown)
        rows.append(
            DatasetRow(
                row.id, row.group, EVERYDAY, row.task, row.request(), suffices, gains,
                tier=TIERS.index(row.tier), set_apart=row.set_apart,
            )
        )  # fmt: skip
    for i, text in enumerate(make_gibberish(GIBBERISH_ROWS, seed=11)):
        name = f"gibberish:{i}"
        # A third of it is set apart as well.
        rows.append(
            DatasetRow(name, name, GIBBERISH, TASKS[0], Request(text), unknown, unknown, set_apart=i % 3 == 0)
        )
    return rows


def load_dataset(data: Path | None, vocabulary: list[str]) -> Dataset:
    """Reads the everyday corpus, made gibberish and, if `data` is given, the public labels.

    Args:
        data: the public data's folder.
        vocabulary: word pieces.
    """
    rows = corpus_rows(HEADS, labelled=True)
    if data is not None:
        rows += [
            DatasetRow(
                pair.id,
                pair.group,
                pair.source,
                pair.task,
                Request(pair.prompt),
                suffices,
                gains,
                kind=pair.kind,
            )
            for pair, suffices, gains in _public_prompts(data)
        ]
    return assemble(rows, vocabulary, task_names=TASKS, heads=HEADS)


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
