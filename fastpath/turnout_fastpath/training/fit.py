"""Fits the learned part on a dataset: the n-gram table, then the net over everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.snapshot import ALL_FEATURE_NAMES
from turnout_fastpath.training.dataset import GIBBERISH, Dataset
from turnout_fastpath.training.everyday_rows import TIERS
from turnout_fastpath.training.net import Net, NetSettings, Targets, fit_net, merge, standardisation
from turnout_fastpath.training.readings import Readings
from turnout_fastpath.training.ridge import fit_ridge

Floats = npt.NDArray[np.float32]

# What the classifier must not know. A long system prompt in front of a question must not move it, so what surrounds
# the judged text is left to rules; sizes of tool definitions and media likewise.
NOT_JUDGED = frozenset(
    {"request_tokens", "messages", "system_bytes", "history_bytes", "tool_schema_bytes", "media_bytes"}
)
INPUTS = tuple(name for name in ALL_FEATURE_NAMES if name not in NOT_JUDGED)
IDENTITY = frozenset(name for name in INPUTS if name.endswith("_share"))

QUERY_SCALE = 32767
# The kernel sums sixteen columns at a time.
NGRAM_COLUMNS_STEP = 16
NGRAM_PENALTY = 1.0
NGRAM_FOLDS = 5
NETS = 3
SETTINGS = NetSettings()
# An everyday row weighs this many public prompts: there are five times fewer of them.
EVERYDAY_WEIGHT = 3.0
# Public task labels are those of whole benchmarks, hence coarse.
PUBLIC_TASK_WEIGHT = 0.3


@dataclass(frozen=True)
class Ngrams:
    """An n-gram table: (buckets, columns) int8 and (columns,) float32 scales."""

    rows: npt.NDArray[np.int8]
    scales: Floats

    def values(self, readings: Readings) -> Floats:
        """(n, columns) as the kernel computes them."""
        sums = readings.ngrams @ self.rows.astype(np.float64)
        return np.asarray(sums * self.scales, np.float32)


def ngram_targets(dataset: Dataset) -> tuple[Floats, Floats]:
    """Centred targets and weights, a column each: tasks, heads' sufficiency and gain, everyday tiers.

    Public labels and everyday labels have columns of their own, so that the net can weigh them by itself.
    """
    n = len(dataset)
    everyday = dataset.everyday
    columns: list[tuple[Floats, Floats]] = []
    natural = dataset.sources != GIBBERISH
    ones = np.where(everyday, EVERYDAY_WEIGHT, 1).astype(np.float32) * natural * (dataset.tasks >= 0)
    for task in range(dataset.outputs.n_tasks):
        columns.append(((dataset.tasks == task).astype(np.float32), ones))
    for head in range(dataset.outputs.n_heads):
        for labels in (dataset.suffices[:, head], dataset.gains[:, head]):
            known = ~np.isnan(labels) & ~everyday
            columns.append((np.where(known, labels, 0), known * dataset.weights))
    for tier in range(1, len(TIERS)):
        columns.append(((dataset.tiers < tier).astype(np.float32), everyday.astype(np.float32)))
    width = -(-len(columns) // NGRAM_COLUMNS_STEP) * NGRAM_COLUMNS_STEP
    targets = np.zeros((n, width), np.float32)
    weights = np.zeros((n, width), np.float32)
    for i, (target, weight) in enumerate(columns):
        total = weight.sum()
        targets[:, i] = (target - (weight @ target) / total) if total else 0
        weights[:, i] = weight
    return targets, weights


def fit_ngrams(dataset: Dataset, targets: Floats, weights: Floats) -> Ngrams:
    """Ridge over hashed n-grams, quantised to int8 with a scale a column."""
    coefficients = fit_ridge(dataset.readings.ngrams, targets, weights, penalty=NGRAM_PENALTY, iterations=20)
    # The largest coefficients are of the rarest n-grams: clipping at this quantile costs nothing and keeps the levels.
    peaks = np.quantile(np.abs(coefficients), 0.9999, axis=0)
    scales = np.maximum(peaks, 1e-6) / 127
    levels = np.clip(np.rint(coefficients / scales), -127, 127).astype(np.int8)
    return Ngrams(levels, scales.astype(np.float32))


def group_folds(groups: npt.NDArray[np.str_], folds: int, seed: int) -> npt.NDArray[np.intp]:
    """(n,) fold of each row; groups stay whole."""
    names, numbers = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).integers(0, folds, len(names))[numbers]


def transform_features(features: Floats) -> Floats:
    """(n, inputs) of raw features: shares as they are, counts by log(1 + x)."""
    chosen = features[:, [ALL_FEATURE_NAMES.index(name) for name in INPUTS]]
    logs = [i for i, name in enumerate(INPUTS) if name not in IDENTITY]
    chosen[:, logs] = np.log1p(chosen[:, logs])
    return chosen


def net_targets(dataset: Dataset) -> Targets:
    """The net's labels.

    Exam questions and everyday requests have experts of their own for each head, and a gate that tells them apart:
    their labels mean different things (two recorded answers compared, or a careful engineer's trust).
    """
    everyday = dataset.everyday
    gibberish = dataset.sources == GIBBERISH
    known = ~np.isnan(dataset.suffices)
    public = (known & ~everyday[:, None]) * dataset.weights[:, None]
    own = (known & everyday[:, None]) * np.float32(EVERYDAY_WEIGHT)
    suffices, gains = np.nan_to_num(dataset.suffices), np.nan_to_num(dataset.gains)
    task_weights = np.where(everyday, EVERYDAY_WEIGHT, PUBLIC_TASK_WEIGHT) * ~gibberish * (dataset.tasks >= 0)
    gate_weights = np.where(everyday, EVERYDAY_WEIGHT, 1.0) * ~gibberish
    unfamiliar_weights = np.where(gibberish, 3.0, np.where(everyday, EVERYDAY_WEIGHT, 1.0))
    return Targets(
        classes=((dataset.tasks, task_weights.astype(np.float32)),),
        binary=np.hstack([suffices, suffices, everyday[:, None], gibberish[:, None]]).astype(np.float32),
        binary_weights=np.hstack([public, own, gate_weights[:, None], unfamiliar_weights[:, None]]).astype(
            np.float32
        ),
        values=np.hstack([gains, gains]).astype(np.float32),
        value_weights=np.hstack([public, own]).astype(np.float32),
    )


def net_inputs(readings: Readings, vectors: Floats, ngram_values: Floats, clusters: Floats) -> Floats:
    """(n, inputs) in the engine's order: features, vector, n-gram sums, familiarity."""
    # As the kernel rounds a vector before it takes cosines.
    query = np.rint(vectors * np.float32(QUERY_SCALE)) / np.float32(QUERY_SCALE)
    nearest = (query @ clusters.T).max(axis=1)
    familiarity = np.stack([readings.unknown_share, readings.pieces_per_word, nearest], axis=1)
    return np.hstack([transform_features(readings.features), vectors, ngram_values, familiarity]).astype(
        np.float32
    )


@dataclass(frozen=True)
class Fitted:
    """An n-gram table and the net above it."""

    ngrams: Ngrams
    net: Net
    input_means: Floats


def fit(
    dataset: Dataset,
    vectors: Floats,
    clusters: Floats,
    *,
    settings: NetSettings = SETTINGS,
    nets: int = NETS,
    seed: int = 0,
) -> Fitted:
    """Fits n-grams and net on all rows of `dataset`.

    The net sees, for each row, n-gram values of a table that was fitted without the row's group: else it would trust
    them more than they deserve on new text.
    """
    targets, weights = ngram_targets(dataset)
    folds = group_folds(dataset.groups, NGRAM_FOLDS, seed + 1)
    values = np.zeros(targets.shape, np.float32)
    for fold in range(NGRAM_FOLDS):
        rest, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        part = fit_ngrams(dataset.take(rest), targets[rest], weights[rest])
        values[own] = part.values(dataset.readings.take(own))
    inputs = net_inputs(dataset.readings, vectors, values, clusters)
    labels = net_targets(dataset)
    scaling = standardisation(inputs, labels.binary_weights.max(axis=1))
    fitted = [
        fit_net(inputs, labels, [dataset.outputs.n_tasks], scaling=scaling, settings=settings, seed=seed + i)
        for i in range(nets)
    ]
    return Fitted(fit_ngrams(dataset, targets, weights), merge(fitted), scaling[0])


def predict(fitted: Fitted, readings: Readings, vectors: Floats, clusters: Floats) -> Floats:
    """(n, outputs) raw net outputs."""
    return fitted.net.scores(net_inputs(readings, vectors, fitted.ngrams.values(readings), clusters))


def cross_validate(
    dataset: Dataset,
    vectors: Floats,
    clusters: Floats,
    *,
    settings: NetSettings = SETTINGS,
    folds: int = 5,
    only: int | None = None,
    nets: int = 1,
) -> Floats:
    """(n, outputs) raw outputs for each row, by a fit without its group; NaN in folds beyond the first `only`."""
    fold_of = group_folds(dataset.groups, folds, 17)
    result = np.full((len(dataset), dataset.outputs.n_raw), np.nan, np.float32)
    for fold in range(folds if only is None else only):
        rest, own = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if not len(own):
            continue
        fitted = fit(
            dataset.take(rest), vectors[rest], clusters, settings=settings, nets=nets, seed=100 * (fold + 1)
        )
        result[own] = predict(fitted, dataset.readings.take(own), vectors[own], clusters)
    return result
