from typing import final

from turnout_fastpath import Snapshot

@final
class Decider:
    """One thread's means of deciding with one snapshot, and what it has counted."""

    def __init__(self, snapshot: Snapshot, max_text_bytes: int, log_share: float) -> None:
        """Leaves `log_share` of the decisions, 0 to 1, to Python, which logs them."""

    @property
    def snapshot(self) -> Snapshot: ...
    def sums(self) -> list[tuple[str, tuple[str, ...], list[float]]]:
        """Rows of `metrics.Sums`. May be called on any thread."""
