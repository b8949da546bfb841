from os import PathLike
from typing import final

class StateError(ValueError):
    """The block has another layout, or no room."""

@final
class StateBlock:
    """Live state that shapes decisions: closed deployments, sessions' tiers, spent budgets.

    One fixed-size block, in a file that processes of one machine share, or in private memory. Reads and writes are
    atomic and take no lock.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        """Opens the block in `path`, making it if absent; None means private memory.

        Raises:
            StateError: the file has another size, magic or version.
        """

    @property
    def path(self) -> str | None: ...
    def close_deployment(self, name: str, seconds: float) -> None:
        """No decision names the deployment for `seconds`, unless nothing else is left. Raises StateError when full."""

    def open_deployment(self, name: str) -> None:
        """The deployment may be named again."""

    def set_session(
        self,
        session_id: str,
        tier: int,
        seconds: float,
        *,
        deployment: str | None = None,
        warm_tokens: int = 0,
    ) -> None:
        """The session has been served by `tier` (0 is the cheapest) and keeps it for `seconds`.

        Args:
            session_id: the caller's identifier.
            tier: 0 to 7.
            seconds: how long the entry holds.
            deployment: the deployment whose provider cache is warm.
            warm_tokens: provider tokens that the cache holds.
        """

    def set_budget_spent(self, tenant: str, seconds: float) -> None:
        """The tenant's budget is spent for `seconds`; 0 clears it."""
