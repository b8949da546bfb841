"""Calibration of a net's heads: each expert on its own rows, then each head by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.calibration import fit_platt, sigmoid
from turnout_fastpath.training.dataset import Dataset
from turnout_fastpath.training.export import mix
from turnout_fastpath.training.outputs import Outputs

Floats = npt.NDArray[np.float32]

# Rows with which a task's own calibration is pulled towards none: a task with few rows keeps the pooled one.
TASK_PRIOR_ROWS = 200.0
MIN_TASK_ROWS = 50


@dataclass(frozen=True)
class Calibrations:
    """Platt slopes and intercepts: of the experts, (2, heads), and of each head by task."""

    slopes: Floats
    intercepts: Floats
    by_task: list[dict[str, dict[str, float]]]


def calibrate(dataset: Dataset, raw: Floats) -> Calibrations:
    """Calibrates each expert on its own rows, then each head by task on the mixture."""
    outputs, n_heads = dataset.outputs, len(dataset.heads)
    known = ~np.isnan(dataset.suffices)
    slopes, intercepts = np.ones((2, n_heads), np.float32), np.zeros((2, n_heads), np.float32)
    for expert, (columns, own) in enumerate(
        ((outputs.public, ~dataset.everyday), (outputs.everyday, dataset.everyday))
    ):
        for head in range(n_heads):
            rows = known[:, head] & own
            if rows.any():
                slopes[expert, head], intercepts[expert, head] = fit_platt(
                    raw[rows, columns.start + head], dataset.suffices[rows, head], dataset.weights[rows]
                )
    mixed = mix(raw, outputs, slopes, intercepts)
    by_task = []
    for head in range(n_heads):
        entries = {}
        for number, task in enumerate(dataset.task_names):
            rows = known[:, head] & (mixed[:, outputs.tasks].argmax(axis=1) == number)
            slope, intercept = 1.0, 0.0
            if rows.sum() >= MIN_TASK_ROWS:
                slope, intercept = fit_platt(
                    mixed[rows, outputs.logits.start + head],
                    dataset.suffices[rows, head],
                    dataset.weights[rows],
                    prior_rows=TASK_PRIOR_ROWS,
                )
            entries[task] = {"slope": round(max(slope, 0.1), 5), "intercept": round(intercept, 5)}
        by_task.append(entries)
    return Calibrations(slopes, intercepts, by_task)


def probabilities(
    scores: Floats, task_names: Sequence[str], by_task: Sequence[Mapping[str, Mapping[str, float]]]
) -> Floats:
    """(n, heads) calibrated p_sufficient, as the engine computes it from the scores."""
    outputs = Outputs(len(task_names), len(by_task))
    tasks = scores[:, outputs.tasks].argmax(axis=1)
    result = np.empty((len(scores), len(by_task)), np.float32)
    for head, entries in enumerate(by_task):
        slope = np.array([entries[task]["slope"] for task in task_names])[tasks]
        intercept = np.array([entries[task]["intercept"] for task in task_names])[tasks]
        result[:, head] = sigmoid(slope * scores[:, outputs.logits.start + head] + intercept)
    return result
