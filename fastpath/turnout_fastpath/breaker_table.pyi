from typing import final

from turnout_fastpath.state import StateBlock

@final
class BreakerTable:
    """What the breakers of a machine know, in a state block that its processes share.

    Times are milliseconds of the machine's monotonic clock, given by the caller. Every call is atomic.
    """

    def __init__(self, block: StateBlock) -> None:
        """The table of the block; any number of them may stand over one block."""

    def slot(self, name: str) -> int:
        """Where the breaker is, 0 to 1,023; the first call for a name takes a place for good.

        Raises:
            StateError: all 1,024 places are taken.
        """

    def word(self, slot: int) -> int:
        """64 bits that belong to whoever runs the breaker; 0 at first."""

    def swap_word(self, slot: int, expected: int, word: int) -> bool:
        """Sets the word if it is `expected`; False if it is not, and then nothing has changed."""

    def paused_until_ms(self, slot: int) -> int:
        """The end of the pause; 0 if there never was one."""

    def pause(self, slot: int, until_ms: int) -> None:
        """Pauses until the later of `until_ms` and what was."""

    def unpause(self, slot: int) -> None:
        """Ends the pause."""

    def take_probe(self, slot: int, now_ms: int, until_ms: int) -> bool:
        """Takes the lease of the one probe until `until_ms`; False if another has it.

        Args:
            slot: the breaker's.
            now_ms: a lease that ended by then is free: its holder has died or hangs.
            until_ms: also the receipt with which the lease is given back.
        """

    def return_probe(self, slot: int, until_ms: int) -> bool:
        """Gives back the lease that was taken with `until_ms`; False if it is another's by now."""

    def record(
        self, slot: int, now_ms: int, *, failed: bool, in_run: bool = True
    ) -> tuple[int, int, int, int, int]:
        """Counts one call, and returns the evidence with it counted.

        Args:
            slot: the breaker's.
            now_ms: when the call ended.
            failed: it counts as a failure.
            in_run: False leaves the run of failures as it is.

        Returns:
            Failures in a row, not more than 10 s apart; calls and failures of this half second and the one before;
            calls and failures of the last 20 half seconds.
        """

    def evidence(self, slot: int, now_ms: int) -> tuple[int, int]:
        """Calls and failures of the last 20 half seconds."""

    def forget(self, slot: int) -> None:
        """Drops the evidence; word, pause and lease stay."""
