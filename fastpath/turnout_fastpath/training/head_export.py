"""A bundle's model with other heads on top: scores = own scores @ carried + standardised inputs @ added + constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from turnout_fastpath.training.export import IR_VERSION, OPSET
from turnout_fastpath.training.linear_fits import Reals
from turnout_fastpath.training.net import CLIP

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """From a bundle's scores and inputs to other scores.

    Attributes:
        mean, scale: (inputs,) of the standardisation, which is clipped to +-CLIP.
        carried: (own scores, new scores).
        added: (inputs, new scores).
        constants: (new scores,).
    """

    mean: Reals
    scale: Reals
    carried: Reals
    added: Reals
    constants: Reals

    def apply(self, inputs: Floats, scores: Floats) -> Reals:
        """(n, new scores)."""
        x = np.clip((inputs - self.mean) * self.scale, -CLIP, CLIP)
        result: Reals = scores @ self.carried + x @ self.added + self.constants
        return result


def extend_model(model: bytes, score_map: ScoreMap) -> bytes:
    """The serialised model with the map behind it; the names of its input and output stay.

    An extended model can be extended again: the names within get one more prefix each time.
    """
    inner = compose.add_prefix(onnx.load_from_string(model), "own/")
    constants = {
        "mean": score_map.mean,
        "scale": score_map.scale,
        "low": np.array(-CLIP),
        "high": np.array(CLIP),
        "carried": score_map.carried,
        "added": score_map.added,
        "constants": score_map.constants,
    }
    nodes = [
        helper.make_node("Identity", ["x"], [inner.graph.input[0].name]),
        *inner.graph.node,
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"]),
        helper.make_node("Gemm", [inner.graph.output[0].name, "carried", "constants"], ["kept"]),
        helper.make_node("Gemm", ["clipped", "added", "kept"], ["scores"]),
    ]
    width, n_scores = score_map.added.shape
    graph = helper.make_graph(
        nodes,
        "turnout_classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", n_scores])],
        [
            *inner.graph.initializer,
            *(
                numpy_helper.from_array(np.asarray(value, np.float32), name)
                for name, value in constants.items()
            ),
        ],
    )
    extended = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="turnout"
    )
    onnx.checker.check_model(extended)
    serialised: bytes = extended.SerializeToString()
    return serialised
