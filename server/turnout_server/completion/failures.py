"""Why a completion has no whole answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from turnout_server.completion.attempts import Attempt
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.budgets import Exhausted


class CompletionError(Exception):
    """No whole answer; the door tells the caller why."""


class BudgetExhaustedError(CompletionError):
    """The request's estimate does not fit what is left of a budget."""

    def __init__(self, exhausted: Exhausted) -> None:
        super().__init__(f"{exhausted.kind} of {exhausted.scope.kind} is exhausted")
        self.exhausted = exhausted


class DeadlinePassedError(CompletionError):
    """The deadline passed before an answer was whole, or nothing that is left could finish in time."""


class UpstreamUnavailableError(CompletionError):
    """No deployment that the decision allows could answer.

    Attributes:
        retry_after_s: when the first may be back.
        causes: how many attempts ended so, or deployments were closed, by fault.
    """

    def __init__(self, retry_after_s: float, causes: dict[str, int]) -> None:
        super().__init__(f"no deployment could answer: {show_causes(causes) or 'none may be called'}")
        self.retry_after_s = retry_after_s
        self.causes = causes


class AnswerCutError(CompletionError):
    """The answer was cut after content had come.

    Attributes:
        attempt: the last one that was cut.
        partial_text: what had come of the text.
        given: whether the caller of a stream has seen it.
    """

    def __init__(self, attempt: Attempt, partial_text: str, *, given: bool) -> None:
        super().__init__(f"the answer was cut ({attempt.fault}) after content had come")
        self.attempt = attempt
        self.partial_text = partial_text
        self.given = given


class RequestAtFaultError(CompletionError):
    """The provider says that the request itself is at fault: too long, against its policy, or not valid.

    Attributes:
        attempt: whose provider said so; its fault is CONTEXT_EXCEEDED, CONTENT_POLICY or BAD_REQUEST.
        tokens: the input and the answer, estimated, in provider tokens.
        window: the largest context window that was allowed, in provider tokens.
    """

    def __init__(self, attempt: Attempt, *, tokens: int = 0, window: int = 0) -> None:
        super().__init__(f"the provider refused the request: {attempt.fault}")
        self.attempt = attempt
        self.tokens = tokens
        self.window = window


def count_causes(attempts: Iterable[Attempt]) -> dict[str, int]:
    """How many attempts ended with each fault."""
    return dict(Counter(str(one.fault) for one in attempts if one.fault not in (None, FaultKind.CANCELLED)))


def show_causes(causes: dict[str, int]) -> str:
    """Causes as error details bear them: `rate_limited=2, connection=1`."""
    return ", ".join(f"{name}={count}" for name, count in sorted(causes.items(), key=lambda c: (-c[1], c[0])))
