"""Small bundles in the real format: toy vocabulary, seeded random tables, a classifier told its scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from turnout_fastpath.bundle import DEFAULT_BUNDLE, write_bundle
from turnout_fastpath.snapshot import FAMILIARITY_NAMES, FEATURES_REVISION

TASKS = ("chat", "knowledge", "math", "code")
HEADS = ("small", "mid")
# The last two are the caller's to choose, so that a test can vary the scores and leave the text alone.
INPUTS = (
    ("bytes", "log1p"),
    ("letter_share", "identity"),
    ("tokens", "log1p"),
    ("messages", "sqrt"),
    ("media_bytes", "log1p"),
    ("tool_schema_bytes", "log1p"),
)
OUTPUT_TOKENS = {"any": 400.0, "chat": 100.0, "knowledge": 300.0, "math": 600.0, "code": 900.0}
WORDS = (
    "the",
    "a",
    "of",
    "to",
    "in",
    "is",
    "what",
    "how",
    "write",
    "code",
    "prove",
    "sum",
    "hello",
    "capital",
    "poem",
)
EXEMPLARS = {"known_hard": ["prove the sum of a poem", "write code to prove the capital"]}
N_OUTPUTS = len(TASKS) + 2 * len(HEADS) + 1
FloatArray: TypeAlias = npt.NDArray[np.float32]


def toy_vocabulary() -> list[str]:
    """Letters and digits, alone and continued, punctuation, and a few whole words; all else is unknown."""
    signs = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    continued = [f"##{sign}" for sign in signs if sign.isalnum()]
    return ["[PAD]", "[UNK]", *signs, *continued, *(word for word in WORDS if len(word) > 1), "##ing", "##er"]


def real_vocabulary() -> list[str]:
    """The 30,522 pieces that the package ships."""
    return (DEFAULT_BUNDLE / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def scores_of(
    *,
    task: str = "chat",
    small: float = 0.9,
    mid: float = 0.95,
    gain_small: float = 0.1,
    gain_mid: float = 0.05,
    unfamiliar: float = -10.0,
) -> list[float]:
    """A classifier's outputs that say: this task, these probabilities (above 0, below 1), these gains."""
    logits = [math.log(p / (1 - p)) for p in (small, mid)]
    return [3.0 * (name == task) for name in TASKS] + logits + [gain_small, gain_mid, unfamiliar]


def _model(
    nodes: Sequence[onnx.NodeProto], weights: Mapping[str, FloatArray], n_inputs: int, n_outputs: int
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", n_inputs])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", n_outputs])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def constant_classifier(n_inputs: int, scores: Sequence[float]) -> bytes:
    """An ONNX model that gives `scores` for every row."""
    weights = {
        "w": np.zeros((n_inputs, len(scores)), np.float32),
        "b": np.asarray(scores, np.float32),
    }
    return _model([helper.make_node("Gemm", ["x", "w", "b"], ["scores"])], weights, n_inputs, len(scores))


def random_classifier(n_inputs: int, n_outputs: int = N_OUTPUTS, *, seed: int = 0, hidden: int = 24) -> bytes:
    """An ONNX model of one hidden layer: logits vary by a few units with the inputs, gains by tenths."""
    random = np.random.default_rng(seed)
    unit = np.ones(n_outputs)
    unit[len(TASKS) + len(HEADS) : -1] = 0.1
    weights = {
        "w1": (random.standard_normal((n_inputs, hidden)) / 3).astype(np.float32),
        "b1": random.standard_normal(hidden).astype(np.float32),
        "w2": (random.standard_normal((hidden, n_outputs)) / 2 * unit).astype(np.float32),
        "b2": (random.standard_normal(n_outputs) * unit).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["scores"]),
    ]
    return _model(nodes, weights, n_inputs, n_outputs)


def manifest(width: int, **fields: Any) -> dict[str, Any]:
    """The manifest but its files: never abstains, calibrates nothing, similarity is the raw cosine."""
    plain = {"default": {"slope": 1.0, "intercept": 0.0}, "tasks": {}}
    return {
        "name": "synthetic",
        "features_revision": FEATURES_REVISION.hex(),
        "tasks": list(TASKS),
        "heads": [{"name": name, "calibration": plain} for name in HEADS],
        "inputs": [{"feature": feature, "transform": transform} for feature, transform in INPUTS],
        "feature_means": [0.0] * width,
        "output_tokens": OUTPUT_TOKENS,
        "abstain": {"unfamiliar_logit": 1e9, "unknown_share": 1.0, "cluster_cosine": -2.0},
        "similarity": {"raw": [-1.0, 1.0], "calibrated": [-1.0, 1.0]},
    } | fields


def write_synthetic(
    path: Path,
    *,
    scores: Sequence[float] | None = None,
    seed: int = 0,
    dim: int = 16,
    columns: int = 16,
    vocabulary: Sequence[str] | None = None,
    arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    classifier: bytes | None = None,
    exemplars: Mapping[str, list[str]] | None = None,
    **manifest_fields: Any,
) -> Path:
    """Writes a bundle.

    Args:
        path: the folder.
        scores: what the classifier always says, see `scores_of`; None means a random model, which varies.
        seed: of the tables and of the random model.
        dim: width of the embedding, a multiple of 16.
        columns: width of the n-gram table, a multiple of 16.
        vocabulary: word pieces; None means the toy vocabulary.
        arrays: replace some of the tables.
        classifier: replaces the model.
        exemplars: example texts by set.
        manifest_fields: replace fields of the manifest.
    """
    pieces = toy_vocabulary() if vocabulary is None else list(vocabulary)
    random = np.random.default_rng(seed)
    width = len(INPUTS) + dim + columns + len(FAMILIARITY_NAMES)
    tables: dict[str, npt.NDArray[Any]] = {
        "embedding": random.integers(-127, 128, (len(pieces), dim), dtype=np.int8),
        "embedding_weights": random.integers(1, 16384, len(pieces), dtype=np.uint16),
        "ngrams": random.integers(-127, 128, (1024, columns), dtype=np.int8),
        "ngram_scales": random.uniform(0.001, 0.02, columns).astype(np.float32),
        "clusters": random.integers(-127, 128, (5, dim), dtype=np.int8),
    }
    if classifier is None:
        if scores is None:
            classifier = random_classifier(width, seed=seed)
        else:
            classifier = constant_classifier(width, scores)
    write_bundle(
        path,
        manifest(width, **manifest_fields),
        vocabulary=pieces,
        arrays=tables | dict(arrays or {}),
        exemplars=EXEMPLARS if exemplars is None else exemplars,
        classifier=classifier,
    )
    return path
