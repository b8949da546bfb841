"""Trains a bundle on a static table: n-grams, classifier, calibration, similarity scale, abstention.

    python -m turnout_fastpath.training.train OUT [--table FOLDER] [--data FOLDER]

Every threshold and every calibration is fitted on cross-validated predictions of the training rows; the third of the
everyday corpus that is set apart is only measured on, at the end.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import f1_score

from turnout_fastpath.bundle import DEFAULT_BUNDLE, write_bundle
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.embedding import EmbeddingTable, VectorSet
from turnout_fastpath.snapshot import FEATURES_REVISION
from turnout_fastpath.training.calibration import expected_calibration_error, fit_platt, sigmoid
from turnout_fastpath.training.dataset import GIBBERISH, HEADS, Dataset, load_dataset
from turnout_fastpath.training.everyday_rows import TASKS, TIERS, load_everyday, load_paraphrases
from turnout_fastpath.training.export import export_onnx, mix
from turnout_fastpath.training.fit import (
    IDENTITY,
    INPUTS,
    Fitted,
    Outputs,
    Table,
    cross_validate,
    fit,
    net_inputs,
    predict,
)
from turnout_fastpath.training.public_pairs import HEAD_MODELS
from turnout_fastpath.training.similarity import THRESHOLD, choose_exemplars, fit_similarity
from turnout_fastpath.wordpiece import WordPiece

Floats = npt.NDArray[np.float32]
Report = Callable[[str], None]

CLUSTERS = 64
EXEMPLARS = 64
KNOWN_HARD = "known_hard"
# Rows with which a task's own calibration is pulled towards none: a task with few rows keeps the pooled one.
TASK_PRIOR_ROWS = 200.0
# Share of cross-validated gibberish that must abstain, and of real rows that may by the measures behind.
CAUGHT = 0.94
ABSTAIN_SHARE = 0.002
# Share of cross-validated everyday rows labelled small that the suggested bar keeps small.
SMALL_KEPT = 0.91
CHARS_PER_TOKEN = 4.0


@dataclass(frozen=True)
class Calibrations:
    """Platt slopes and intercepts: of the experts, (2, heads), and of each head by task."""

    slopes: Floats
    intercepts: Floats
    by_task: list[dict[str, dict[str, float]]]


def calibrate(dataset: Dataset, raw: Floats) -> Calibrations:
    """Calibrates each expert on its own rows, then each head by task on the mixture."""
    known = ~np.isnan(dataset.suffices)
    slopes, intercepts = np.ones((2, len(HEADS)), np.float32), np.zeros((2, len(HEADS)), np.float32)
    for expert, (columns, own) in enumerate(
        ((Outputs.PUBLIC, ~dataset.everyday), (Outputs.EVERYDAY, dataset.everyday))
    ):
        for head in range(len(HEADS)):
            rows = known[:, head] & own
            if rows.any():
                slopes[expert, head], intercepts[expert, head] = fit_platt(
                    raw[rows, columns.start + head], dataset.suffices[rows, head]
                )
    mixed = mix(raw, slopes, intercepts)
    by_task = []
    for head in range(len(HEADS)):
        entries = {}
        for number, task in enumerate(TASKS):
            rows = known[:, head] & (mixed[:, Outputs.TASKS].argmax(axis=1) == number)
            slope, intercept = 1.0, 0.0
            if rows.sum() >= 50:
                slope, intercept = fit_platt(
                    mixed[rows, len(TASKS) + head], dataset.suffices[rows, head], prior_rows=TASK_PRIOR_ROWS
                )
            entries[task] = {"slope": round(max(slope, 0.1), 5), "intercept": round(intercept, 5)}
        by_task.append(entries)
    return Calibrations(slopes, intercepts, by_task)


def probabilities(scores: Floats, calibrations: Calibrations) -> Floats:
    """(n, heads) calibrated p_sufficient, as the engine computes it."""
    tasks = scores[:, Outputs.TASKS].argmax(axis=1)
    result = np.empty((len(scores), len(HEADS)), np.float32)
    for head, entries in enumerate(calibrations.by_task):
        slope = np.array([entries[task]["slope"] for task in TASKS])[tasks]
        intercept = np.array([entries[task]["intercept"] for task in TASKS])[tasks]
        result[:, head] = sigmoid(slope * scores[:, len(TASKS) + head] + intercept)
    return result


def fit_abstention(dataset: Dataset, scores: Floats, vectors: Floats, clusters: Floats) -> dict[str, float]:
    """Thresholds: the unfamiliar logit that CAUGHT of the gibberish passes; the others back it up.

    In Chinese and Japanese most characters are no piece of the vocabulary, and n-grams carry the meaning: the share of
    unknown pieces that abstains lies above nearly all everyday rows, which have every language.
    """
    real = dataset.sources != GIBBERISH
    nearest = (vectors[real] @ clusters.T).max(axis=1)
    unknown = dataset.readings.unknown_share[dataset.everyday]
    return {
        "unfamiliar_logit": float(np.quantile(scores[~real, -1], 1 - CAUGHT)),
        "unknown_share": float(np.quantile(unknown, 1 - ABSTAIN_SHARE)),
        "cluster_cosine": float(np.quantile(nearest, ABSTAIN_SHARE / 4)),
    }


def everyday_rates(tiers: npt.NDArray[np.intp], p: Floats, bars: tuple[float, float]) -> dict[str, float]:
    """Where labelled rows go at two bars (small, mid) without rules."""
    chosen = np.where(p[:, 0] >= bars[0], 0, np.where(p[:, 1] >= bars[1], 1, 2))
    return {
        "small_to_small": float((chosen[tiers == 0] == 0).mean()),
        "mid_below_frontier": float((chosen[tiers == 1] < 2).mean()),
        "frontier_below_frontier": float((chosen[tiers == 2] < 2).mean()),
    }


def suggest_bars(tiers: npt.NDArray[np.intp], p: Floats) -> dict[str, Any]:
    """Bars from cross-validated rows: SMALL_KEPT of the small rows stay small, then the lowest mid bar that adds at most two
    points of frontier rows below frontier.
    """
    small = float(np.quantile(p[tiers == 0, 0], 1 - SMALL_KEPT))
    base = everyday_rates(tiers, p, (small, 1.01))["frontier_below_frontier"]
    mid = 1.0
    for bar in np.arange(0.99, 0.3, -0.01):
        if everyday_rates(tiers, p, (small, bar))["frontier_below_frontier"] > base + 0.02:
            break
        mid = float(bar)
    return {"small": round(small, 3), "mid": round(mid, 2), "rates": everyday_rates(tiers, p, (small, mid))}


def output_tokens(data: Path | None) -> dict[str, float]:
    """Expected answer length by task in provider tokens, from the recorded answers' characters."""
    lengths: dict[str, list[float]] = {}
    if data is not None:
        columns = ["task", "weak_out_chars", "strong_out_chars"]
        for row in pyarrow.parquet.read_table(data / "public" / "pairs.parquet", columns=columns).to_pylist():
            for side in columns[1:]:
                if row[side]:
                    lengths.setdefault(row["task"], []).append(row[side] / CHARS_PER_TOKEN)
    everything = [length for task in lengths.values() for length in task]
    overall = float(np.mean(everything)) if everything else 256.0
    return {task: round(float(np.mean(lengths.get(task, [overall]))), 1) for task in TASKS} | {
        "any": round(overall, 1)
    }


def load_table(folder: Path) -> tuple[Table, list[str], dict[str, Any]]:
    """A table folder of `distil`, or a bundle."""
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    table = Table(np.load(folder / "embedding.npy"), np.load(folder / "embedding_weights.npy"))
    facts_file = folder / "table.json"
    if facts_file.exists():
        return table, vocabulary, json.loads(facts_file.read_bytes())
    return table, vocabulary, json.loads((folder / "manifest.json").read_bytes())["table"]


def known_hard(dataset: Dataset, vectors: Floats) -> list[str]:
    """Exemplars from the training rows that are labelled frontier, in ASCII.

    Scripts that the vocabulary spells letter by letter pool to nearly one vector a script: an exemplar in one of them
    would match every text of its script.
    """
    text_of = {
        row.id: row.last_user_turn
        for row in load_everyday()
        if row.tier == TIERS[-1] and not row.set_apart and row.last_user_turn.isascii()
    }
    usable = np.array(
        [i for i, key in enumerate(dataset.ids) if 5 <= len(text_of.get(key, "").split()) <= 80]
    )
    return [text_of[dataset.ids[i]] for i in usable[choose_exemplars(vectors[usable], EXEMPLARS)]]


def similarity_facts(
    dataset: Dataset, vectors: Floats, exemplar_vectors: Floats, embed: Callable[[str], Floats]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The similarity map, and the share of unrelated prompts and of paraphrases that match at the threshold."""
    hard = VectorSet.quantise(exemplar_vectors)
    easy = np.flatnonzero((dataset.sources != GIBBERISH) & (dataset.tiers < len(TIERS) - 1))
    fold = np.random.default_rng(5).random(len(easy)) < 0.5
    nearest = np.array([hard.cosine(vectors[i]).max() for i in easy], np.float32)
    raw, calibrated = fit_similarity(nearest[fold])
    texts, paraphrases = (np.stack([embed(pair[i]) for pair in load_paraphrases()]) for i in range(2))
    facts = {
        "threshold": THRESHOLD,
        "unrelated_matches": round(float((nearest[~fold] >= raw[2]).mean()), 5),
        "paraphrase_recall": round(float(((texts * paraphrases).sum(axis=1) >= raw[2]).mean()), 4),
        "paraphrases": len(texts),
    }
    return {"raw": [round(x, 5) for x in raw], "calibrated": calibrated}, facts


def measure(
    dataset: Dataset, scores: Floats, p: Floats, abstain: dict[str, float], bars: dict[str, Any]
) -> dict[str, Any]:
    """Figures on the rows that were set apart."""
    everyday = dataset.everyday
    tiers = dataset.tiers[everyday]
    tasks = scores[:, Outputs.TASKS].argmax(axis=1)
    unfamiliar = (scores[:, -1] > abstain["unfamiliar_logit"]) | (
        dataset.readings.unknown_share > abstain["unknown_share"]
    )
    gibberish = dataset.sources == GIBBERISH
    return {
        "rows": int(everyday.sum()),
        "at_suggested_bars": everyday_rates(tiers, p[everyday], (bars["small"], bars["mid"])),
        "task_macro_f1": round(float(f1_score(dataset.tasks[everyday], tasks[everyday], average="macro")), 4),
        "task_accuracy": round(float((dataset.tasks[everyday] == tasks[everyday]).mean()), 4),
        "ece": {
            head: round(expected_calibration_error(p[everyday, i], dataset.suffices[everyday, i]), 4)
            for i, head in enumerate(HEADS)
        },
        "abstained": round(float(unfamiliar[everyday].mean()), 4),
        "gibberish_abstained": round(float(unfamiliar[gibberish].mean()), 4),
    }


def train(out: Path, table_folder: Path, data: Path | None, report: Report = print) -> dict[str, Any]:
    """Trains and writes a bundle; returns its manifest."""
    table, vocabulary, table_facts = load_table(table_folder)
    everything = load_dataset(data, vocabulary)
    apart = np.flatnonzero(everything.set_apart)
    own = np.flatnonzero(~everything.set_apart)
    dataset = everything.take(own)
    report(
        f"{len(dataset)} training rows, {int(dataset.everyday.sum())} of them everyday; {len(apart)} rows set apart"
    )
    all_vectors = table.vectors(everything.readings)
    vectors = all_vectors[own]
    clusters = VectorSet.quantise(_cluster(vectors))
    centres = _unit(np.asarray(clusters.levels, np.float32))

    report("cross-validating")
    raw = cross_validate(dataset, vectors, centres)
    calibrations = calibrate(dataset, raw)
    scores = mix(raw, calibrations.slopes, calibrations.intercepts)
    p = probabilities(scores, calibrations)
    abstain = fit_abstention(dataset, scores, vectors, centres)
    bars = suggest_bars(dataset.tiers[dataset.everyday], p[dataset.everyday])
    report(f"suggested bars: {bars}")

    report("fitting on all training rows")
    fitted = fit(dataset, vectors, centres)
    model = export_onnx(fitted, calibrations.slopes, calibrations.intercepts)
    check_export(fitted, calibrations, model, everything.take(apart), all_vectors[apart], centres)
    raw_apart = predict(fitted, everything.readings.take(apart), all_vectors[apart], centres)
    scores_apart = mix(raw_apart, calibrations.slopes, calibrations.intercepts)
    metrics = {
        "set_apart": measure(
            everything.take(apart), scores_apart, probabilities(scores_apart, calibrations), abstain, bars
        ),
        "cross_validated": measure(dataset, scores, p, abstain, bars),
    }
    exemplars = known_hard(dataset, vectors)
    by_text = {row.last_user_turn: row.id for row in load_everyday()}
    position = {key: i for i, key in enumerate(dataset.ids)}
    exemplar_vectors = vectors[[position[by_text[text]] for text in exemplars]]
    similarity, facts = similarity_facts(dataset, vectors, exemplar_vectors, _embedder(table, vocabulary))
    metrics["similarity"] = facts
    report(json.dumps(metrics, indent=1))

    manifest = {
        "name": out.name,
        "created": datetime.date.today().isoformat(),
        "features_revision": FEATURES_REVISION.hex(),
        "tasks": list(TASKS),
        "heads": [
            {
                "name": head,
                "reference_models": [*HEAD_MODELS[head], "everyday corpus: least trusted tier"],
                "calibration": {
                    "default": {"slope": 1.0, "intercept": 0.0},
                    "tasks": calibrations.by_task[i],
                },
            }
            for i, head in enumerate(HEADS)
        ],
        "inputs": [
            {"feature": name, "transform": "identity" if name in IDENTITY else "log1p"} for name in INPUTS
        ],
        "abstain": abstain,
        "similarity": similarity,
        "output_tokens": output_tokens(data),
        "suggested_bars": bars,
        "table": table_facts,
        "training": {
            "rows": len(dataset),
            "everyday_rows": int(dataset.everyday.sum()),
            "sources": sorted(set(dataset.sources.tolist())),
            "licences": "everyday corpus: Apache-2.0; public labels: Apache-2.0 and MIT (see docs/bundle.md)",
        },
        "metrics": metrics,
        "feature_means": [round(float(value), 6) for value in fitted.input_means],
    }
    write_bundle(
        out,
        manifest,
        vocabulary=vocabulary,
        arrays={
            "embedding": table.rows,
            "embedding_weights": table.weights,
            "ngrams": fitted.ngrams.rows,
            "ngram_scales": fitted.ngrams.scales,
            "clusters": clusters.levels,
        },
        exemplars={KNOWN_HARD: exemplars},
        classifier=model,
    )
    report(f"wrote {out}")
    return manifest


def check_export(
    fitted: Fitted,
    calibrations: Calibrations,
    model: bytes,
    dataset: Dataset,
    vectors: Floats,
    clusters: Floats,
) -> None:
    """The exported model says what the trainer says, within 1e-4 of a logit.

    Raises:
        AssertionError: it does not.
    """
    inputs = net_inputs(dataset.readings, vectors, fitted.ngrams.values(dataset.readings), clusters)
    ours = mix(fitted.raw(inputs), calibrations.slopes, calibrations.intercepts)
    theirs = Classifier(model, inputs.shape[1], ours.shape[1]).score(inputs)
    gap = float(np.abs(ours - theirs).max())
    if gap > 1e-4:
        raise AssertionError(f"the exported model differs from the trainer by {gap}, limit: 1e-4")


def _cluster(vectors: Floats) -> Floats:
    sample = vectors[np.linalg.norm(vectors, axis=1) > 0.5]
    return _unit(MiniBatchKMeans(CLUSTERS, n_init=2, random_state=0).fit(sample).cluster_centers_)


def _unit(vectors: Floats) -> Floats:
    result: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return result


def _embedder(table: Table, vocabulary: list[str]) -> Callable[[str], Floats]:
    wordpiece, rows = WordPiece(vocabulary), EmbeddingTable(table.rows, table.weights)
    return lambda text: rows.pool(wordpiece.encode(text, 384))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the bundle")
    parser.add_argument("--table", type=Path, default=DEFAULT_BUNDLE, help="a table of `distil`, or a bundle")
    parser.add_argument("--data", default=os.environ.get("TURNOUT_DATA"), help="folder of the public data")
    arguments = parser.parse_args()
    train(arguments.out, arguments.table, arguments.data and Path(arguments.data))


if __name__ == "__main__":
    main()
