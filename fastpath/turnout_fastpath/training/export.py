"""The fitted net as an ONNX model with the engine's inputs and outputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from turnout_fastpath.training.dataset import HEADS
from turnout_fastpath.training.everyday_rows import TASKS
from turnout_fastpath.training.fit import Outputs
from turnout_fastpath.training.net import CLIP, Net

Floats = npt.NDArray[np.float32]

OPSET = 17
IR_VERSION = 8
COLUMNS = len(TASKS) + 2 * len(HEADS) + 1


def mixing_columns(slopes: Floats, intercepts: Floats) -> tuple[list[Floats], list[Floats]]:
    """Maps raw net outputs to three blocks of COLUMNS: base, difference, gate; scores = base + sigmoid(gate) * difference.

    Base are the public expert's head logits and gains, base + difference the everyday expert's. The experts' logits are
    calibrated on the way.

    Args:
        slopes, intercepts: (2, heads) of the public and of the everyday expert.

    Returns:
        Three (raw outputs, COLUMNS) matrices and three (COLUMNS,) offsets.
    """
    heads = len(HEADS)
    raw = Outputs.EVERYDAY_GAIN.stop
    base, difference, gate = (np.zeros((raw, COLUMNS), np.float32) for _ in range(3))
    base_offset, difference_offset, gate_offset = (np.zeros(COLUMNS, np.float32) for _ in range(3))
    for i in range(len(TASKS)):
        base[i, i] = 1
    for h in range(heads):
        column = len(TASKS) + h
        base[Outputs.PUBLIC.start + h, column] = slopes[0, h]
        base_offset[column] = intercepts[0, h]
        difference[Outputs.EVERYDAY.start + h, column] = slopes[1, h]
        difference[Outputs.PUBLIC.start + h, column] = -slopes[0, h]
        difference_offset[column] = intercepts[1, h] - intercepts[0, h]
        base[Outputs.PUBLIC_GAIN.start + h, column + heads] = 1
        difference[Outputs.EVERYDAY_GAIN.start + h, column + heads] = 1
        difference[Outputs.PUBLIC_GAIN.start + h, column + heads] = -1
        gate[Outputs.GATE, [column, column + heads]] = 1
    base[Outputs.UNFAMILIAR, COLUMNS - 1] = 1
    return [base, difference, gate], [base_offset, difference_offset, gate_offset]


def mix(raw: Floats, slopes: Floats, intercepts: Floats) -> Floats:
    """(n, COLUMNS) scores from raw net outputs, as the exported model computes them."""
    matrices, offsets = mixing_columns(slopes, intercepts)
    base, difference, gate = (raw @ m + o for m, o in zip(matrices, offsets, strict=True))
    result: Floats = base + difference / (1 + np.exp(-gate))
    return result


def export_onnx(net: Net, slopes: Floats, intercepts: Floats) -> bytes:
    """The serialised model: input x (n, inputs), output scores (n, COLUMNS).

    Standardisation becomes one clip and one multiplication; the mixing columns are folded into the last layer.
    """
    matrices, offsets = mixing_columns(slopes, intercepts)
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
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", COLUMNS])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="turnout"
    )
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
