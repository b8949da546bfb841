"""The live state as dictionaries. Time is the caller's, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Live:
    """What one decision reads of the state."""

    closed: frozenset[str] = frozenset()
    session_tier: int | None = None
    session_deployment: str | None = None
    warm_tokens: int = 0
    budget_spent: bool = False


@dataclass
class State:
    """Deployments closed until, sessions' tiers, budgets spent until."""

    closed_until: dict[str, float] = field(default_factory=dict)
    sessions: dict[str, tuple[float, int, str | None, int, float]] = field(default_factory=dict)
    spent_until: dict[str, float] = field(default_factory=dict)

    def close_deployment(self, name: str, until: float) -> None:
        """No decision names it before `until`."""
        self.closed_until[name] = until

    def extend_closing(self, name: str, until: float) -> None:
        """No decision names it before the later of `until` and what was."""
        self.closed_until[name] = max(until, self.closed_until.get(name, 0))

    def set_session(
        self,
        session: str,
        tier: int,
        until: float,
        deployment: str | None = None,
        warm_tokens: int = 0,
        warm_until: float | None = None,
    ) -> None:
        """The session has this tier until `until`, and a warm cache until `warm_until`."""
        warm_until = until if warm_until is None else warm_until
        self.sessions[session] = (until, tier, deployment, warm_tokens, warm_until)

    def set_budget_spent(self, tenant: str, until: float) -> None:
        """The tenant's budget is spent until `until`."""
        self.spent_until[tenant] = until

    def read(self, session: str = "", tenant: str = "", now: float = 0) -> Live:
        """What a decision of this session and tenant depends on; empty names have no state."""
        closed = frozenset(name for name, until in self.closed_until.items() if until > now)
        spent = bool(tenant) and self.spent_until.get(tenant, 0) > now
        absent = (0.0, 0, None, 0, 0.0)
        until, tier, deployment, warm, warm_until = self.sessions.get(session, absent) if session else absent
        if until <= now:
            return Live(closed, budget_spent=spent)
        return Live(closed, tier, deployment, warm if warm_until > now else 0, spent)


def state_key(text: bytes) -> int:
    """FNV-1a over the bytes, then MurmurHash3's 64-bit finaliser; never 0."""
    mask = 2**64 - 1
    value = 0xCBF29CE484222325
    for byte in text:
        value = (value ^ byte) * 0x100000001B3 & mask
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor & mask
    return (value ^ value >> 33) or 1
