"""What classifier and exemplars say of a reading: the engine's learned part over NumPy and onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from turnout_fastpath import Bundle
from turnout_fastpath.reader import Reading
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES

from tests.fastpath.twins import pooling
from tests.fastpath.twins.pooling import FloatArray

TRANSFORMS = {"identity": float, "log1p": math.log1p, "sqrt": math.sqrt}


@dataclass(frozen=True)
class Scores:
    """Task probabilities, and by head the calibrated probability and the gain."""

    tasks: dict[str, float]
    p_sufficient: dict[str, float]
    gain: dict[str, float]
    abstain: str | None
    logit: float


class Judge:
    """A bundle's learned part."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.session = onnxruntime.InferenceSession(bundle.classifier, providers=["CPUExecutionProvider"])

    def unit_vector(self, ids: Sequence[int]) -> FloatArray:
        """The embedding of word pieces."""
        arrays = self.bundle.arrays
        sums = pooling.pooled_sums(arrays["embedding"], arrays["embedding_weights"], ids)
        return pooling.unit_vector(sums)

    def inputs(self, reading: Reading) -> FloatArray:
        """The classifier's inputs: features, embedding, n-gram sums, familiarity."""
        arrays = self.bundle.arrays
        values = dict(zip(ALL_FEATURE_NAMES, reading.features.tolist(), strict=True))
        features = [
            TRANSFORMS[entry["transform"]](values[entry["feature"]])
            for entry in self.bundle.manifest["inputs"]
        ]
        windows = [reading.head_words.tolist(), reading.tail_words.tolist()]
        unit = self.unit_vector(reading.ids.tolist())
        pieces, words = len(reading.ids), sum(map(len, windows))
        familiarity = [
            reading.n_unknown / pieces if pieces else 0.0,
            pieces / words if words else 0.0,
            float(pooling.cosines(arrays["clusters"], unit).max()),
        ]
        ngrams = pooling.ngram_values(arrays["ngrams"], arrays["ngram_scales"], windows)
        joined: FloatArray = np.concatenate([features, unit, ngrams, familiarity]).astype(np.float32)
        return joined

    def scores(self, inputs: FloatArray) -> Scores:
        """What the classifier says of its inputs."""
        manifest = self.bundle.manifest
        (rows,) = self.session.run(["scores"], {"x": inputs[None]})
        row = [float(value) for value in rows[0]]
        tasks, heads = manifest["tasks"], manifest["heads"]
        weights = [math.exp(value - max(row[: len(tasks)])) for value in row[: len(tasks)]]
        task = tasks[weights.index(max(weights))]
        logits, gains = row[len(tasks) :][: len(heads)], row[len(tasks) + len(heads) : -1]
        calibrated = {}
        for head, logit in zip(heads, logits, strict=True):
            line = head["calibration"]["tasks"].get(task, head["calibration"]["default"])
            if "raw" in line:
                calibrated[head["name"]] = float(np.interp(logit, line["raw"], line["calibrated"]))
            else:
                calibrated[head["name"]] = line["slope"] * logit + line["intercept"]
        return Scores(
            tasks={name: weight / sum(weights) for name, weight in zip(tasks, weights, strict=True)},
            p_sufficient={name: 1 / (1 + math.exp(-logit)) for name, logit in calibrated.items()},
            gain={h["name"]: min(1.0, max(-1.0, gain)) for h, gain in zip(heads, gains, strict=True)},
            abstain=self.abstain(inputs, row[-1]),
            logit=calibrated[heads[0]["name"]],
        )

    def abstain(self, inputs: FloatArray, unfamiliar: float) -> str | None:
        """The measure by which a text lies outside of what was seen."""
        unknown_share, pieces_per_word, cosine = inputs[-3:].tolist()
        limits = self.bundle.manifest["abstain"]
        if pieces_per_word == 0:
            return "empty"
        if unfamiliar > limits["unfamiliar_logit"]:
            return "unfamiliar"
        if unknown_share > limits["unknown_share"]:
            return "unknown_pieces"
        return "distance" if cosine < limits["cluster_cosine"] else None

    def similarity(
        self, ids: Sequence[int], buckets: Mapping[str, Sequence[Sequence[int]]]
    ) -> dict[str, float]:
        """Calibrated similarity to each bucket, given the pieces of its exemplars."""
        unit, knots = self.unit_vector(ids), self.bundle.manifest["similarity"]
        found = {}
        for name, exemplars in buckets.items():
            vectors = np.stack([self.unit_vector(exemplar) for exemplar in exemplars]).astype(np.float64)
            levels = np.rint(vectors / np.abs(vectors).max(axis=1, keepdims=True) * 127).astype(np.int8)
            raw = float(pooling.cosines(levels, unit).max())
            found[name] = float(np.interp(raw, knots["raw"], knots["calibrated"]))
        return found
