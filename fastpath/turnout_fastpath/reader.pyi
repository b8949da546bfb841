from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from turnout_fastpath.request import Request

class Reading(NamedTuple):
    """What was read of a request.

    Attributes:
        features: (n,) raw values, in the order of snapshot.ALL_FEATURE_NAMES.
        ids: word pieces of both windows.
        head_words, tail_words: 64-bit hashes of the windows' words.
        n_unknown: number of `ids` that are [UNK].
    """

    features: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int32]
    head_words: npt.NDArray[np.uint64]
    tail_words: npt.NDArray[np.uint64]
    n_unknown: int

@final
class Reader:
    """Reads requests as an engine with this vocabulary does. Not thread-safe."""

    def __init__(self, vocabulary: Sequence[str]) -> None: ...
    def read(self, request: Request) -> Reading:
        """Reads one request."""
