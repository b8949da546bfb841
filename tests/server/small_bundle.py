"""A bundle that is quick to make: random tables. It decides reproducibly, but knows nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from turnout_fastpath.bundle import write_bundle
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES, FAMILIARITY_NAMES, FEATURES_REVISION

TASKS = ["chat", "knowledge", "math", "code", "reasoning", "extraction", "rewriting", "analysis"]
HEADS = ["small", "mid"]
DIM = 16
COLUMNS = 16
INPUTS = ["tokens", "messages", "system_bytes"]
WIDTH = len(INPUTS) + DIM + COLUMNS + len(FAMILIARITY_NAMES)
WORDS = ["what", "is", "the", "capital", "of", "france", "write", "python", "function", "sorts", "list"]
WORDS += ["prove", "theorem", "hello", "why"]


def make_small_bundle(path: Path, seed: int = 7) -> Path:
    """Writes a bundle; another seed makes one that decides otherwise."""
    source = np.random.default_rng(seed)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *(set(letters) - set(WORDS))]
    vocabulary = [*vocabulary[:4], *sorted(set(vocabulary[4:])), *("##" + letter for letter in letters)]
    outputs = len(TASKS) + 2 * len(HEADS) + 1
    weights = source.normal(0, 0.3, (WIDTH, outputs)).astype(np.float32)
    weights[: len(INPUTS)] *= 0.01
    bias = np.zeros(outputs, np.float32)
    bias[-1] = -10
    curve = {"slope": 1.0, "intercept": 0.5}
    calibration = {"default": curve, "tasks": {}}
    assert set(INPUTS) <= set(ALL_FEATURE_NAMES)
    manifest = {
        "name": "small",
        "tasks": TASKS,
        "heads": [
            {"name": name, "models": ["none"], "top_models": ["none"], "calibration": calibration}
            for name in HEADS
        ],
        "features_revision": FEATURES_REVISION.hex(),
        "inputs": [{"feature": name, "transform": "log1p"} for name in INPUTS],
        "feature_means": [0.0] * WIDTH,
        "output_tokens": dict.fromkeys([*TASKS, "any"], 200.0),
        "abstain": {"unfamiliar_logit": 1e9, "unknown_share": 2.0, "cluster_cosine": -2.0},
        "similarity": {"raw": [-1.0, 0.95, 1.0], "calibrated": [-1.0, 0.5, 1.0]},
    }
    write_bundle(
        path,
        manifest,
        vocabulary=vocabulary,
        arrays={
            "embedding": source.integers(-127, 128, (len(vocabulary), DIM), np.int8),
            "embedding_weights": np.full(len(vocabulary), 1000, np.uint16),
            "ngrams": source.integers(-127, 128, (64, COLUMNS), np.int8),
            "ngram_scales": np.full(COLUMNS, 0.01, np.float32),
            "clusters": source.integers(1, 128, (4, DIM), np.int8),
        },
        exemplars={"known_hard": ["prove the theorem"]},
        classifier=_classifier(weights, bias),
    )
    return path


def _classifier(weights: np.ndarray, bias: np.ndarray) -> bytes:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["scores"])
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, len(bias)])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
