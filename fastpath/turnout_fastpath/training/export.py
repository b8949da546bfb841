"""The fitted net as an ONNX model with the engine's inputs and outputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from turnout_fastpath.training.net import CLIP, Net
from turnout_fastpath.training.outputs import Outputs

Floats = npt.NDArray[np.float32]

OPSET = 17
IR_VERSION = 8


def mixing_columns(outputs: Outputs, slopes: Floats, intercepts: Floats) -> tuple[list[Floats], list[Floats]]:
    """Maps raw net outputs to three blocks of scores: base, difference, gate; scores = base + sigmoid(gate) * difference.

    Base are the public expert's head logits and gains, base + difference the everyday expert's. The experts' logits are
    calibrated on the way.

    Args:
        outputs: the layout.
        slopes, intercepts: (2, heads) of the public and of the everyday expert.

    Returns:
        Three (raw outputs, scores) matrices and three (scores,) offsets.
    """
    heads = outputs.n_heads
    base, difference, gate = (np.zeros((outputs.n_raw, outputs.n_scores), np.float32) for _ in range(3))
    base_offset, difference_offset, gate_offset = (np.zeros(outputs.n_scores, np.float32) for _ in range(3))
    for i in range(outputs.n_tasks):
        base[i, i] = 1
    for h in range(heads):
        column = outputs.logits.start + h
        base[outputs.public.start + h, column] = slopes[0, h]
        base_offset[column] = intercepts[0, h]
        base[outputs.public_gain.start + h, column + heads] = 1
        if not outputs.gated:
            continue
        difference[outputs.everyday.start + h, column] = slopes[1, h]
        difference[outputs.public.start + h, column] = -slopes[0, h]
        difference_offset[column] = intercepts[1, h] - intercepts[0, h]
        difference[outputs.everyday_gain.start + h, column + heads] = 1
        difference[outputs.public_gain.start + h, column + heads] = -1
        gate[outputs.gate, [column, column + heads]] = 1
    base[outputs.unfamiliar, outputs.n_scores - 1] = 1
    return [base, difference, gate], [base_offset, difference_offset, gate_offset]


def mix(raw: Floats, outputs: Outputs, slopes: Floats, intercepts: Floats) -> Floats:
    """(n, scores) scores from raw net outputs, as the exported model computes them."""
    matrices, offsets = mixing_columns(outputs, slopes, intercepts)
    base, difference, gate = (raw @ m + o for m, o in zip(matrices, offsets, strict=True))
    result: Floats = base + difference / (1 + np.exp(-gate))
    return result


def export_onnx(net: Net, outputs: Outputs, slopes: Floats, intercepts: Floats) -> bytes:
    """The serialised model: input x (n, inputs), output scores (n, scores).

    Standardisation becomes one clip and one multiplication; the mixing columns are folded into the last layer.
    """
    matrices, offsets = mixing_columns(outputs, slopes, intercepts)
    last = np.hstack(matrices)
    offset = np.concatenate(offsets)
    constants = {
        "mean": net.mean,
        "scale": net.scale,
        "low": np.array(-CLIP, np.float32),
        "high": np.array(CLIP, np.float32),
        "inner": net.inner,
        "inner_bias": net.inner_bias,
        "outer": net.outer @ last,
        "direct": net.direct @ last,
        "bias": net.bias @ last + offset,
    }
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"]),
        helper.make_node("Gemm", ["clipped", "inner", "inner_bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "outer", "bias"], ["partial"]),
        helper.make_node("Gemm", ["clipped", "direct", "partial"], ["mixed"]),
        helper.make_node("Split", ["mixed"], ["base", "difference", "gate_logit"], axis=1),
        helper.make_node("Sigmoid", ["gate_logit"], ["gate"]),
        helper.make_node("Mul", ["difference", "gate"], ["shift"]),
        helper.make_node("Add", ["base", "shift"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "turnout_classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(net.mean)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", outputs.n_scores])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="turnout"
    )
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
