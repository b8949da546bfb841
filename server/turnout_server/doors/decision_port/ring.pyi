from typing import NamedTuple, final

class Drained(NamedTuple):
    """What a ring holds of a decision. Numbers are those of the snapshot of `generation`; -1: none."""

    decision_id: str
    at_ms: int
    generation: int
    policy: int
    tier: int
    status: int
    deployment: int
    task: int
    strategy: int
    tokens_total: int
    propensity: float
    p_sufficient: tuple[float | None, ...]
    tenant: str
    text: str | None
    features: bytes | None

@final
class Ring:
    """Decisions of one thread on their way to the store. One thread fills it, through a `Decider`, and one drains it."""

    def __init__(self, size: int) -> None:
        """Holds `size` bytes, a power of two from 4096.

        Raises:
            ValueError: it is none.
        """

    @property
    def dropped(self) -> int:
        """Decisions that found no room. May be read on any thread."""

    def drain(self, most: int) -> list[Drained]:
        """Takes out up to so many decisions, the oldest first."""
