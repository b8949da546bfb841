"""Fits the learned part on a dataset: the n-gram table, then the net over everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.snapshot import ALL_FEATURE_NAMES
from turnout_fastpath.training.dataset import GIBBERISH, Dataset
from turnout_fastpath.training.everyday_rows import TIERS
from turnout_fastpath.training.experts import PENALTY_FOLDS, Experts, fit_experts, softmax
from turnout_fastpath.training.net import Net, NetSettings, Targets, fit_net, merge, standardisation
from turnout_fastpath.training.outputs import Outputs
from turnout_fastpath.training.readings import Readings
from turnout_fastpath.training.ridge import fit_ridge
from turnout_fastpath.training.stages import Advance

Floats = npt.NDArray[np.float32]

# What the classifier must not know. A long system prompt in front of a question must not move it, so what surrounds
# the judged text is left to rules; sizes of tool definitions and media likewise.
NOT_JUDGED = frozenset(
    {"request_tokens", "messages", "system_bytes", "history_bytes", "tool_schema_bytes", "media_bytes"}
)
INPUTS = tuple(name for name in ALL_FEATURE_NAMES if name not in NOT_JUDGED)
IDENTITY = frozenset(name for name in INPUTS if name.endswith("_share"))

QUERY_SCALE = 32767
# The kernel sums sixteen columns at a time; 32 cost it no more.
NGRAM_COLUMNS_STEP = 16
NGRAM_MAX_COLUMNS = 32
# Recorded pairs are noisier than everyday labels.
TASK_PENALTY = 1.0
TIER_PENALTY = 0.4
PAIR_PENALTY = 12.0
# A family with fewer labels of a head has no n-gram column of its own.
COLUMN_MIN_ROWS = 400
# Recorded gains are measured, those of everyday rows follow from a label: the gate must be surer before it lets the
# latter speak. Added to its logit.
GAIN_GATE_SHIFT = -4.0
# Gain for each standard deviation of the logarithm of a text's bytes, as far as the gate finds it unlike the exam
# questions: on benchmarks that training has not seen, plain length ranks better than what was learned within others,
# which the gate takes away as it adds length.
LENGTH_GAIN = 0.15
LENGTH_FEATURE = "bytes"
NGRAM_FOLDS = 5
# Of cross-validation.
FOLDS = 5
NETS = 1
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


@dataclass(frozen=True)
class NgramTargets:
    """What the columns of an n-gram table are fitted to.

    Attributes:
        values, weights: (n, columns), centred; a weight of 0 marks a label that a row does not have.
        penalties: (columns,).
        families: of each column, the families whose recorded pairs it speaks of.
    """

    values: Floats
    weights: Floats
    penalties: Floats
    families: tuple[frozenset[str], ...]


def family_names(kinds: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Family of each "family/subject"."""
    return np.array([kind.split("/")[0] for kind in kinds.tolist()])


def ngram_targets(dataset: Dataset) -> NgramTargets:
    """Tasks, everyday tiers, everyday or not, and the gain of each family's pairs: what words mean for a pair differs by family.

    The families with most labels have a column of their own for each head; all share one more, each centred.
    """
    n = len(dataset)
    everyday = dataset.everyday
    natural = dataset.sources != GIBBERISH
    ones = np.where(everyday, EVERYDAY_WEIGHT, 1).astype(np.float32) * natural
    told = ones * (dataset.tasks >= 0)
    columns: list[tuple[Floats, Floats]] = []
    families: list[frozenset[str]] = []
    for task in range(dataset.outputs.n_tasks):
        columns.append(((dataset.tasks == task).astype(np.float32), told))
    for tier in range(1, len(TIERS)):
        columns.append(((dataset.tiers < tier).astype(np.float32), everyday.astype(np.float32)))
    columns.append((everyday.astype(np.float32), ones))
    free = max(1, NGRAM_MAX_COLUMNS - len(columns))
    families = [frozenset()] * len(columns)
    family_of = family_names(dataset.kinds)
    pooled, counts = np.zeros(n, np.float32), np.zeros(n, np.float32)
    labelled: list[tuple[int, str, Floats, Floats]] = []
    for name in sorted(set(family_of.tolist()) - {""}):
        for head in range(dataset.outputs.n_heads):
            known = (family_of == name) & ~np.isnan(dataset.gains[:, head])
            if known.any():
                gains = np.where(known, dataset.gains[:, head], 0).astype(np.float32)
                labelled.append((int(known.sum()), name, gains, known * dataset.weights))
                pooled[known] += gains[known] - gains[known].mean()
                counts += known
    columns.append(((pooled / np.maximum(counts, 1)).astype(np.float32), (counts > 0) * dataset.weights))
    families.append(frozenset(name for _, name, _, _ in labelled))
    for rows, name, gains, weights in sorted(labelled, key=lambda entry: -entry[0])[: free - 1]:
        if rows >= COLUMN_MIN_ROWS:
            columns.append((gains, weights))
            families.append(frozenset({name}))
    width = -(-len(columns) // NGRAM_COLUMNS_STEP) * NGRAM_COLUMNS_STEP
    families += [frozenset()] * (width - len(columns))
    values = np.zeros((n, width), np.float32)
    weights = np.zeros((n, width), np.float32)
    for i, (target, weight) in enumerate(columns):
        total = weight.sum()
        values[:, i] = np.where(weight > 0, target - (weight @ target) / total, 0) if total else 0
        weights[:, i] = weight
    penalties = np.full(width, TASK_PENALTY, np.float32)
    penalties[dataset.outputs.n_tasks : dataset.outputs.n_tasks + len(TIERS) - 1] = TIER_PENALTY
    penalties[[bool(family) for family in families]] = PAIR_PENALTY
    return NgramTargets(values, weights, penalties, tuple(families))


def fit_ngrams(dataset: Dataset, targets: NgramTargets, rows: npt.NDArray[np.intp]) -> Ngrams:
    """Ridge over hashed n-grams of these rows, quantised to int8 with a scale a column."""
    coefficients = fit_ridge(
        dataset.readings.ngrams[rows],
        targets.values[rows],
        targets.weights[rows],
        penalty=targets.penalties,
        iterations=20,
    )
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


def kind_numbers(dataset: Dataset) -> tuple[list[str], npt.NDArray[np.intp]]:
    """The kinds there are, and the number of each row's; 0 where a row has none."""
    names = sorted(set(dataset.kinds.tolist()) - {""}) or ["none"]
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number.get(kind, 0) for kind in dataset.kinds.tolist()], np.intp)


def net_targets(dataset: Dataset, kinds: npt.NDArray[np.intp]) -> Targets:
    """The net's labels.

    Exam questions and everyday requests have experts of their own for each head, and a gate that tells them apart:
    their labels mean different things (two recorded answers compared, or a careful engineer's trust). Of the recorded
    pairs the net learns the kinds alone.
    """
    everyday = dataset.everyday
    gibberish = dataset.sources == GIBBERISH
    own = (~np.isnan(dataset.suffices) & everyday[:, None]) * np.float32(EVERYDAY_WEIGHT)
    suffices, gains = np.nan_to_num(dataset.suffices), np.nan_to_num(dataset.gains)
    task_weights = np.where(everyday, EVERYDAY_WEIGHT, PUBLIC_TASK_WEIGHT) * ~gibberish * (dataset.tasks >= 0)
    gate_weights = np.where(everyday, EVERYDAY_WEIGHT, 1.0) * ~gibberish
    unfamiliar_weights = np.where(gibberish, 3.0, np.where(everyday, EVERYDAY_WEIGHT, 1.0))
    return Targets(
        classes=(
            (dataset.tasks, task_weights.astype(np.float32)),
            (kinds, (dataset.kinds != "").astype(np.float32)),
        ),
        binary=np.hstack([suffices, everyday[:, None], gibberish[:, None]]).astype(np.float32),
        binary_weights=np.hstack([own, gate_weights[:, None], unfamiliar_weights[:, None]]).astype(
            np.float32
        ),
        values=gains.astype(np.float32),
        value_weights=own.astype(np.float32),
    )


# Inputs that say how familiar a text is; they stand last.
FAMILIARITY = 3


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
    """An n-gram table, the net above it, and the experts on recorded scores."""

    outputs: Outputs
    ngrams: Ngrams
    net: Net
    experts: Experts
    input_means: Floats

    def raw(self, inputs: Floats) -> Floats:
        """(n, outputs.n_raw) raw outputs."""
        scores, z = self.net.scores(inputs), self.net.standardise(inputs)
        at = self.outputs.n_tasks
        until = at + len(self.experts.family_of)
        result = np.empty((len(inputs), self.outputs.n_raw), np.float32)
        result[:, self.outputs.by_net] = np.hstack([scores[:, :at], scores[:, until:]])
        means, local = self.experts.parts(z, softmax(scores[:, at:until]))
        result[:, self.outputs.by_experts] = means + local
        result[:, self.outputs.length] = z[:, INPUTS.index(LENGTH_FEATURE)]
        result[:, self.outputs.local_gain] = local[:, self.outputs.n_heads :]
        return result


def fit(
    dataset: Dataset,
    vectors: Floats,
    clusters: Floats,
    *,
    settings: NetSettings = SETTINGS,
    nets: int = NETS,
    seed: int = 0,
) -> Fitted:
    """Fits n-grams, net and experts on all rows of `dataset`.

    Net and experts see, for each row, n-gram values of a table that was fitted without the row's group: else they
    would trust them more than they deserve on new text.
    """
    targets = ngram_targets(dataset)
    folds = group_folds(dataset.groups, NGRAM_FOLDS, seed + 1)
    values = np.zeros(targets.values.shape, np.float32)
    for fold in range(NGRAM_FOLDS):
        rest, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        values[own] = fit_ngrams(dataset, targets, rest).values(dataset.readings.take(own))
    inputs = net_inputs(dataset.readings, vectors, values, clusters)
    names, kinds = kind_numbers(dataset)
    labels = net_targets(dataset, kinds)
    scaling = standardisation(inputs, labels.binary_weights.max(axis=1))
    widths = [dataset.outputs.n_tasks, len(names)]
    net = merge(
        [
            fit_net(inputs, labels, widths, scaling=scaling, settings=settings, seed=seed + i)
            for i in range(nets)
        ]
    )
    experts = fit_recorded_experts(dataset, net, inputs, targets, names, kinds, seed=seed)
    ngrams = fit_ngrams(dataset, targets, np.arange(len(dataset)))
    return Fitted(dataset.outputs, ngrams, net, experts, scaling[0])


def fit_recorded_experts(
    dataset: Dataset,
    net: Net,
    inputs: Floats,
    targets: NgramTargets,
    names: list[str],
    kinds: npt.NDArray[np.intp],
    *,
    seed: int,
) -> Experts:
    """The experts, on rows with recorded scores."""
    rows = np.flatnonzero(dataset.kinds != "")
    families, family_of = np.unique(family_names(np.array(names)), return_inverse=True)
    first = inputs.shape[1] - len(targets.families) - FAMILIARITY
    own = [[first + i for i, of in enumerate(targets.families) if name in of] for name in families.tolist()]
    n_tasks = dataset.outputs.n_tasks
    return fit_experts(
        net.standardise(inputs[rows]),
        softmax(net.scores(inputs[rows])[:, n_tasks : n_tasks + len(names)]),
        kinds[rows],
        family_of,
        dataset.suffices[rows],
        dataset.gains[rows],
        dataset.weights[rows],
        own,
        group_folds(dataset.groups[rows], PENALTY_FOLDS, seed + 2),
    )


def predict(fitted: Fitted, readings: Readings, vectors: Floats, clusters: Floats) -> Floats:
    """(n, outputs) raw outputs."""
    return fitted.raw(net_inputs(readings, vectors, fitted.ngrams.values(readings), clusters))


def cross_validate(
    dataset: Dataset,
    vectors: Floats,
    clusters: Floats,
    *,
    settings: NetSettings = SETTINGS,
    folds: int = FOLDS,
    only: int | None = None,
    nets: int = 1,
    seed: int = 17,
    advance: Advance = lambda _: None,
) -> Floats:
    """(n, outputs) raw outputs for each row, by a fit without its group; NaN in folds beyond the first `only`.

    `advance` is called with 1 after each fold.
    """
    fold_of = group_folds(dataset.groups, folds, seed)
    result = np.full((len(dataset), dataset.outputs.n_raw), np.nan, np.float32)
    for fold in range(folds if only is None else only):
        rest, own = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if not len(own):
            advance(1)
            continue
        fitted = fit(
            dataset.take(rest), vectors[rest], clusters, settings=settings, nets=nets, seed=100 * (fold + 1)
        )
        result[own] = predict(fitted, dataset.readings.take(own), vectors[own], clusters)
        advance(1)
    return result
