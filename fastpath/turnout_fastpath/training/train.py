"""Trains the default bundle on a static table: n-grams, classifier, calibration, similarity scale, abstention.

    python -m turnout_fastpath.training.train OUT [--table FOLDER] [--data FOLDER]

Every threshold and every calibration is fitted on cross-validated predictions of the training rows; the third of the
everyday corpus that is set apart is only measured on, at the end.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
from sklearn.metrics import f1_score

from turnout_fastpath.bundle import DEFAULT_BUNDLE
from turnout_fastpath.training.calibration import expected_calibration_error
from turnout_fastpath.training.dataset import GIBBERISH, Dataset, load_dataset
from turnout_fastpath.training.everyday_rows import TASKS
from turnout_fastpath.training.head_calibration import probabilities
from turnout_fastpath.training.known_hard import KNOWN_HARD, known_hard_set
from turnout_fastpath.training.learning import Report, learn, score, write_learned
from turnout_fastpath.training.public_pairs import HEAD_MODELS
from turnout_fastpath.training.static_table import load_table

Floats = npt.NDArray[np.float32]

# Share of cross-validated everyday rows labelled small that the suggested bar keeps small.
SMALL_KEPT = 0.91
CHARS_PER_TOKEN = 4.0


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


def measure(
    dataset: Dataset, scores: Floats, p: Floats, abstain: dict[str, float], bars: dict[str, Any]
) -> dict[str, Any]:
    """Figures on the rows that were set apart."""
    everyday = dataset.everyday
    tiers = dataset.tiers[everyday]
    tasks = scores[:, dataset.outputs.tasks].argmax(axis=1)
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
            for i, head in enumerate(dataset.heads)
        },
        "abstained": round(float(unfamiliar[everyday].mean()), 4),
        "gibberish_abstained": round(float(unfamiliar[gibberish].mean()), 4),
    }


def train(out: Path, table_folder: Path, data: Path | None, report: Report = print) -> dict[str, Any]:
    """Trains and writes the default bundle; returns its manifest."""
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
    learned = learn(dataset, vectors, report=report)
    bars = suggest_bars(dataset.tiers[dataset.everyday], learned.p[dataset.everyday])
    report(f"suggested bars: {bars}")

    scores_apart = score(learned, everything.take(apart), all_vectors[apart])
    p_apart = probabilities(scores_apart, dataset.task_names, learned.calibrations.by_task)
    metrics = {
        "set_apart": measure(everything.take(apart), scores_apart, p_apart, learned.abstain, bars),
        "cross_validated": measure(dataset, learned.scores, learned.p, learned.abstain, bars),
    }
    exemplars, similarity, metrics["similarity"] = known_hard_set(dataset, vectors, table, vocabulary)
    report(json.dumps(metrics, indent=1))
    manifest = write_learned(
        out,
        learned,
        dataset,
        table,
        vocabulary,
        heads=[
            {
                "name": head,
                "reference_models": [*HEAD_MODELS[head], "everyday corpus: least trusted tier"],
                "calibration": {
                    "default": {"slope": 1.0, "intercept": 0.0},
                    "tasks": learned.calibrations.by_task[i],
                },
            }
            for i, head in enumerate(dataset.heads)
        ],
        exemplars={KNOWN_HARD: exemplars},
        facts={
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
        },
    )
    report(f"wrote {out}")
    return manifest


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
