from typing import Final, final

from turnout_fastpath.state import StateBlock

REFUSED: Final = -1
FULL: Final = -2
UNCOUNTED: Final = -3
MAX_USED: Final[int]

@final
class CounterTable:
    """Counters of budgets and rates in a state block, exact over all processes that share it.

    A counter has a name and a period of whole UTC days; it begins at 0 in each period. A rate has a name. Names of
    both are of one kind: a name is used for one of them. 32,768 have room, in sets of 16, so that 8,000 find
    theirs; a set that is full takes over what has been out of use for an hour. Amounts are integers in the caller's unit. Times are the caller's: Unix
    milliseconds for periods, Unix nanoseconds for dates and settlements, nanoseconds of the machine's monotonic clock
    for rates.

    A counter is dated once. What is settled at its date or later is counted here, by whoever settles it; what was
    settled before is known from records, with `restore`.

    Attributes:
        dated: how many counters were dated so far; 0: nobody counts anything.
        given_back: what this table has given back of reservations that nobody settled within 15 to 20 minutes.
    """

    def __init__(self, block: StateBlock) -> None:
        """The table of the block; any number of them may stand over one block."""

    @property
    def given_back(self) -> int: ...
    @property
    def dated(self) -> int: ...
    def open(self, name: str, *, ends_ms: int, now_ms: int) -> bool:
        """Makes a counter that is not there; False if the table has no room for it.

        It is to be dated by a clock that is read after this.
        """

    def date(self, name: str, since_ns: int) -> int:
        """Dates a counter that is not dated; returns the date that holds, 0 for a counter that is not there."""

    def since_ns(self, name: str) -> int:
        """The date of a counter; 0 for one that is not dated or not there."""

    def dates(self) -> set[int]:
        """The dates of all counters."""

    def reserve(
        self,
        name: str,
        amount: int,
        limit: int,
        *,
        begins_ms: int,
        ends_ms: int,
        now_ms: int,
        since_ns: int = 1,
    ) -> tuple[int, int, int]:
        """Counts `amount` if no more than `limit` is used with it.

        Args:
            name: the counter's.
            amount: below 2^48, as must be all that is reserved within five minutes and not settled.
            limit: below 2^54.
            begins_ms: when the period began: midnight UTC.
            ends_ms: when it ends.
            now_ms: within the period.
            since_ns: the date of a counter that has none.

        Returns:
            What is used now, and the receipt to settle with: the period's tag and the lease's span. REFUSED in front
            if too little is left, FULL if the table has no room for another counter; then nothing was counted.

        Raises:
            StateError: a time or an amount is out of range.
        """

    def settle(
        self, name: str, reserved: int, actual: int, tag: int, span: int, settled_ns: int = ...
    ) -> int:
        """Puts what was used in the place of what was reserved, once for each reservation.

        A reservation that was given back meanwhile counts in full now; one of a period that is over counts nowhere.

        Args:
            name: the counter's.
            reserved: the amount of the reservation.
            actual: what was used; may be more.
            tag: of the receipt.
            span: of the receipt.
            settled_ns: when; before the counter's date nothing is counted, since records will tell. Later than any
                date, unless it is given.

        Returns:
            What is used now of the reservation's period; 0 if it is over.
        """

    def count(
        self,
        name: str,
        amount: int,
        settled_ns: int,
        *,
        begins_ms: int,
        ends_ms: int,
        now_ms: int,
        kin: str | None = None,
        since_ns: int = 0,
    ) -> int:
        """Counts what was settled without a reservation, if the counter is there and was dated before.

        Args:
            name: the counter's.
            amount: what was used.
            settled_ns: when, read from the clock before this is called.
            begins_ms: when the period began in which it is counted.
            ends_ms: when it ends.
            now_ms: for the entry's own age.
            kin: another counter: where that one is there, one that is not is made, with its date.
            since_ns: the date of a counter that has none, which is then made; 0: it is not.

        Returns:
            What is used now. UNCOUNTED if records will tell of it, nobody counts it, or its period is over; FULL if the
            table has no room.

        Raises:
            StateError: the period is none.
        """

    def used(self, name: str, *, begins_ms: int, now_ms: int) -> int:
        """What is used or reserved in the period; 0 for a counter that is not there."""

    def restore(
        self,
        name: str,
        before: int,
        whole: int,
        *,
        begins_ms: int,
        ends_ms: int,
        now_ms: int,
        since_ns: int = 1,
    ) -> bool:
        """Counts what records say, at least, besides what is settled and reserved; as often as one likes.

        Args:
            name: the counter's.
            before: of the period, settled before the counter's date.
            whole: all that the records had of the period some time ago, whenever it was settled. Where less has been
                counted since, as while nobody kept this table, the rest is taken for older.
            begins_ms: when the period began.
            ends_ms: when it ends.
            now_ms: within the period.
            since_ns: the date of a counter that has none.

        Returns:
            False if the table has no room for the counter.

        Raises:
            StateError: `now_ms` is not within the period.
        """

    def take(self, name: str, cost_ns: int, burst_ns: int, *, now_ns: int, now_ms: int) -> int:
        """Takes from a rate: a bucket that holds `burst_ns` of time and fills with time.

        Args:
            name: the rate's.
            cost_ns: what is taken: units times the nanoseconds in which one comes back; at most `burst_ns`.
            burst_ns: what a rested bucket holds.
            now_ns: monotonic.
            now_ms: Unix, for the entry's own age.

        Returns:
            0: taken; FULL: the table has no room for another rate; else nothing was taken, and it is the nanoseconds
            until there is enough if nobody else takes.

        Raises:
            StateError: more is wanted than the bucket can hold.
        """

    def charge(self, name: str, cost_ns: int, burst_ns: int, *, now_ns: int) -> None:
        """Takes from a rate what has been used already, as far as there is some: the bucket is never below empty."""

    def give_back(self, name: str, cost_ns: int) -> None:
        """Gives back what was taken and not used."""
