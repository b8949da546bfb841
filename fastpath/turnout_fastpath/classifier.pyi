from typing import Any, final

import numpy as np
import numpy.typing as npt

class ClassifierError(RuntimeError):
    """ONNX Runtime is missing or too old, or refuses the model or a row."""

@final
class Classifier:
    """An ONNX model with one float32 input of shape (rows, n_inputs) and one float32 output (rows, n_outputs).

    One thread a session; safe to call from any number of threads.
    """

    def __init__(
        self,
        model: bytes,
        n_inputs: int,
        n_outputs: int,
        *,
        input_name: str = "x",
        output_name: str = "scores",
        compiled: bool = True,
    ) -> None:
        """Loads a serialised model.

        The net that the trainer exports, also with heads trained on top of it, is run by our own kernel, which needs no
        ONNX Runtime; any other model is run once on zeros, by ONNX Runtime.

        Args:
            model: the serialised ONNX model.
            n_inputs, n_outputs: its width.
            input_name, output_name: its input's and output's names.
            compiled: False to have ONNX Runtime run every model.

        Raises:
            ClassifierError: ONNX Runtime cannot be loaded, or the model is none, or of another shape.
        """

    @property
    def is_compiled(self) -> bool:
        """True if our own kernel runs the model."""

    @property
    def n_inputs(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...
    def score(self, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The model's output for each row.

        Args:
            rows: (n, n_inputs), converted to float32.

        Returns:
            (n, n_outputs), raw values.

        Raises:
            ValueError: another shape.
            ClassifierError: the runtime refused.
        """

    def run_rows(self, table: npt.NDArray[np.float32] | None, rows: int) -> npt.NDArray[Any]:
        """As `score`, for `rows` checked rows; None stands for zeros."""
