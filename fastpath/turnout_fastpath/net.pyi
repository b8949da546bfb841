from typing import Any, final

import numpy as np
import numpy.typing as npt

from turnout_fastpath.onnx_graph import NetGraph

def net_fits(graph: NetGraph) -> bool:
    """Whether the kernel can run a net: at most 1,024 inputs and hidden units, 64 scores and shifts, 256 kinds, 512 experts,
    each linear in the inputs.
    """

@final
class Net:
    """The net that the trainer exports, with sums in one order on every processor."""

    def __init__(self, graph: NetGraph, *, lanes: int = 0) -> None:
        """Lays the weights out for the kernel.

        Args:
            graph: the net.
            lanes: numbers in a vector, 4, 8 or 16; 0: as many as the processor has. The scores are the same bits.

        Raises:
            ValueError: the net does not fit, or the processor has no such vectors.
        """

    @property
    def n_inputs(self) -> int: ...
    @property
    def n_scores(self) -> int: ...
    def run(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(n, n_scores) scores of (n, n_inputs) float32 rows."""
