from typing import final

import numpy as np
import numpy.typing as npt

def buckets_of(words: npt.ArrayLike, bits: int) -> npt.NDArray[np.uint32]:
    """Buckets of the 1-grams and 2-grams of a run of words, (2n - 1,); a 2-gram stands behind its second word.

    Args:
        words: (n,) 64-bit hashes of normalised words, at most 1,024; see WordPiece.words.
        bits: the table has 2**bits rows; 4 to 24.

    Raises:
        ValueError: too many words, or bits out of range.
    """

@final
class NgramTable:
    """A table of hashed n-grams, whose rows are summed over a text."""

    def __init__(self, rows: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> None:
        """Keeps the arrays and reads them in place; they may be memory-mapped.

        Args:
            rows: (2**bits, columns), C-contiguous; at least 16 rows, columns a multiple of 16 up to 64.
            scales: (columns,), the value of one step of each column.

        Raises:
            ValueError: another shape or type.
        """

    @property
    def columns(self) -> int: ...
    @property
    def bits(self) -> int: ...
    def values(self, words: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Scaled sums of the rows of all n-grams over the square root of their number, (columns,); zeros for no words.

        Args:
            words: (n,) 64-bit hashes of normalised words, at most 1,024.

        Raises:
            ValueError: too many words.
        """
