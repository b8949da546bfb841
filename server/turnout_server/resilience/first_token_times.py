"""How long a deployment's calls take to their first token: the last two hundred."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

# Enough for a 99th percentile, few enough to follow a change of the provider's.
SAMPLES = 200


class FirstTokenTimes:
    """The last first-token times of one deployment, in seconds."""

    def __init__(self, size: int = SAMPLES) -> None:
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._size = size

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, seconds: float) -> None:
        """Notes a call's; the oldest is forgotten."""
        if len(self._recent) == self._size:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(seconds)
        insort(self._sorted, seconds)

    def quantile(self, share: float) -> float:
        """The least time within which at least this share of the calls had their first token."""
        return self._sorted[max(0, math.ceil(share * len(self._sorted)) - 1)]
