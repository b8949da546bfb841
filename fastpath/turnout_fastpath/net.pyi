from typing import Any, final

import numpy as np
import numpy.typing as npt

from turnout_fastpath.onnx_graph import NetGraph

@final
class Net:
    """The net that the trainer exports, with sums in one order on every processor."""

    def __init__(self, graph: NetGraph) -> None:
        """Lays the weights out for the kernel.

        Raises:
            ValueError: the net is larger than the kernel's 1,024 inputs, 1,024 hidden units or 64 columns.
        """

    @property
    def n_inputs(self) -> int: ...
    @property
    def n_columns(self) -> int: ...
    def run(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(n, n_columns) scores of (n, n_inputs) float32 rows."""
