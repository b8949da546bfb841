"""Figures on rows that the training has not seen: folds are held out, the recipe is run without them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from turnout_fastpath.engine import Engine
from turnout_fastpath.training.bundle_scores import probe_policy
from turnout_fastpath.training.evaluation.decided_rows import DecidedRows, decide_rows
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.stages import Stages, no_stages
from turnout_fastpath.training.tiers import Tier

Mask = npt.NDArray[np.bool_]

FOLDS = 5


class Split(StrEnum):
    """What is held out."""

    GIVEN = "given"
    IN_DOMAIN = "in-domain"
    UNSEEN_SUBJECT = "unseen-subject"
    UNSEEN_FAMILY = "leave-one-family-out"


def folds_of(
    data: LabelledData, split: Split, families: Mapping[str, str] | None = None, *, folds: int = FOLDS
) -> Iterator[tuple[str, Mask, Mask]]:
    """Name, training rows and held-out rows of each fold; no group is on both sides.

    Args:
        data: the rows.
        split: in-domain: groups are held out; unseen-subject: whole categories; leave-one-family-out: whole sources.
        families: by source, the family that it belongs to; a source that is not named is its own.
        folds: their number, for all but families.

    Raises:
        DataError: the data has not two subjects, or families.
    """
    if split is Split.UNSEEN_FAMILY:
        units = np.array([(families or {}).get(source, source) for source in data.sources])
        column = "source"
    elif split is Split.UNSEEN_SUBJECT:
        units, column = np.where(data.categories == "", data.tasks, data.categories), "category"
    else:
        units, column = data.groups, "group"
    names, number_of = np.unique(units, return_inverse=True)
    if len(names) < 2:
        raise data.defect(f"{len(names)} of them, needed: 2 at least for this split", column=column)
    if split is Split.UNSEEN_FAMILY:
        fold_of, count = number_of, len(names)
    else:
        count = min(folds, len(names))
        fold_of = (np.random.default_rng(41).permutation(len(names)) % count)[number_of]
    for fold in range(count):
        held = fold_of == fold
        shared = np.isin(data.groups, data.groups[held])
        label = str(names[fold]) if split is Split.UNSEEN_FAMILY else f"fold {fold + 1} of {count}"
        yield label, ~held & ~shared, held


def learns_all(
    data: LabelledData, split: Split, families: Mapping[str, str] | None, start: Path | None
) -> bool:
    """Whether every fold is learned from nothing but its own rows and the static table.

    Else heads are fitted on what another bundle makes of a request, and rows that this one was trained on are not unseen,
    whatever is held out.
    """
    from turnout_fastpath.training.user_bundle import FULL_RECIPE_ROWS

    folds = folds_of(data, split, families)
    return start is None and all(int(rest.sum()) >= FULL_RECIPE_ROWS for _, rest, _ in folds)


def decide_retrained(
    data: LabelledData,
    tiers: Sequence[Tier],
    split: Split,
    priced: DecidedRows,
    *,
    families: Mapping[str, str] | None = None,
    start: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
    stages: Stages = no_stages,
) -> DecidedRows:
    """Every row as a bundle decides it that was trained without its fold.

    Args:
        data: labelled rows with text.
        tiers: of the labels.
        split: what is held out.
        priced: the same rows as decided under the operator's policy, whose costs are kept.
        families: see `folds_of`.
        start: bundle to start from, as `turnout train --from`.
        report: is told what is being done.
        stages: of the work, for a bar.

    Raises:
        DataError: a fold has too few labels.
    """
    from turnout_fastpath.training.user_bundle import train_bundle

    trust, gains = np.zeros_like(priced.trust), np.ones_like(priced.gains)
    decided, tasks = np.full_like(priced.decided, -1), priced.tasks.copy()
    abstained = np.zeros_like(priced.abstained)
    for label, rest, held in folds_of(data, split, families):
        report(f"{label}: training on {int(rest.sum()):,} rows, {int(held.sum()):,} held out")
        with tempfile.TemporaryDirectory(prefix="turnout-") as folder:
            out = Path(folder) / "bundle"
            train_bundle(data.take(rest), tiers, out, start=start, report=report, stages=stages)
            policy = probe_policy([tier.name for tier in tiers[:-1]], tiers[-1].name)
            advance = stages("deciding held-out rows", int(held.sum()))
            part = decide_rows(Engine.load(out, policy), data.take(held), tiers, advance)
        trust[held], gains[held] = part.trust, part.gains
        decided[held], abstained[held], tasks[held] = part.decided, part.abstained, part.tasks
    return DecidedRows(
        tiers=priced.tiers,
        decided=decided,
        trust=trust,
        gains=gains,
        costs=priced.costs,
        tasks=tasks,
        abstained=abstained,
        in_bucket=np.zeros_like(priced.in_bucket),
    )
