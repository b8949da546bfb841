"""Random sources that a test can foresee."""

from __future__ import annotations

from random import Random


class Highest(Random):
    """Draws the upper end of every span."""

    def uniform(self, a: float, b: float) -> float:
        """The upper end."""
        return max(a, b)

    def random(self) -> float:
        """The greatest float below 1."""
        return 1 - 2**-53
