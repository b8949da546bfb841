from typing import final

import numpy as np
import numpy.typing as npt

@final
class EmbeddingTable:
    """Static embeddings of word pieces: row i stands for weights[i] * rows[i]."""

    def __init__(self, rows: npt.NDArray[np.int8], weights: npt.NDArray[np.uint16]) -> None:
        """Keeps the arrays and reads them in place; they may be memory-mapped.

        Args:
            rows: (vocab_size, dim), C-contiguous; dim is a multiple of 16 from 16 to 256.
            weights: (vocab_size,), 0 to 16,383: the row's scale and the piece's weight in the mean, in a common unit.

        Raises:
            ValueError: another shape, type or range.
        """

    @property
    def vocab_size(self) -> int: ...
    @property
    def dim(self) -> int: ...
    def pool(self, ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Unit vector of the weighted sum of rows, (dim,); zeros if the sum is zero.

        Sums are integers, so the result depends neither on the order of `ids` nor on the processor.

        Args:
            ids: (n,) word pieces, at most 1,000.

        Raises:
            ValueError: too many pieces, or one outside the table.
        """

@final
class VectorSet:
    """Vectors as int8 rows, compared by cosine."""

    def __init__(self, rows: npt.NDArray[np.int8]) -> None:
        """Keeps the array and reads it in place.

        Args:
            rows: (n, dim), C-contiguous, none of them zero; dim is a multiple of 16 from 16 to 256.

        Raises:
            ValueError: another shape or type, or a row of zeros.
        """

    @staticmethod
    def quantise(vectors: npt.ArrayLike) -> VectorSet:
        """From (n, dim) real vectors of any length: each is scaled so that its peak is 127.

        Raises:
            ValueError: another shape, or a vector of zeros.
        """

    def __len__(self) -> int: ...
    @property
    def levels(self) -> npt.NDArray[np.int8]:
        """The rows, (n, dim)."""

    def cosine(self, vector: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Cosine of a unit vector (dim,) with each row, (n,); exact to 1/32,767 a component.

        Raises:
            ValueError: another width, or a component outside -1 to 1.
        """
