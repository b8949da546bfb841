from collections.abc import Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

from turnout_fastpath.bundle import Bundle
from turnout_fastpath.embedding import VectorSet
from turnout_fastpath.policy import PolicySet
from turnout_fastpath.state import StateBlock

CONTEXT_NAMES: tuple[str, ...]
ALL_FEATURE_NAMES: tuple[str, ...]
FAMILIARITY_NAMES: tuple[str, ...]
FEATURES_REVISION: bytes

@final
class Snapshot:
    """A policy and a bundle compiled together: all that a decision reads besides request and live state. Immutable."""

    def __init__(self, bundle: Bundle, policy: Mapping[str, Any], state: StateBlock) -> None: ...
    @property
    def bundle(self) -> Bundle: ...
    @property
    def policies(self) -> PolicySet: ...
    @property
    def state(self) -> StateBlock: ...
    @property
    def feature_means(self) -> npt.NDArray[np.float32]: ...
    @property
    def exemplars(self) -> VectorSet:
        """Vectors of the buckets' exemplars, bucket by bucket in the policy's order."""

    @property
    def match_cosines(self) -> npt.NDArray[np.float32]:
        """(exemplars,) raw cosine at which each matches (0.88); 0 where the bundle has one scale for all."""

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """Unit vector of a text by the bundle's table, (dim,); zero if no piece of it is known."""
