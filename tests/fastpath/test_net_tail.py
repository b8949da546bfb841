"""Heads on top of the trainer's net: the kernel computes what onnxruntime computes, however often a model was extended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.net_tail import NetTail, tails_fit
from turnout_fastpath.onnx_graph import find_net
from turnout_fastpath.training.head_export import ScoreMap, extend_model

from tests.fastpath.test_net import COLUMNS, LEAST_INPUTS, exported

Floats = npt.NDArray[np.float32]
INPUTS = 40
MAX_TAILS = 16


def score_map(below: int, scores: int, seed: int, *, inputs: int = INPUTS, used: float = 0.5) -> ScoreMap:
    """A drawn map that adds something for a share of the inputs."""
    source = np.random.default_rng(seed)
    return ScoreMap(
        mean=source.normal(0, 1, inputs),
        # An input that is constant in training has no scale.
        scale=source.uniform(0.5, 3, inputs) * (source.random(inputs) < 0.9),
        carried=source.normal(0, 0.5, (below, scores)),
        added=source.normal(0, 0.5, (inputs, scores)) * (source.random((inputs, 1)) < used),
        constants=source.normal(0, 1, scores),
    )


def extended(*widths: int, seed: int = 1, inputs: int = INPUTS, used: float = 0.5) -> bytes:
    """A net, extended once for each width."""
    model, below = exported(inputs, seed=seed), COLUMNS
    for level, width in enumerate(widths):
        model = extend_model(model, score_map(below, width, seed + level, inputs=inputs, used=used))
        below = width
    return model


@given(
    inputs=st.integers(LEAST_INPUTS, 200),
    widths=st.lists(st.integers(1, 64), min_size=1, max_size=3),
    n=st.integers(1, 4),
    spread=st.sampled_from([0.1, 3.0, 1000.0]),
    used=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_scores_equal_onnxruntimes(
    inputs: int, widths: list[int], n: int, spread: float, used: float, seed: int
) -> None:
    model = extended(*widths, seed=seed, inputs=inputs, used=used)
    rows = np.random.default_rng(seed).normal(0, spread, (n, inputs)).astype(np.float32)
    classifier = Classifier(model, inputs, widths[-1])
    assert classifier.is_compiled
    (expected,) = onnxruntime.InferenceSession(model).run(["scores"], {"x": rows})
    # Sums of hundreds of products nearly cancel now and then, and the next level multiplies what is left.
    below = np.abs(np.asarray(Classifier(exported(inputs, seed=seed), inputs, COLUMNS).score(rows))).max()
    limit = 1e-5 * float(1 + below + np.abs(expected).max()) * 10 ** (len(widths) - 1)
    assert classifier.score(rows) == pytest.approx(expected, rel=1e-4, abs=limit)
    for i in range(n):
        assert classifier.score(rows[i : i + 1]).tobytes() == classifier.score(rows)[i].tobytes()


def test_the_sums_are_made_in_order() -> None:
    """One product after another in float32, without a fused step: what any processor gives."""
    graph = find_net(extended(7, seed=4), "x", "scores")
    assert graph is not None
    (tail,) = graph.tails
    source = np.random.default_rng(5)
    row, below = (source.normal(0, 2, size).astype(np.float32) for size in (INPUTS, COLUMNS))
    sums = tail.constants
    for value, weights in zip(below, tail.carried, strict=True):
        sums = sums + value * weights
    z = np.clip((row - tail.mean) * tail.scale, np.float32(tail.low), np.float32(tail.high))
    for value, weights in zip(z, tail.added, strict=True):
        sums = sums + value * weights
    assert NetTail(tail).run(row[None, :], below[None, :])[0].tobytes() == sums.tobytes()


def test_what_lies_below_may_be_wider_than_the_output() -> None:
    rows = np.random.default_rng(1).normal(0, 1, (3, INPUTS)).astype(np.float32)
    model = extended(64, 1)
    (expected,) = onnxruntime.InferenceSession(model).run(["scores"], {"x": rows})
    classifier = Classifier(model, INPUTS, 1)
    assert classifier.is_compiled
    np.testing.assert_allclose(classifier.score(rows), expected, rtol=1e-4, atol=1e-3)


def _tensor(name: str, value: npt.NDArray[Any]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (tensor,) = [one for one in model.graph.initializer if one.name == name]
        tensor.CopyFrom(numpy_helper.from_array(value, name))

    return change


def _node(operator: str, at: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[at].op_type = operator

    return change


def _inputs(at: int, *names: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[at].input[:] = names

    return change


def _transpose(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute.append(onnx.helper.make_attribute("transB", 1))


def _drop(model: onnx.ModelProto) -> None:
    del model.graph.node[0]


@pytest.mark.parametrize(
    "change",
    [
        _node("Neg", 0),
        _node("Add", -5),
        _inputs(-1, "clipped", "added", "constants"),
        _inputs(-2, "kept", "carried", "constants"),
        _inputs(-2, "own/joined", "carried", "constants"),
        _inputs(-5, "own/x", "mean"),
        _transpose,
        _drop,
        _tensor("mean", np.zeros(INPUTS + 1, np.float32)),
        _tensor("mean", np.zeros(INPUTS, np.int64)),
        _tensor("carried", np.zeros((COLUMNS + 1, 7), np.float32)),
        _tensor("added", np.zeros((INPUTS, 8), np.float32)),
        _tensor("constants", np.zeros((1, 7), np.float32)),
        _tensor("low", np.zeros(1, np.float32)),
    ],
)
def test_any_other_tail_is_left_to_onnxruntime(change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load_from_string(extended(7))
    graph = find_net(model.SerializeToString(), "x", "scores")
    assert graph is not None and len(graph.tails) == 1 and graph.n_outputs == 7
    change(model)
    assert find_net(model.SerializeToString(), "x", "scores") is None


@pytest.mark.parametrize("widths", [(65,), (65, 3), (3,) * (MAX_TAILS + 1)])
def test_tails_that_do_not_fit_the_kernel_are_left_to_onnxruntime(widths: tuple[int, ...]) -> None:
    model = extended(*widths)
    graph = find_net(model, "x", "scores")
    assert graph is not None and len(graph.tails) == len(widths)
    assert not tails_fit(graph)
    assert not Classifier(model, INPUTS, widths[-1]).is_compiled


def test_as_many_tails_as_fit() -> None:
    model = extended(*(3,) * MAX_TAILS)
    assert Classifier(model, INPUTS, 3).is_compiled


def test_a_tail_that_is_too_wide_is_refused() -> None:
    graph = find_net(extended(65), "x", "scores")
    assert graph is not None
    with pytest.raises(ValueError, match="does not fit"):
        NetTail(graph.tails[0])


@pytest.mark.parametrize(("rows", "below"), [(2, COLUMNS + 1), (3, COLUMNS)])
def test_scores_below_of_another_shape_are_refused(rows: int, below: int) -> None:
    graph = find_net(extended(7), "x", "scores")
    assert graph is not None
    with pytest.raises(ValueError, match=rf"needed: \(2, {COLUMNS}\)"):
        NetTail(graph.tails[0]).run(np.zeros((2, INPUTS), np.float32), np.zeros((rows, below), np.float32))
