from typing import Any, final

import numpy as np
import numpy.typing as npt

from turnout_fastpath.onnx_graph import NetGraph, TailGraph

def tails_fit(graph: NetGraph) -> bool:
    """Whether the kernel can run a net's tails: at most 16, each of at most 64 scores."""

@final
class NetTail:
    """Heads on top of a net, with sums in one order on every processor."""

    def __init__(self, graph: TailGraph) -> None:
        """Lays the weights out for the kernel.

        Raises:
            ValueError: the tail does not fit.
        """

    def run(self, rows: npt.NDArray[Any], below: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(n, n_scores) scores of (n, n_inputs) float32 rows and the (n, n_below) scores below."""
