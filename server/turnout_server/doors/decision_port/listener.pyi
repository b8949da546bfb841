import socket
from collections.abc import Callable
from typing import Any, final

from turnout_server.doors.decision_port.decider import Decider

class LibraryMissingError(OSError):
    """libnghttp2, or one of its functions, is not there; the message is its name."""

@final
class Listener:
    """One thread of the decision port. `run` on a thread of its own; the rest on any."""

    def __init__(
        self,
        decider: Decider,
        longer_way: Callable[..., Any],
        failures: list[tuple[int, bytes, bytes, bytes]],
        *,
        sockets: list[socket.socket],
        limits: Any,
    ) -> None:
        """Prepares a thread that accepts on `sockets`.

        Args:
            decider: what decides at first.
            longer_way: a longer_way.LongerWay.
            failures: worded failures, by FAIL_ of model.pxd.
            sockets: listening, non-blocking; at most 4.
            limits: a port.Limits.

        Raises:
            LibraryMissingError: libnghttp2 cannot be loaded.
        """

    def run(self) -> None:
        """Serves until `set_state(stops=True)`, without the GIL."""

    def set_state(
        self,
        *,
        admits: bool | None = None,
        serving: bool | None = None,
        drains: bool | None = None,
        lets_go: bool | None = None,
        stops: bool | None = None,
    ) -> None:
        """Says whether requests are let in, what health tells, whether connections are sent away, and ends `run`.

        `lets_go` ends Envoy's streams: those that have their decision as a success, after which it carries on without
        them, the others as not serving.
        """

    def install(self, decider: Decider) -> None:
        """Decides with another decider from now on, between two decisions."""

    def collect_retired(self) -> list[Decider]:
        """Deciders that have gone out of use since the last call; what they counted is final."""

    @property
    def deciders(self) -> list[Decider]:
        """Those in use, or still to be collected."""

    @property
    def connections(self) -> int:
        """Open now."""

    def counts(self) -> dict[str, Any]:
        """Calls by method, codes and times, what was shed, and refused connections."""
