"""The fitted net as an ONNX model with the engine's inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from turnout_fastpath.training.fit import GAIN_GATE_SHIFT, INPUTS, LENGTH_FEATURE, LENGTH_GAIN, Fitted
from turnout_fastpath.training.net import CLIP
from turnout_fastpath.training.outputs import Outputs

Floats = npt.NDArray[np.float32]

OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True)
class Mixing:
    """Maps raw outputs to scores: base + (sigmoid(gate) * difference) @ place, each a matrix and an offset.

    Base are the tasks, the public experts' calibrated logits and gains, and the unfamiliar logit. Differences are to the
    everyday expert's logits and gains, and to gains by length in place of what is local to a family; zero where nothing
    is gated.

    Attributes:
        base: (raw, scores) and (scores,).
        difference, gate: (raw, 3 heads) and (3 heads,).
        place: (3 heads, scores): where differences are added: to logits, to gains, and to gains again.
    """

    base: tuple[Floats, Floats]
    difference: tuple[Floats, Floats]
    gate: tuple[Floats, Floats]
    place: Floats


def mixing(outputs: Outputs, slopes: Floats, intercepts: Floats) -> Mixing:
    """The maps for Platt slopes and intercepts, (2, heads), of the public and of the everyday expert."""
    heads, raw, scores = outputs.n_heads, outputs.n_raw, outputs.n_scores
    base = np.zeros((raw, scores), np.float32), np.zeros(scores, np.float32)
    difference, gate = (
        (np.zeros((raw, 3 * heads), np.float32), np.zeros(3 * heads, np.float32)) for _ in range(2)
    )
    for i in range(outputs.n_tasks):
        base[0][i, i] = 1
    for h in range(heads):
        logit, gain = outputs.logits.start + h, outputs.gains.start + h
        base[0][outputs.public.start + h, logit] = slopes[0, h]
        base[1][logit] = intercepts[0, h]
        base[0][outputs.public_gain.start + h, gain] = 1
        if not outputs.gated:
            continue
        difference[0][outputs.everyday.start + h, h] = slopes[1, h]
        difference[0][outputs.public.start + h, h] = -slopes[0, h]
        difference[1][h] = intercepts[1, h] - intercepts[0, h]
        difference[0][outputs.everyday_gain.start + h, heads + h] = 1
        difference[0][outputs.public_gain.start + h, heads + h] = -1
        difference[0][outputs.length, 2 * heads + h] = LENGTH_GAIN
        difference[0][outputs.local_gain.start + h, 2 * heads + h] = -1
        gate[0][outputs.gate, [h, heads + h, 2 * heads + h]] = 1
        gate[1][heads + h] = GAIN_GATE_SHIFT
    base[0][outputs.unfamiliar, scores - 1] = 1
    rows = np.eye(scores, dtype=np.float32)
    place = np.vstack([rows[outputs.logits], rows[outputs.gains], rows[outputs.gains]])
    return Mixing(base, difference, gate, place)


def mix(raw: Floats, outputs: Outputs, slopes: Floats, intercepts: Floats) -> Floats:
    """(n, scores) scores from raw outputs, as the exported model computes them."""
    maps = mixing(outputs, slopes, intercepts)
    base, difference, gate = (raw @ m + o for m, o in (maps.base, maps.difference, maps.gate))
    result: Floats = base + (difference / (1 + np.exp(-gate))) @ maps.place
    return result


def export_onnx(fitted: Fitted, slopes: Floats, intercepts: Floats) -> bytes:
    """The serialised model: input x (n, inputs), output scores (n, scores).

    Standardisation becomes one clip and one multiplication. One matrix product gives all that is linear: base,
    difference and gate of the net's own outputs, the kinds' logits, and every family's experts (a column of ones for
    the kinds' means). The softmax over kinds then weighs the experts, and their sums join base and difference.
    """
    net, experts, layout = fitted.net, fitted.experts, fitted.outputs
    maps = mixing(layout, slopes, intercepts)
    both = np.hstack([maps.base[0], maps.difference[0]])
    kinds, (families, d, outputs) = len(experts.family_of), experts.linear.shape
    at, until = layout.n_tasks, layout.n_tasks + kinds
    own = np.concatenate([np.arange(at), np.arange(until, net.bias.size)])
    # Of the net's outputs: to base, difference and gate, and the kinds as they are.
    last = np.zeros((net.bias.size, both.shape[1] + maps.gate[0].shape[1] + kinds), np.float32)
    last[own, : both.shape[1]] = both[layout.by_net]
    last[own, both.shape[1] : -kinds] = maps.gate[0][layout.by_net]
    last[np.arange(at, until), last.shape[1] - kinds + np.arange(kinds)] = 1
    offset = np.concatenate([maps.base[1], maps.difference[1], maps.gate[1], np.zeros(kinds, np.float32)])
    direct = net.direct @ last
    direct[INPUTS.index(LENGTH_FEATURE), : both.shape[1]] += both[layout.length]
    # (d, (families + 1) outputs): the last block is the ones.
    linear = np.hstack([*experts.linear, np.zeros((d, outputs), np.float32)])
    bias = np.concatenate([*experts.bias, np.ones(outputs, np.float32)])
    share = (experts.family_of[:, None] == np.arange(families)).astype(np.float32)
    of_means = both[layout.by_experts]
    of_families = of_means.copy()
    of_families[layout.n_heads :] += both[layout.local_gain]
    constants = {
        "mean": net.mean,
        "scale": net.scale,
        "low": np.array(-CLIP, np.float32),
        "high": np.array(CLIP, np.float32),
        "inner": net.inner,
        "inner_bias": net.inner_bias,
        "outer": np.hstack([net.outer @ last, np.zeros((len(net.outer), len(bias)), np.float32)]),
        "direct": np.hstack([direct, linear]),
        "bias": np.concatenate([net.bias @ last + offset, bias]),
        "spread": np.hstack([np.repeat(share, outputs, axis=1), experts.means]),
        "collect": np.vstack([np.tile(of_families, (families, 1)), of_means]),
        "place": maps.place,
    }
    sizes = np.array([both.shape[1], maps.gate[0].shape[1], kinds, len(bias)], np.int64)
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"]),
        helper.make_node("Gemm", ["clipped", "inner", "inner_bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "outer", "bias"], ["partial"]),
        helper.make_node("Gemm", ["clipped", "direct", "partial"], ["mixed"]),
        helper.make_node("Split", ["mixed", "sizes"], ["own", "gate_logit", "kind_logits", "expert"], axis=1),
        helper.make_node("Softmax", ["kind_logits"], ["kinds"], axis=1),
        helper.make_node("MatMul", ["kinds", "spread"], ["weight"]),
        helper.make_node("Mul", ["expert", "weight"], ["weighted"]),
        helper.make_node("Gemm", ["weighted", "collect", "own"], ["joined"]),
        helper.make_node("Split", ["joined", "halves"], ["base", "difference"], axis=1),
        helper.make_node("Sigmoid", ["gate_logit"], ["gate"]),
        helper.make_node("Mul", ["difference", "gate"], ["shift"]),
        helper.make_node("Gemm", ["shift", "place", "base"], ["scores"]),
    ]
    initialisers = [
        numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()
    ]
    halves = np.array([layout.n_scores, len(maps.place)], np.int64)
    initialisers += [numpy_helper.from_array(sizes, "sizes"), numpy_helper.from_array(halves, "halves")]
    graph = helper.make_graph(
        nodes,
        "turnout_classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(net.mean)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", layout.n_scores])],
        initialisers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="turnout"
    )
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
