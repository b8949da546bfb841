"""What one request holds of its tenant's and its policy's budgets, from before its first call to its bill.

The rule: before a call, what the request has cost so far, what its calls under way may cost and what this one may cost
are reserved together; a call that would go beyond what is left of a budget is not made. So an escalation, or a failover
to a dearer deployment, keeps to the budget as the first call does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout_server.completion.attempt import NOT_THE_CALLERS
from turnout_server.completion.estimates import estimate_cost
from turnout_server.completion.failures import BudgetExhaustedError
from turnout_server.resilience.budgets import Exhausted, Scope, ScopeKind
from turnout_server.resilience.spend_budget import MOST_RESERVED_NANO_USD, Reservation, Spending

if TYPE_CHECKING:
    from turnout_server.completion.fleet import Deployment
    from turnout_server.completion.run import Run

# Where the caller does not say how long an answer may be.
USUAL_OUTPUT_TOKENS = 1024


def expected_output(run: Run, deployment: Deployment) -> int:
    """How many tokens an answer may have: what the caller allows, else what is usual."""
    most = deployment.target.max_output_tokens or USUAL_OUTPUT_TOKENS
    return run.chat.max_output_tokens or min(most, USUAL_OUTPUT_TOKENS)


class Allowance:
    """One request's part of its budgets; `settle` ends it."""

    def __init__(self, spending: Spending, run: Run) -> None:
        """Reserves nothing yet."""
        asked = run.asked
        self._scopes = (Scope(ScopeKind.POLICY, asked.decision.policy), Scope(ScopeKind.TENANT, asked.tenant))
        self._is_limited = any(spending.budgets.get(scope) is not None for scope in self._scopes)
        self._spending = spending
        self._run = run
        self._held: list[Reservation] = []

    def open(self) -> None:
        """Reserves what a call of the decided deployment may cost; nothing where no budget limits the request.

        Raises:
            BudgetExhaustedError: that is not left.
        """
        nano, tokens = 0, 0
        if self._is_limited:
            nano, tokens = self.estimate(self._run.fleet[self._run.asked.decision.deployment])
        refused = self._reserve(nano, tokens, requests=1)
        if refused is not None:
            raise BudgetExhaustedError(refused)

    def covers(self, deployment: Deployment) -> Exhausted | None:
        """Sees to it that one more call, of this deployment, is reserved; says why where it may not be."""
        if not self._held or not self._is_limited:
            return None
        nano, tokens = self.estimate(deployment)
        for attempt in self._run.log.attempts:
            if attempt.purpose in NOT_THE_CALLERS:
                continue
            if attempt.ended_ns:
                nano += attempt.cost.cost_nano or 0
                tokens += attempt.tokens.input_total + attempt.tokens.output_total
            else:
                more_nano, more_tokens = self.estimate(attempt.deployment)
                nano, tokens = nano + more_nano, tokens + more_tokens
        nano -= sum(one.nano_usd for one in self._held)
        tokens -= sum(one.tokens for one in self._held)
        if nano <= 0 and tokens <= 0:
            return None
        return self._reserve(min(max(0, nano), MOST_RESERVED_NANO_USD), max(0, tokens), requests=0)

    def estimate(self, deployment: Deployment) -> tuple[int, int]:
        """What a call may cost, in nano-dollars, and its input and output tokens.

        Nothing without a price, which a policy with budgets of dollars cannot have.
        """
        run = self._run
        output_tokens = expected_output(run, deployment)
        nano = estimate_cost(run.fleet.price(deployment), run.input_tokens, output_tokens)
        return min(nano, MOST_RESERVED_NANO_USD), run.input_tokens + output_tokens

    def settle(self) -> None:
        """Counts what the request cost in the place of what it reserved.

        Its attempts say when, as their records will: a budget that is stated later tells by that what it has to add.
        """
        held, self._held = self._held, []
        if not held:
            return
        settled_ns = self._spending.now_ns()
        for attempt in self._run.log.attempts:
            attempt.settled_ns = settled_ns
        theirs = [one for one in self._run.log.attempts if one.purpose not in NOT_THE_CALLERS]
        nano = sum(one.cost.cost_nano or 0 for one in theirs)
        tokens = sum(one.tokens.input_total + one.tokens.output_total for one in theirs)
        # Each as much as it held, the last what is left or lacking.
        for one in held[:-1]:
            of_nano, of_tokens = min(nano, one.nano_usd), min(tokens, one.tokens)
            self._spending.settle(one, of_nano, of_tokens, settled_ns)
            nano, tokens = nano - of_nano, tokens - of_tokens
        self._spending.settle(held[-1], nano, tokens, settled_ns)

    def _reserve(self, nano_usd: int, tokens: int, *, requests: int) -> Exhausted | None:
        found = self._spending.reserve(self._scopes, nano_usd, tokens, requests=requests)
        if isinstance(found, Exhausted):
            return found
        self._held.append(found)
        return None
