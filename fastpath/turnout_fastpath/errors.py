"""Why a request cannot be decided."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Reason(IntEnum):
    """What is wrong; the numbers are those of turnout.v1.ErrorReason."""

    INVALID_FIELD = 1
    PROMPT_REQUIRED = 3
    UNKNOWN_POLICY = 4
    UNKNOWN_TIER = 5
    UNKNOWN_DEPLOYMENT = 6
    UNKNOWN_REGION = 7
    NO_CANDIDATE = 8
    INTERNAL = 12


class RouteError(ValueError):
    """A request that cannot be decided.

    Attributes:
        reason: what is wrong.
        field: the field at fault, such as "constraints.min_tier" or "messages[3].role"; for NO_CANDIDATE the constraint
            that removed the last deployment: tier, deployment, region, context_window, modality, tools or cost.
        value: what was given, shortened; empty where it is the caller's text.
        limit: what is allowed; empty where there is no such thing.
        known: the names that exist, where a name was not found.
    """

    def __init__(
        self, reason: Reason, field: str, *, value: object = "", limit: object = "", known: Sequence[str] = ()
    ) -> None:
        self.reason = reason
        self.field = field
        self.value = str(value)[:128]
        self.limit = str(limit)
        self.known = tuple(known)
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        if self.reason is Reason.NO_CANDIDATE:
            return f"no deployment can serve the request; the last one was removed by: {self.field}"
        if self.reason is Reason.PROMPT_REQUIRED:
            return f"{self.field}: exactly one of prompt and messages is needed"
        if self.reason is Reason.INTERNAL:
            return "the decision failed"
        if self.reason is Reason.INVALID_FIELD:
            return f"{self.field}: {self.value} breaks the limit: {self.limit}"
        kind = self.reason.name.removeprefix("UNKNOWN_").lower()
        known = f"; known: {', '.join(self.known)}" if self.known else ""
        return f"{self.field}: no {kind} {self.value!r}{known}"
