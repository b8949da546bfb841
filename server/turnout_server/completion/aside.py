"""One upstream call that answers nobody: its own limit of time, its own budget, no retry, no probe of a closed breaker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from turnout_server.completion.answer_rules import LaneLimits
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.dispatcher import LEAST_ATTEMPT_S, Answer, Dispatcher, Run
from turnout_server.completion.estimates import estimate_cost
from turnout_server.completion.stated_limits import purpose_scope
from turnout_server.providers.chat import ChatRequest
from turnout_server.resilience.breaker import Health
from turnout_server.resilience.breakers import Permit
from turnout_server.resilience.budgets import Exhausted
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.deadline import Deadline
from turnout_server.resilience.spend_budget import MOST_RESERVED_NANO_USD, Spending


class NoAnswer(StrEnum):
    """Why there is none. The value is the name in metrics."""

    NOT_PERMITTED = "not_permitted"
    """The request may go to no deployment that could be asked."""
    NO_DEPLOYMENT = "no_deployment"
    """All that could be asked are closed by their breakers, or at their limits."""
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

    def __init__(
        self,
        dispatcher: Dispatcher,
        spending: Spending,
        clock: Clock,
        ended: Callable[[Run, Sequence[Attempt]], None] = lambda *_: None,
    ) -> None:
        """Calls by `dispatcher`, within the budgets of `spending`; `ended` keeps what a call has cost."""
        self._dispatcher = dispatcher
        self._spending = spending
        self._clock = clock
        self._ended = ended

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
        aside.access = run.access.beside(aside.log, lambda _: tokens, pays=False)
        permit = self._admit(aside, fitting)
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
        price = fleet.price(fleet[permit.deployment])
        nano = min(estimate_cost(price, aside.input_tokens, output_tokens), MOST_RESERVED_NANO_USD)
        scope = purpose_scope(aside.asked.decision.policy, purpose)
        reservation = self._spending.reserve([scope], nano, aside.input_tokens + output_tokens)
        if isinstance(reservation, Exhausted):
            aside.access.release(permit)
            return NoAnswer.BUDGET
        try:
            found = await self._dispatcher.call(aside, permit, purpose, None, limits.timeout_s)
        finally:
            made += aside.log.attempts
            settled_ns = self._spending.now_ns()
            for one in aside.log.attempts:
                one.settled_ns = settled_ns
            cost_nano = aside.log.cost.total.cost_nano
            self._spending.settle(reservation, cost_nano, aside.log.tokens_total, settled_ns)
            self._ended(aside, aside.log.attempts)
        return found if isinstance(found, Answer) else NoAnswer.UPSTREAM

    def _admit(self, aside: Run, names: Sequence[str]) -> Permit | None:
        """Leave to call the first healthy one with room: probes and last resorts are for those who wait for an answer."""
        for name in names:
            if aside.access.health(name) is Health.CLOSED:
                permit = aside.access.admit(name)
                if permit is not None:
                    return permit
        return None
