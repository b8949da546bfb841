"""One upstream call that answers nobody: its own limit of time, its own budget, no retry, no probe of a closed breaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from turnout_fastpath import StateBlock

from turnout_server.completion.answer_rules import LaneLimits, grading_budgets, scope_of
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.dispatcher import LEAST_ATTEMPT_S, Answer, Dispatcher, Run
from turnout_server.completion.estimates import estimate_cost
from turnout_server.completion.fleet import Fleet
from turnout_server.providers.chat import ChatRequest
from turnout_server.resilience.breaker import Health
from turnout_server.resilience.breakers import Permit
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.deadline import Deadline
from turnout_server.resilience.spend_budget import MOST_RESERVED_NANO_USD, Exhausted, Spending


class NoAnswer(StrEnum):
    """Why there is none. The value is the name in metrics."""

    NOT_PERMITTED = "not_permitted"
    """The request may go to no deployment that could be asked."""
    NO_DEPLOYMENT = "no_deployment"
    """All that could be asked are closed by their breakers."""
    TOO_LONG = "too_long"
    """What would be sent fits no context window."""
    BUDGET = "budget"
    """The estimate does not fit what is left of the budget."""
    NO_TIME = "no_time"
    """The caller's deadline leaves none."""
    UPSTREAM = "upstream"
    """The call failed, or took longer than it may."""


class AsideCaller:
    """Makes such calls. Belongs to one event loop."""

    def __init__(self, dispatcher: Dispatcher, state: StateBlock, clock: Clock) -> None:
        """Calls by `dispatcher`; budgets are counted in `state`, exact over all processes that share it."""
        self._dispatcher = dispatcher
        self._state = state
        self._clock = clock
        self._fleet: Fleet | None = None
        self._spending = Spending(state, {}, clock)

    async def ask(
        self,
        run: Run,
        names: Sequence[str],
        chat: ChatRequest,
        purpose: Purpose,
        limits: LaneLimits,
        made: list[Attempt],
        *,
        deadline: Deadline | None = None,
        output_tokens: int,
    ) -> Answer | NoAnswer:
        """The whole answer of the first deployment that may be called.

        Args:
            run: the request that this is about; its attempts are not touched.
            names: deployments that could be asked, the first choice first.
            chat: what is asked.
            purpose: whose budget it is on.
            limits: of the purpose; its time is the call's.
            made: gets the attempt, whatever becomes of it; a cancel too.
            deadline: of a caller who waits; None: nobody does.
            output_tokens: what the answer may take, for the estimate.
        """
        ends_s = self._clock.monotonic_s() + limits.timeout_s
        if deadline is not None:
            ends_s = min(ends_s, deadline.ends_s - deadline.reserve_s)
        own = Deadline(ends_s, 0.0)
        if not own.allows(LEAST_ATTEMPT_S, self._clock):
            return NoAnswer.NO_TIME
        permitted = [name for name in names if run.fleet.may_see(run.asked, name)]
        if not permitted:
            return NoAnswer.NOT_PERMITTED
        asked = replace(run.asked, chat=chat, deadline=own)
        aside = Run(asked, run.fleet, AttemptLog(run.log.now_ns), chat)
        tokens = aside.input_tokens + output_tokens
        fitting = [name for name in permitted if run.fleet[name].context_window >= tokens]
        if not fitting:
            return NoAnswer.TOO_LONG
        permit = self._admit(run.fleet, fitting)
        if permit is None:
            return NoAnswer.NO_DEPLOYMENT
        return await self._call(aside, permit, purpose, limits, made, output_tokens)

    async def _call(
        self,
        aside: Run,
        permit: Permit,
        purpose: Purpose,
        limits: LaneLimits,
        made: list[Attempt],
        output_tokens: int,
    ) -> Answer | NoAnswer:
        fleet = aside.fleet
        spending = self._spending_of(fleet)
        price = fleet.price(fleet[permit.deployment])
        nano = min(estimate_cost(price, aside.input_tokens, output_tokens), MOST_RESERVED_NANO_USD)
        scope = scope_of(aside.asked.decision.policy, purpose)
        reservation = spending.reserve([scope], nano, aside.input_tokens + output_tokens)
        if isinstance(reservation, Exhausted):
            fleet.breakers.release(permit)
            return NoAnswer.BUDGET
        try:
            found = await self._dispatcher.call(aside, permit, purpose, None, limits.timeout_s)
        finally:
            made += aside.log.attempts
            spending.settle(reservation, aside.log.cost.total.cost_nano, aside.log.tokens_total)
        return found if isinstance(found, Answer) else NoAnswer.UPSTREAM

    def _spending_of(self, fleet: Fleet) -> Spending:
        """The budgets of the policy that is in force; what was spent is in the state block."""
        if self._fleet is not fleet:
            self._fleet = fleet
            self._spending = Spending(self._state, grading_budgets(fleet.rules), self._clock)
        return self._spending

    def _admit(self, fleet: Fleet, names: Sequence[str]) -> Permit | None:
        """Leave to call the first healthy one: probes and last resorts are for those who wait for an answer."""
        for name in names:
            if fleet.breakers.health(name) is Health.CLOSED:
                permit = fleet.breakers.admit(name)
                if permit is not None:
                    return permit
        return None
