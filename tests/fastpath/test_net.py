"""The kernel of the trainer's net computes what onnxruntime computes of the exported model."""

from __future__ import annotations

import subprocess
import sys
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
from turnout_fastpath.bundle import DEFAULT_BUNDLE
from turnout_fastpath.classifier import Classifier, ClassifierError
from turnout_fastpath.net import Net, net_fits
from turnout_fastpath.onnx_graph import find_net
from turnout_fastpath.training.experts import Experts
from turnout_fastpath.training.export import export_onnx
from turnout_fastpath.training.fit import INPUTS, LENGTH_FEATURE, Fitted, Ngrams
from turnout_fastpath.training.net import Net as TrainedNet
from turnout_fastpath.training.outputs import Outputs

from tests.fastpath.twins.net import net_scores

Floats = npt.NDArray[np.float32]
OUTPUTS = Outputs(8, 2)
COLUMNS = OUTPUTS.n_scores
# Enough for the length, which is one of the inputs.
LEAST_INPUTS = INPUTS.index(LENGTH_FEATURE) + 1
KINDS, FAMILIES = 5, 3


def trained(inputs: int, hidden: int, seed: int) -> Fitted:
    source = np.random.default_rng(seed)

    def draw(*shape: int) -> Floats:
        return source.normal(0, 0.3, shape).astype(np.float32)

    outputs = len(OUTPUTS.by_net) + KINDS
    net = TrainedNet(
        mean=draw(inputs),
        scale=np.abs(draw(inputs)) * (source.random(inputs) < 0.9),
        inner=draw(inputs, hidden),
        inner_bias=draw(hidden),
        outer=draw(hidden, outputs),
        direct=draw(inputs, outputs),
        bias=draw(outputs),
    )
    experts = Experts(
        means=draw(KINDS, 2 * OUTPUTS.n_heads),
        family_of=np.arange(KINDS) % FAMILIES,
        linear=draw(FAMILIES, inputs, 2 * OUTPUTS.n_heads),
        bias=draw(FAMILIES, 2 * OUTPUTS.n_heads),
    )
    ngrams = Ngrams(np.zeros((1, 16), np.int8), np.ones(16, np.float32))
    return Fitted(OUTPUTS, ngrams, net, experts, draw(inputs))


def exported(inputs: int = 30, hidden: int = 8, seed: int = 1) -> bytes:
    source = np.random.default_rng(seed)
    slopes, intercepts = source.normal(1, 0.2, (2, 2, 2)).astype(np.float32)
    return export_onnx(trained(inputs, hidden, seed), slopes, intercepts)


@given(
    inputs=st.integers(LEAST_INPUTS, 200),
    hidden=st.integers(1, 100),
    n=st.integers(1, 5),
    spread=st.sampled_from([0.1, 3.0, 1000.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_scores_equal_onnxruntimes(inputs: int, hidden: int, n: int, spread: float, seed: int) -> None:
    model = exported(inputs, hidden, seed)
    rows = np.random.default_rng(seed).normal(0, spread, (n, inputs)).astype(np.float32)
    classifier = Classifier(model, inputs, COLUMNS)
    assert classifier.is_compiled
    (expected,) = onnxruntime.InferenceSession(model).run(["scores"], {"x": rows})
    # Against what is summed up: sums of hundreds of products nearly cancel now and then.
    assert classifier.score(rows) == pytest.approx(
        expected, rel=1e-4, abs=1e-5 * float(1 + np.abs(expected).max())
    )
    for i in range(n):
        assert classifier.score(rows[i : i + 1]).tobytes() == classifier.score(rows)[i].tobytes()


def test_the_sums_are_made_in_order() -> None:
    """One product after another in float32, without a fused step: what any processor gives."""
    graph = find_net(exported(50, 24, seed=5), "x", "scores")
    assert graph is not None
    rows = np.random.default_rng(6).normal(0, 2, (20, 50)).astype(np.float32)
    # Most of what is counted in a prompt is 0.
    rows[:, 10:40] *= np.random.default_rng(7).random((20, 30)) < 0.2
    kernel = Net(graph)
    for row in rows:
        assert kernel.run(row[None, :])[0].tobytes() == net_scores(graph, row).tobytes()


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_vectors_of_any_width_give_the_same_bits(lanes: int) -> None:
    graph = find_net((DEFAULT_BUNDLE / "classifier.onnx").read_bytes(), "x", "scores")
    assert graph is not None
    rows = np.random.default_rng(3).normal(0, 3, (50, len(graph.mean))).astype(np.float32)
    rows[:, ::3] = 0
    try:
        kernel = Net(graph, lanes=lanes)
    except ValueError as error:
        pytest.skip(str(error))
    assert kernel.run(rows).tobytes() == np.stack([net_scores(graph, row) for row in rows]).tobytes()


def test_vectors_that_no_processor_has_are_refused() -> None:
    graph = find_net(exported(), "x", "scores")
    assert graph is not None
    with pytest.raises(ValueError, match="no vectors of 5 numbers"):
        Net(graph, lanes=5)


def test_the_shipped_classifier_is_compiled() -> None:
    model = (DEFAULT_BUNDLE / "classifier.onnx").read_bytes()
    graph = find_net(model, "x", "scores")
    assert graph is not None
    inputs = len(graph.mean)
    compiled = Classifier(model, inputs, COLUMNS)
    runtime = Classifier(model, inputs, COLUMNS, compiled=False)
    assert compiled.is_compiled and not runtime.is_compiled
    # Inputs as they come: around their means, and far from them.
    source = np.random.default_rng(2)
    rows = graph.mean + source.normal(0, 1, (500, inputs)).astype(np.float32) / np.maximum(graph.scale, 0.01)
    rows = rows.astype(np.float32)
    assert np.abs(compiled.score(rows) - runtime.score(rows)).max() < 1e-4


def edited(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(exported())
    change(model)
    return bytes(model.SerializeToString())


def _set(name: str, value: npt.NDArray[Any]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
        tensor.CopyFrom(numpy_helper.from_array(value, name))

    return change


def _operator(index: int, operator: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[index].op_type = operator

    return change


def _node(model: onnx.ModelProto, output: str) -> onnx.NodeProto:
    (node,) = [node for node in model.graph.node if output in node.output]
    return node


def _swap_inputs(model: onnx.ModelProto) -> None:
    inputs = _node(model, "shift").input
    inputs[0], inputs[1] = "gate", "base"


def _transpose(model: onnx.ModelProto) -> None:
    _node(model, "partial").attribute.append(onnx.helper.make_attribute("transA", 1))


def _axis(model: onnx.ModelProto) -> None:
    _node(model, "own").attribute[0].i = -1


def _drop(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0]


@pytest.mark.parametrize(
    "change",
    [
        _operator(4, "Tanh"),
        _operator(1, "Div"),
        _swap_inputs,
        _transpose,
        _axis,
        _drop,
        _set("scale", np.ones((1, 30), np.float32)),
        _set("bias", np.ones(3, np.float32)),
        _set("place", np.ones((2, COLUMNS), np.float32)),
        _set("sizes", np.array([1, 2, 3, 4])),
        _set("halves", np.array([COLUMNS, 6], np.float32)),
    ],
)
def test_any_other_graph_is_left_to_onnxruntime(change: Callable[[onnx.ModelProto], None]) -> None:
    assert find_net(edited(lambda _: None), "x", "scores") is not None
    assert find_net(edited(change), "x", "scores") is None


def _tensor(dims: list[int], raw: bytes) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        del tensor.dims[:]
        tensor.dims.extend(dims)
        tensor.raw_data = raw

    return change


@pytest.mark.parametrize(
    ("dims", "raw"),
    [([1], b"12345"), ([2**40, 2**40, 0], b""), ([2**32, 2**32], b""), ([-1, 2], b"1234"), ([1], b"")],
)
def test_a_tensor_whose_bytes_are_not_its_shapes_is_no_error(dims: list[int], raw: bytes) -> None:
    assert find_net(edited(_tensor(dims, raw)), "x", "scores") is None


def test_other_names_are_left_to_onnxruntime() -> None:
    assert find_net(exported(), "y", "scores") is None
    assert find_net(exported(), "x", "logits") is None


@given(at=st.integers(0, 400), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=300)
def test_damaged_bytes_are_no_error(at: int, byte: int, cut: bool) -> None:
    model = bytearray(exported())
    model[at] = byte
    find_net(bytes(model[: at if cut else None]), "x", "scores")


@pytest.mark.parametrize(("inputs", "columns"), [(29, COLUMNS), (30, COLUMNS - 1)])
def test_another_width_than_promised_is_refused(inputs: int, columns: int) -> None:
    with pytest.raises(ClassifierError, match="running the classifier on 1 x "):
        Classifier(exported(30), inputs, columns)


def test_a_net_that_does_not_fit_the_kernel_is_left_to_onnxruntime() -> None:
    model = exported(30, 1025)
    graph = find_net(model, "x", "scores")
    assert graph is not None
    assert not net_fits(graph)
    with pytest.raises(ValueError, match="does not fit"):
        Net(graph)
    assert not Classifier(model, 30, COLUMNS).is_compiled


def test_experts_that_see_hidden_units_are_left_to_onnxruntime() -> None:
    graph = find_net(exported(), "x", "scores")
    assert graph is not None
    model = edited(_set("outer", np.ones_like(graph.outer)))
    assert find_net(model, "x", "scores") is not None
    assert not Classifier(model, 30, COLUMNS).is_compiled


def test_the_default_bundle_needs_no_onnxruntime() -> None:
    script = "import sys; sys.modules['onnxruntime'] = None\nfrom turnout_fastpath import Engine\n"
    script += (
        "print(Engine.load().route('hello').tier)\nassert not any('onnx' in name for name in sys.modules if "
    )
    script += "sys.modules[name] and name != 'turnout_fastpath.onnx_graph')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
