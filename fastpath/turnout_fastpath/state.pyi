from os import PathLike
from typing import final

class StateError(ValueError):
    """The block has another layout or version, or no room."""

@final
class StateBlock:
    """Live state that shapes decisions: closed deployments, sessions' tiers, spent budgets.

    One fixed-size block, in a file that processes of one machine share, or in private memory. Reads and writes are
    atomic and take no lock. The same block holds what decisions do not read: the breakers (`BreakerTable`) and the
    counters of budgets and rates (`CounterTable`). A block outlives a restart of the machine with its counters
    alone, since monotonic times of another boot mean nothing.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        """Opens the block in `path`, making it if absent; None means private memory.

        Raises:
            StateError: the file has another size, magic or version. Processes of two versions share no block.
        """

    @property
    def path(self) -> str | None: ...
    def close_deployment(self, name: str, seconds: float, *, extend: bool = False) -> None:
        """No decision names the deployment for `seconds`, unless nothing else is left.

        Args:
            name: the deployment.
            seconds: from now.
            extend: True: a closing that ends later stands.

        Raises:
            StateError: the block has no room for another deployment.
        """

    def open_deployment(self, name: str) -> None:
        """The deployment may be named again."""

    def is_closed(self, name: str) -> bool:
        """True if decisions do not name the deployment now."""

    def set_session(
        self,
        session_id: str,
        tier: int,
        seconds: float,
        *,
        deployment: str | None = None,
        warm_tokens: int = 0,
        warm_seconds: float | None = None,
    ) -> None:
        """The session has been served by `tier` (0 is the cheapest) and keeps it for `seconds`.

        Args:
            session_id: the caller's identifier.
            tier: 0 to 7.
            seconds: how long the entry holds.
            deployment: the deployment whose provider cache is warm.
            warm_tokens: provider tokens that the cache holds.
            warm_seconds: how long it holds them; None: as long as the entry.
        """

    def set_budget_spent(self, tenant: str, seconds: float) -> None:
        """The tenant's budget is spent for `seconds`; 0 clears it."""
