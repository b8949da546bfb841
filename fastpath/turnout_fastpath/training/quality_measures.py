"""What the recipe reaches on public rows that its fit has not seen: the definitions are those of the evaluation.

Every figure comes from the recipe fitted again without the rows: by grouped folds, without whole families, or on few
labels. Calibrations are fitted on other folds than the ones they are measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.abstention import fit_abstention
from turnout_fastpath.training.dataset import GIBBERISH, Dataset
from turnout_fastpath.training.evaluation.baselines import length_wish
from turnout_fastpath.training.evaluation.bootstrap import Figure, GroupBootstrap
from turnout_fastpath.training.evaluation.calibration_bound import (
    calibration_error,
    perfect_calibration_bound,
)
from turnout_fastpath.training.evaluation.curve_measures import CurveRows, TierCurves, measure_curves
from turnout_fastpath.training.evaluation.macro_f1 import macro_f1
from turnout_fastpath.training.evaluation.pair_measures import PairMeasures, PairRows, measure_pair
from turnout_fastpath.training.evaluation.ranking import Ranking, auc
from turnout_fastpath.training.evaluation.routing_curve import apgr
from turnout_fastpath.training.export import mix
from turnout_fastpath.training.fit import cross_validate, family_names, fit, group_folds, predict
from turnout_fastpath.training.head_calibration import calibrate, probabilities
from turnout_fastpath.training.recorded_lines import (
    GSM8K,
    MIX,
    MIX_MID,
    MMLU,
    MMLU_PRO,
    MMLU_PRO_FLASH,
    MMLU_PRO_LLAMA,
    ZEROEVAL_CRUX,
    ZEROEVAL_GSM,
    ZEROEVAL_MATH,
    Line,
    Pairs,
    Scored,
)

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.intp]

REPLICATES = 500
CALIBRATION_FOLDS = 5
# Relative prices of mistral-7b, llama-3.1-8b and nemotron-51b: an assumption.
MIX_PRICES = (1.0, 2.0, 12.0)
MIX_QUALITY = 0.97


def cross_calibrated(dataset: Dataset, raw: Floats) -> Scored:
    """Scores of raw outputs, each row's calibration fitted on other groups' rows."""
    folds = group_folds(dataset.groups, CALIBRATION_FOLDS, 5)
    scores = np.empty((len(dataset), dataset.outputs.n_scores), np.float32)
    p = np.empty((len(dataset), len(dataset.heads)))
    for fold in range(CALIBRATION_FOLDS):
        rest, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        fitted = calibrate(dataset.take(rest), raw[rest])
        scores[own] = mix(raw[own], dataset.outputs, fitted.slopes, fitted.intercepts)
        p[own] = probabilities(scores[own], dataset.task_names, fitted.by_task)
    return Scored(scores, p, scores[:, dataset.outputs.gains])


def held_out(dataset: Dataset, vectors: Floats, clusters: Floats, *, seed: int) -> Scored:
    """Scores of every row by fits without its group."""
    raw = cross_validate(dataset, vectors, clusters, seed=seed)
    return cross_calibrated(dataset, raw)


def without(dataset: Dataset, vectors: Floats, clusters: Floats, left: npt.NDArray[np.bool_]) -> Scored:
    """Scores of the rows that were `left` out of the fit, with all groups they touch; NaN elsewhere.

    They are uncalibrated: what is left out may not calibrate, and ranks do not need it.
    """
    touched = np.isin(dataset.groups, np.unique(dataset.groups[left]))
    rest, own = np.flatnonzero(~touched), np.flatnonzero(left)
    fitted = fit(dataset.take(rest), vectors[rest], clusters, nets=1)
    plain = np.ones((2, len(dataset.heads)), np.float32), np.zeros((2, len(dataset.heads)), np.float32)
    scores = np.full((len(dataset), dataset.outputs.n_scores), np.nan)
    raw = predict(fitted, dataset.readings.take(own), vectors[own], clusters)
    scores[own] = mix(raw, dataset.outputs, *plain)
    p = 1 / (1 + np.exp(-scores[:, dataset.outputs.logits]))
    return Scored(scores, p, scores[:, dataset.outputs.gains])


def length_gap(rows: PairRows) -> Figure:
    """APGR by gain minus APGR by prompt length."""
    ours, length = Ranking(rows.expected_gain), Ranking(length_wish(list(rows.texts)))
    return GroupBootstrap(rows.groups, replicates=REPLICATES).figure(
        lambda weights: apgr(ours, rows.gains, weights) - apgr(length, rows.gains, weights)
    )


def pair(rows: PairRows) -> PairMeasures:
    """Every measure of a line."""
    return measure_pair(rows, replicates=REPLICATES)


def pooled_auc(parts: Sequence[PairRows]) -> tuple[Figure, Figure]:
    """AUC of "needs strong" over several lines at once, by gain and by 1 - p_sufficient."""
    needs = np.concatenate([part.gains > 0 for part in parts])
    draws = GroupBootstrap(np.concatenate([part.groups for part in parts]), replicates=REPLICATES)
    wishes = (
        np.concatenate([part.expected_gain for part in parts]),
        np.concatenate([1 - part.trust for part in parts]),
    )
    by_gain, by_trust = (_auc(draws, Ranking(wish), needs) for wish in wishes)
    return by_gain, by_trust


def _auc(draws: GroupBootstrap, ranking: Ranking, needs: npt.NDArray[np.bool_]) -> Figure:
    return draws.figure(lambda weights: auc(ranking, needs, weights))


@dataclass(frozen=True)
class CalibrationLine:
    """ECE on some rows of one head, beside what a perfect predictor would seem to have on as many."""

    name: str
    rows: int
    ece: Figure
    bound: float


def calibration_lines(dataset: Dataset, scored: Scored) -> list[CalibrationLine]:
    """Pooled, by head, and by head and predicted task with at least 300 rows; recorded pairs and everyday rows apart."""
    lines = []
    tasks = scored.scores[:, dataset.outputs.tasks].argmax(axis=1)
    for part, rows in (("recorded pairs", dataset.kinds != ""), ("everyday", dataset.everyday)):
        known = ~np.isnan(dataset.suffices) & rows[:, None]
        lines.append(_calibration(f"{part}, pooled", dataset, scored, known))
        for head, name in enumerate(dataset.heads):
            of_head = known & (np.arange(len(dataset.heads)) == head)
            lines.append(_calibration(f"{part}, {name}", dataset, scored, of_head))
            for task, task_name in enumerate(dataset.task_names):
                own = of_head & (tasks == task)[:, None]
                if own.sum() >= 300:
                    lines.append(_calibration(f"{part}, {name}, {task_name}", dataset, scored, own))
    return lines


def _calibration(
    name: str, dataset: Dataset, scored: Scored, cells: npt.NDArray[np.bool_]
) -> CalibrationLine:
    rows = np.nonzero(cells)[0]
    p, labels = scored.p[cells], dataset.suffices[cells].astype(float)
    draws = GroupBootstrap(dataset.groups[rows], replicates=REPLICATES)
    ece = draws.figure(lambda weights: calibration_error(p, labels, weights))
    return CalibrationLine(
        name, len(p), ece, perfect_calibration_bound(p, np.ones(len(p)), simulations=REPLICATES)
    )


def three_tiers(pairs: Pairs, scored: Scored) -> TierCurves:
    """Mistral 7B, Llama 8B and Nemotron on the LLMRouter mix, at MIX_PRICES."""
    small, mid = pairs.rows(MIX, scored), pairs.rows(MIX_MID, scored)
    costs = np.broadcast_to(MIX_PRICES, (len(small), 3)).astype(float)
    rows = CurveRows(
        scores=np.stack([small.weak, mid.weak, small.strong], axis=1),
        costs=costs,
        suffices=np.stack([small.suffices, mid.suffices], axis=1),
        expected_gains=np.stack([small.expected_gain, mid.expected_gain], axis=1),
        trust=np.stack([small.trust, mid.trust], axis=1),
        texts=small.texts,
        categories=small.categories,
        groups=small.groups,
        weights=small.weights,
    )
    names = ("mistral-7b", "llama-3.1-8b", "nemotron-51b")
    return measure_curves(rows, names, quality=MIX_QUALITY, replicates=REPLICATES)


def task_f1(dataset: Dataset, scored: Scored, rows: npt.NDArray[np.bool_]) -> Figure:
    """Macro F1 of the task head over the tasks that these rows have."""
    labels = dataset.tasks[rows]
    said = scored.scores[rows][:, dataset.outputs.tasks].argmax(axis=1)
    draws = GroupBootstrap(dataset.groups[rows], replicates=REPLICATES)
    return draws.figure(lambda weights: macro_f1(labels, said, weights))


def few_labels(
    dataset: Dataset, vectors: Floats, clusters: Floats, pairs: Pairs, *, labels: int, seeds: Sequence[int]
) -> list[Figure]:
    """APGR on the other MMLU rows of fits with so many labels of MMLU and none of any other recorded pair."""
    line = MMLU
    of_line = dataset.sources == line.source
    found = []
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(np.unique(dataset.groups[of_line]))
        chosen = np.flatnonzero(of_line & np.isin(dataset.groups, order[:labels]))[:labels]
        train = np.concatenate([np.flatnonzero(dataset.kinds == ""), chosen])
        test = of_line & ~np.isin(dataset.groups, dataset.groups[chosen])
        fitted = fit(dataset.take(train), vectors[train], clusters, nets=1, seed=seed)
        own = np.flatnonzero(test)
        gains = np.full((len(dataset), len(dataset.heads)), np.nan)
        raw = predict(fitted, dataset.readings.take(own), vectors[own], clusters)
        gains[own] = raw[:, dataset.outputs.public_gain]
        rows = pairs.rows(line, Scored(gains, gains, gains), test)
        found.append(_apgr(rows))
    return found


def _apgr(rows: PairRows) -> Figure:
    ranking = Ranking(rows.expected_gain)
    draws = GroupBootstrap(rows.groups, replicates=REPLICATES)
    return draws.figure(lambda weights: apgr(ranking, rows.gains, weights))


def abstained(dataset: Dataset, scored: Scored, vectors: Floats, clusters: Floats) -> dict[str, Figure]:
    """Share of cross-validated rows outside the thresholds, by part."""
    limits = fit_abstention(dataset, scored.scores, vectors, clusters)
    outside = (
        (scored.scores[:, -1] > limits["unfamiliar_logit"])
        | (dataset.readings.unknown_share > limits["unknown_share"])
        | ((vectors @ clusters.T).max(axis=1) < limits["cluster_cosine"])
    )
    parts = {
        "recorded pairs": dataset.kinds != "",
        "everyday": dataset.everyday,
        "gibberish": dataset.sources == GIBBERISH,
    }
    return {name: share(outside[rows], dataset.groups[rows]) for name, rows in parts.items()}


def share(rows: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_]) -> Figure:
    """Share of rows that are true."""
    return GroupBootstrap(groups, replicates=REPLICATES).mean(rows.astype(float))


def families(dataset: Dataset) -> dict[str, tuple[npt.NDArray[np.bool_], tuple[Line, ...]]]:
    """Rows of each family that is left out, whatever source they came by, and the lines to test on."""
    family = family_names(dataset.kinds)
    mmlu = np.isin(family, ["routellm_mmlu", "mmlu_pro"]) | (dataset.kinds == "llmrouter_mix/mmlu")
    gsm8k = (family == "gsm8k") | (dataset.kinds == "llmrouter_mix/agentverse-mgsm")
    math = (family == "zeroeval_math_l5") | (dataset.kinds == "llmrouter_mix/math")
    return {
        "MMLU and MMLU-Pro": (mmlu, (MMLU, MMLU_PRO, MMLU_PRO_LLAMA, MMLU_PRO_FLASH)),
        "GSM8K": (gsm8k, (GSM8K, ZEROEVAL_GSM)),
        "LLMRouter mix": (dataset.sources == "llmrouter_mix", (MIX, MIX_MID)),
        "MATH": (math, (ZEROEVAL_MATH,)),
        "CRUXEval": (family == "zeroeval_crux", (ZEROEVAL_CRUX,)),
    }
