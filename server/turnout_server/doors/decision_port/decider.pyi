from typing import final

from turnout_fastpath import Snapshot

from turnout_server.doors.decision_port.ring import Ring

@final
class Decider:
    """One thread's means of deciding with one snapshot, and what it has counted."""

    def __init__(
        self,
        snapshot: Snapshot,
        max_text_bytes: int,
        log_share: float,
        *,
        ring: Ring | None = None,
        generation: int = 0,
        keep_share: float = 0.0,
    ) -> None:
        """Decides with a snapshot.

        Args:
            snapshot: what decides.
            max_text_bytes: most bytes of text of one request.
            log_share: share of the decisions, 0 to 1, that is left to Python, which logs them.
            ring: where decisions are kept; None: nowhere.
            generation: the snapshot's number, for whoever drains the ring.
            keep_share: share of the decisions that is kept.
        """

    @property
    def snapshot(self) -> Snapshot: ...
    def sums(self) -> list[tuple[str, tuple[str, ...], list[float]]]:
        """Rows of `metrics.Sums`. May be called on any thread."""
