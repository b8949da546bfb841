"""A bundle from a user's labelled traffic: what `turnout train` does.

With a bundle to start from, or with few rows, heads are fitted on top of a bundle (`stacked`). Fresh, with many rows,
everything is learned anew on the shipped table, as the default bundle is (`learning`), with the everyday corpus for tasks
and for the sense of the unfamiliar.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from turnout_fastpath.bundle import Bundle, check_target, load_bundle, write_bundle
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.training.background import background_levels, unrelated_rows
from turnout_fastpath.training.bundle_report import (
    HeadResult,
    TrainResult,
    head_results,
    manifest_heads,
    training_facts,
)
from turnout_fastpath.training.bundle_scores import score_data
from turnout_fastpath.training.calibrating import HeadCalibration, calibrate_head
from turnout_fastpath.training.curves import Curve
from turnout_fastpath.training.dataset import Dataset, DatasetRow, assemble, corpus_rows
from turnout_fastpath.training.engine_check import check_engine, curves_of
from turnout_fastpath.training.evaluation.seen_rows import with_trained
from turnout_fastpath.training.everyday_rows import TASKS
from turnout_fastpath.training.fit import SETTINGS, cross_validate
from turnout_fastpath.training.head_export import extend_model
from turnout_fastpath.training.known_hard import KNOWN_HARD, known_hard_set
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.learning import Report, check_model, learn, score, write_learned
from turnout_fastpath.training.linear_fits import SOLVER_THREADS, Reals, log_losses
from turnout_fastpath.training.net import NetSettings
from turnout_fastpath.training.outputs import Outputs
from turnout_fastpath.training.sample_weights import sample_weights
from turnout_fastpath.training.stacked import before_of, cross_validated, loosened_abstention, stack_heads
from turnout_fastpath.training.stages import Stages, no_stages
from turnout_fastpath.training.static_table import load_table
from turnout_fastpath.training.supplement import trained_texts
from turnout_fastpath.training.tiers import Tier, TierLabels, label_tiers

Floats = npt.NDArray[np.float32]

# Fresh training with fewer rows fits heads on the shipped bundle's inputs: n-grams of one's own need many prompts.
FULL_RECIPE_ROWS = 3000
# Labels that a head needs at the least, and of each answer.
MIN_HEAD_ROWS = 20
MIN_EACH = 3
MAX_TASKS = 16
# Multiples of the net's weight decay that are tried.
DECAYS = (1.0, 10.0, 60.0, 200.0)


def train_bundle(
    data: LabelledData,
    tiers: Sequence[Tier],
    out: Path,
    *,
    start: Path | None = None,
    table: Path | None = None,
    report: Report = print,
    stages: Stages = no_stages,
) -> TrainResult:
    """Trains, calibrates, verifies and writes a bundle.

    Args:
        data: labelled rows.
        tiers: cheapest first; the top one is the reference.
        out: folder of the bundle; it is replaced whole or not at all.
        start: bundle to start from; None trains fresh.
        table: folder of a table or bundle for fresh training; None means the bundle that ships.
        report: is told what is being done.
        stages: of the work, for a bar.

    Raises:
        DataError: the data does not fit the tiers or the bundle, or a tier has too few labels or one class only.
        BundleError: the bundle to start from cannot be used, or `out` holds something else than a bundle.
        AssertionError: trainer, exported model and engine do not agree.
    """
    check_target(out)
    labels = label_tiers(data, tiers)
    check_labels(data, labels)
    labelled = np.flatnonzero((~np.isnan(labels.suffices)).any(axis=1))
    if len(labelled) < len(data):
        report(f"left out: {len(data) - len(labelled)} rows without a score of the top tier beside another's")
        data = data.take(labelled)
        labels = label_tiers(data, tiers)
    weights = sample_weights(data)
    with threadpool_limits(SOLVER_THREADS):
        if start is None and len(data) >= FULL_RECIPE_ROWS:
            return _train_full(data, labels, weights, out, table=table, report=report, stages=stages)
        base, keep = load_bundle(start or table), start is not None
        return _train_stacked(data, labels, weights, out, base, keep=keep, report=report, stages=stages)


def check_labels(data: LabelledData, labels: TierLabels) -> None:
    """Every head has labels of both answers.

    Raises:
        DataError: names the column, what it has and what is needed.
    """
    top = labels.tiers[-1]
    for i, tier in enumerate(labels.tiers[:-1]):
        own = labels.suffices[:, i]
        known = own[~np.isnan(own)]
        column = ", ".join(f"scores.{model}" for model in tier.models)
        beside = f"beside a score of {top.name!r} ({', '.join(top.models)})"
        if len(known) < MIN_HEAD_ROWS:
            raise data.defect(f"{len(known)} rows {beside}, needed: {MIN_HEAD_ROWS}", column=column)
        fails = float((1 - known).sum())
        for count, what in ((fails, "fails"), (len(known) - fails, "suffices")):
            if count < MIN_EACH:
                problem = (
                    f"one class only: tier {tier.name!r} {what} in {count:g} of {len(known)} rows {beside}"
                )
                raise data.defect(f"{problem}, needed: {MIN_EACH} at least", column=column)


def _train_stacked(
    data: LabelledData,
    labels: TierLabels,
    weights: Reals,
    out: Path,
    base: Bundle,
    *,
    keep: bool,
    report: Report,
    stages: Stages,
) -> TrainResult:
    scored = score_data(base, data, stages("reading requests", len(data)))
    stacked = stack_heads(base, scored, labels, weights, data.groups, keep=keep, report=report)
    outputs, scores = stacked.outputs, cross_validated(stacked, scored)
    starts = [None if of is None else curves_of(base, of) for of in stacked.own_heads]
    calibrations = _calibrate(scores, scored.tasks, outputs, data, labels, weights, starts)
    heads = head_results(
        labels, scores, calibrations, outputs, stacked.fits, before_of(base, scored, stacked.own_heads)
    )
    model = extend_model(base.classifier, stacked.score_map)
    ours = stacked.score_map.apply(scored.inputs, scored.scores).astype(np.float32)
    own = Classifier(base.classifier, scored.inputs.shape[1], scored.scores.shape[1], compiled=False).score(
        scored.inputs
    )
    in_onnxruntime = stacked.score_map.apply(scored.inputs, own).astype(np.float32)
    gap = check_model(model, scored.inputs, ours, in_onnxruntime)
    dropped = ("files", "format", "suggested_bars")
    manifest = {key: value for key, value in base.manifest.items() if key not in dropped} | {
        "name": out.name,
        "created": datetime.date.today().isoformat(),
        "heads": manifest_heads(labels, calibrations, base.tasks),
        "abstain": loosened_abstention(base, scored),
        "training": training_facts(data, labels) | {"on_top_of": base.revision.hex(), "own_heads_kept": keep},
        "metrics": {"cross_validated": [head.figures() for head in heads]},
    }

    def write(path: Path) -> dict[str, Any]:
        write_bundle(
            path,
            manifest,
            vocabulary=base.vocabulary,
            arrays=with_trained(base.arrays, data.texts),
            exemplars=base.exemplars,
            classifier=model,
        )
        return manifest

    return _write_checked(out, write, data, ours, calibrations, heads, gap)


def _train_full(
    data: LabelledData,
    labels: TierLabels,
    weights: Reals,
    out: Path,
    *,
    table: Path | None,
    report: Report,
    stages: Stages,
) -> TrainResult:
    shipped = load_bundle()
    static, vocabulary, table_facts = load_table(table or shipped.path)
    task_names = (*TASKS, *_further_tasks(data))
    corpus = [row for row in corpus_rows(labels.heads, labelled=False) if not row.set_apart]
    dataset = assemble(
        [*corpus, *_dataset_rows(data, labels, weights)],
        vocabulary,
        task_names=task_names,
        heads=labels.heads,
        advance=stages("reading requests", len(corpus) + len(data)),
    )
    report(f"{len(dataset)} rows, {len(corpus)} of them the everyday corpus and gibberish")
    vectors = static.vectors(dataset.readings)
    chooser = _decay_chooser(dataset, vectors, report, stages)
    learned = learn(dataset, vectors, choose=chooser, report=report, stages=stages)
    own = np.arange(len(corpus), len(dataset))
    outputs, scores = dataset.outputs, learned.scores[own]
    calibrations = _calibrate(
        scores,
        scores[:, outputs.tasks].argmax(axis=1),
        outputs,
        data,
        labels,
        weights,
        [None] * outputs.n_heads,
    )
    fit_name = f"net, weight decay {learned.settings.decay:g}"
    heads = head_results(labels, scores, calibrations, outputs, [(fit_name, fit_name)] * outputs.n_heads)
    exemplars, similarity, similarity_figures = known_hard_set(dataset, vectors, static, vocabulary)
    tokens = shipped.manifest["output_tokens"]
    facts = {
        "similarity": similarity,
        "output_tokens": {name: tokens.get(name, tokens["any"]) for name in (*task_names, "any")},
        "table": table_facts,
        "training": training_facts(data, labels) | {"everyday_rows": int(dataset.everyday.sum())},
        "metrics": {"cross_validated": [head.figures() for head in heads], "similarity": similarity_figures},
    }

    trained = with_trained({}, [*data.texts, *trained_texts(None)])
    extras = trained | {"background": background_levels(vectors[unrelated_rows(dataset)])}

    def write(path: Path) -> dict[str, Any]:
        return write_learned(
            path,
            learned,
            dataset,
            static,
            vocabulary,
            heads=manifest_heads(labels, calibrations, task_names),
            exemplars={KNOWN_HARD: exemplars},
            facts=facts,
            extras=extras,
        )

    ours = score(learned, dataset.take(own), vectors[own])
    return _write_checked(out, write, data, ours, calibrations, heads, learned.agreement)


def _write_checked(
    out: Path,
    write: Callable[[Path], dict[str, Any]],
    data: LabelledData,
    ours: Floats,
    calibrations: Sequence[HeadCalibration],
    heads: tuple[HeadResult, ...],
    agreement: float,
) -> TrainResult:
    """Writes elsewhere first, and to `out` only when the engine has loaded that and agrees."""
    with tempfile.TemporaryDirectory(prefix="turnout-") as folder:
        trial = Path(folder) / out.name
        write(trial)
        gap = check_engine(load_bundle(trial), data, ours, [one.by_task for one in calibrations])
    return TrainResult(out, write(out), heads, max(agreement, gap))


def _calibrate(
    scores: Floats,
    tasks: npt.NDArray[np.intp],
    outputs: Outputs,
    data: LabelledData,
    labels: TierLabels,
    weights: Reals,
    starts: Sequence[Sequence[Curve] | None],
) -> list[HeadCalibration]:
    return [
        calibrate_head(
            scores[:, outputs.logits.start + i].astype(np.float64),
            labels.suffices[:, i],
            weights,
            data.groups,
            tasks,
            outputs.n_tasks,
            kept=starts[i],
        )
        for i in range(outputs.n_heads)
    ]


def _further_tasks(data: LabelledData) -> list[str]:
    """Names of tasks in the data beside the ones that every bundle knows."""
    further = sorted({str(task) for task in data.tasks if task} - set(TASKS))
    if len(TASKS) + len(further) > MAX_TASKS:
        row = int(np.flatnonzero(data.tasks == further[MAX_TASKS - len(TASKS)])[0])
        problem = f"{len(further)} names beside {', '.join(TASKS)}, limit: {MAX_TASKS} tasks in all"
        raise data.defect(problem, column="task", row=row)
    return further


def _dataset_rows(data: LabelledData, labels: TierLabels, weights: Reals) -> Iterator[DatasetRow]:
    for i in range(len(data)):
        request = data.request(i)
        if request is None:
            problem = "a stored vector; fresh training on many rows needs text, or a bundle to start from"
            raise data.defect(problem, column="features", row=i)
        yield DatasetRow(
            id=f"data:{data.ids[i]}",
            group=f"data:{data.groups[i]}",
            source=f"data:{data.sources[i]}",
            task=str(data.tasks[i]),
            request=request,
            suffices=labels.suffices[i].tolist(),
            gains=labels.gains[i].tolist(),
            weight=float(weights[i]),
            kind=f"data:{data.sources[i]}".replace("/", " ") + f"/{data.categories[i]}",
        )


def _decay_chooser(
    dataset: Dataset, vectors: Floats, report: Report, stages: Stages
) -> Callable[[Floats], NetSettings]:
    """Picks the net's weight decay by the held-out loss of one fold."""

    def choose(centres: Floats) -> NetSettings:
        losses: dict[NetSettings, float] = {}
        advance = stages("choosing the weight decay", len(DECAYS))
        for factor in DECAYS:
            settings = replace(SETTINGS, decay=SETTINGS.decay * factor)
            raw = cross_validate(dataset, vectors, centres, settings=settings, only=1)
            losses[settings] = _held_out_loss(dataset, raw)
            report(f"weight decay {settings.decay:g}: held-out loss {losses[settings]:.4f}")
            advance(1)
        return min(losses, key=lambda settings: losses[settings])

    return choose


def _held_out_loss(dataset: Dataset, raw: Floats) -> float:
    """Mean log loss and squared error of the heads of recorded scores, over the rows that were held out."""
    outputs = dataset.outputs
    known = ~np.isnan(dataset.suffices) & ~np.isnan(raw[:, :1])
    logits = raw[:, outputs.public][known].astype(np.float64)
    errors = raw[:, outputs.public_gain][known] - dataset.gains[known]
    return float(log_losses(logits, dataset.suffices[known].astype(np.float64)).mean() + (errors**2).mean())
