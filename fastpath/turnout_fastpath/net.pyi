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

    def __init__(self, graph: NetGraph) -> None:
        """Lays the weights out for the kernel.

        Raises:
            ValueError: the net does not fit.
        """

    @property
    def n_inputs(self) -> int: ...
    @property
    def n_scores(self) -> int: ...
    def run(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(n, n_scores) scores of (n, n_inputs) float32 rows."""
