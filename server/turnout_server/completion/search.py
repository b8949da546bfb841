"""One search for an answer: from deployment to deployment, as breakers, budgets and the retry policy allow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.calling import Caller
from turnout_server.completion.failures import (
    AnswerCutError,
    CompletionError,
    DeadlinePassedError,
    RequestAtFaultError,
    UpstreamUnavailableError,
    count_causes,
)
from turnout_server.completion.further_attempts import FurtherAttempts
from turnout_server.completion.hedged_call import Call, HedgedCall
from turnout_server.completion.run import Answer, Listener, Run
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breaker import Health
from turnout_server.resilience.breakers import Permit, Use
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.hedge import HedgeRace
from turnout_server.resilience.retry_budget import Place
from turnout_server.resilience.retry_policy import Action, ErrorClass, Situation, Verdict, judge
from turnout_server.resilience.silence import LEAST_PATIENCE_S

# An attempt that has less than this left before the deadline is not started.
LEAST_ATTEMPT_S = 0.02
# Of the time that is left, for silence, where another deployment could still answer in the rest.
SHARE_OF_DEADLINE = 0.5
# What a caller is told to wait at least, where no breaker says more.
LEAST_RETRY_AFTER_S = 0.1
# Calls that may be hedged: those that a caller waits for.
HEDGED = (Purpose.SERVE, Purpose.ESCALATE)


@dataclass(frozen=True)
class Means:
    """What every search works with.

    Attributes:
        caller: makes the calls.
        clock: of deadlines, breakers and budgets.
        random: source of jitter.
        sleep: waits out a retry's delay.
    """

    caller: Caller
    clock: Clock
    random: Random
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Step:
    """The next call: leave to make it, and its places in budgets.

    Attributes:
        permit: leave.
        retry: in the account's retry budget; None: it takes none.
        further: in the tier's budget of further attempts; None: it takes none.
    """

    permit: Permit
    retry: Place | None = None
    further: Place | None = None

    def end(self, *, served: bool) -> None:
        """Gives the places back; a further attempt that served was well spent."""
        if self.retry is not None:
            self.retry.end()
        if self.further is not None:
            self.further.end(spent=not served)


class Search:
    """One search for an answer, from deployment to deployment."""

    def __init__(
        self,
        means: Means,
        run: Run,
        tier: str,
        purpose: Purpose,
        listener: Listener | None,
        lower: bool,
    ) -> None:
        self._means = means
        self._run = run
        self._tier = tier
        self._purpose = purpose
        self._listener = listener
        self._lower = lower
        self._breakers = run.access
        self._clock = means.clock
        self._first = len(run.log.attempts)
        self._further = FurtherAttempts(run.fleet, tier)
        self._tried: list[str] = []
        self._cut: Attempt | None = None
        self._rejected_by = next((a.rejected_by for a in run.log.attempts[::-1] if a.rejected_by), None)

    async def run(self) -> Answer:
        run = self._run
        if not run.asked.deadline.allows(LEAST_ATTEMPT_S, self._clock):
            raise DeadlinePassedError("no time is left for an attempt")
        permit = await self._breakers.pick_first(
            self._further.by_pulse(self._first_chains()),
            lambda: self._further.by_pulse(self._all_chains()),
            run.asked.deadline.left_s(self._clock),
            self._means.sleep,
        )
        if permit is None:
            raise self._unavailable(None)
        step = Step(permit)
        while True:
            outcome, permit = await self._take(step)
            if isinstance(outcome, Answer):
                return outcome
            if outcome.error is not None and outcome.error.content_seen:
                self._cut = outcome
            step = await self._follow(outcome, permit)

    async def _take(self, step: Step) -> tuple[Answer | Attempt, Permit]:
        """Makes the call, and gives its places in budgets back; the permit is that of what is returned."""
        run, name = self._run, step.permit.deployment
        served = False
        try:
            if run.log.content_given:
                try:
                    await self._restart(name)
                except BaseException:
                    self._breakers.release(step.permit)
                    raise
            self._note_tried(name)
            outcome, permit = await self._make(step)
            served = isinstance(outcome, Answer)
            return outcome, permit
        finally:
            step.end(served=served)

    async def _make(self, step: Step) -> tuple[Answer | Attempt, Permit]:
        """Makes the call, and where the policy hedges and it is slow, a second one."""
        name = step.permit.deployment
        call = Call(
            step.permit,
            self._purpose,
            self._first_token_s(name),
            partial(self._further.first_token, step.further),
        )
        delay_s = self._hedge_delay_s(step.permit)
        if delay_s is None:
            outcome = await self._means.caller.call(
                self._run,
                call.permit,
                call.purpose,
                self._listener,
                call.first_token_s,
                call.on_first_token,
            )
            return outcome, step.permit
        _, budget = self._run.fleet.hedging(self._run.asked.decision.policy)
        race = HedgedCall(self._means.caller, self._run, self._listener, HedgeRace(budget))
        return await race.run(call, partial(self._find_hedge, name), delay_s)

    def _hedge_delay_s(self, permit: Permit) -> float | None:
        """Seconds after which the call is hedged; None: it is not."""
        run = self._run
        rules, budget = run.fleet.hedging(run.asked.decision.policy)
        if not rules.enabled or self._purpose not in HEDGED:
            return None
        if len(run.log.attempts) == self._first:
            budget.note_request()
        if permit.use is not Use.SERVE or run.attempts_left < 2:
            return None
        times = run.fleet.pulse(permit.deployment).first_tokens
        return rules.delay_s(times, run.asked.deadline.left_s(self._clock))

    def _find_hedge(self, slow: str) -> Call | None:
        """The call of an equivalent deployment that is well."""
        run = self._run
        chain = [
            name
            for name in run.chain(run.fleet[slow].tier)
            if name not in self._tried
            and self._breakers.health(name) is Health.CLOSED
            and self._further.allows_hedge(name)
        ]
        permit = self._breakers.pick([chain], self._tried)
        if permit is None:
            return None
        name = permit.deployment
        self._note_tried(name)
        place = self._further.begin_hedge(name)
        return Call(permit, Purpose.HEDGE, self._first_token_s(name), place=place)

    def _note_tried(self, name: str) -> None:
        if name not in self._tried:
            self._run.fleet.retries(self._run.fleet[name]).note_request()
            self._tried.append(name)

    async def _follow(self, failed: Attempt, permit: Permit) -> Step:
        """The next call.

        Raises:
            CompletionError: nothing follows.
        """
        self._further.note_failure(failed)
        verdict = judge(self._situation(failed, permit), self._means.random)
        if verdict.action is Action.GIVE_UP:
            raise self._error(failed, verdict)
        if verdict.action is Action.RETRY_HERE and (again := await self._again(permit.deployment, verdict)):
            return again
        chains = self._all_chains()
        if verdict.action is Action.LARGER_WINDOW:
            chains = self._larger(failed)
        onward = self._breakers.pick(self._further.open_to(chains), self._tried)
        if onward is None:
            raise self._error(failed, verdict)
        return Step(onward, further=self._further.begin(onward.deployment))

    async def _again(self, name: str, verdict: Verdict) -> Step | None:
        """A retry on the same deployment, after its wait; None: there can be none."""
        retry: Place | None = None
        if verdict.spends_budget:
            budget = self._run.fleet.retries(self._run.fleet[name])
            if not budget.begin():
                return None
            retry = Place(budget)
        further = self._further.begin(name) if verdict.spends_budget else None
        again: Permit | None = None
        try:
            if verdict.delay_s:
                await self._means.sleep(verdict.delay_s)
            again = self._breakers.admit(name)
        finally:
            step = None if again is None else Step(again, retry, further)
            if step is None:
                for place in (retry, further):
                    if place is not None:
                        place.end()
        return step

    def _situation(self, failed: Attempt, permit: Permit) -> Situation:
        run, fault = self._run, failed.fault
        assert fault is not None
        own, every = run.chain(self._tier), self._all_chains()
        here = [one for one in run.log.attempts[self._first :] if one.deployment is failed.deployment]
        budget = run.fleet.retries(failed.deployment)
        beyond = [chain for chain in every if chain is not own]
        return Situation(
            fault=fault,
            retry_after_s=None if failed.error is None else failed.error.retry_after_s,
            attempts=len(run.log.attempts),
            attempts_here=len(here),
            stale_here=sum(one.fault is FaultKind.STALE_CONNECTION for one in here[:-1]),
            equivalent_free=self._is_open(own),
            higher_free=any(map(self._is_open, beyond)),
            larger_window_free=fault is FaultKind.CONTEXT_EXCEEDED
            and any(map(self._is_open, self._larger(failed))),
            left_s=run.asked.deadline.left_s(self._clock),
            least_attempt_s=LEAST_ATTEMPT_S,
            content_streamed=run.log.content_given,
            restart_allowed=run.asked.restart_on_cut,
            budget_allows=permit.use is Use.SERVE
            and budget.allows()
            and self._further.allows(permit.deployment),
            seek_other_policy=run.fleet.shops_around(run.asked.decision.policy),
        )

    def _is_open(self, chain: Sequence[str]) -> bool:
        """True if one of the chain may be called next."""
        return self._breakers.is_free(
            [name for name in chain if name not in self._tried and self._further.allows(name)]
        )

    def _first_token_s(self, name: str) -> float:
        """The limit to the first token: with a deadline that is near, half of what is left, if another may be asked."""
        run = self._run
        limit_s = run.fleet[name].first_token_s
        share_s = run.asked.deadline.left_s(self._clock) * SHARE_OF_DEADLINE
        if share_s >= limit_s or not run.attempts_left:
            return limit_s
        free = any(self._breakers.is_free(chain, self._tried) for chain in self._all_chains())
        return share_s if free else limit_s

    def _first_chains(self) -> list[Sequence[str]]:
        """The tier's own chain where one of it is healthy; the others are asked for only when they are needed."""
        own = self._run.chain(self._tier)
        if any(self._breakers.health(name) is Health.CLOSED for name in own):
            return [own]
        return self._all_chains()

    def _all_chains(self) -> list[Sequence[str]]:
        return self._run.chains(self._tier, lower=self._lower)

    def _larger(self, failed: Attempt) -> list[Sequence[str]]:
        """Deployments with a larger window than the one that was too small, in the tier or above."""
        fleet = self._run.fleet
        window = failed.deployment.context_window
        return [
            [name for name in chain if fleet[name].context_window > window]
            for chain in self._run.chains(self._tier, lower=False)
        ]

    async def _restart(self, name: str) -> None:
        """Takes back what the caller has seen."""
        self._run.log.content_given = False
        last = [one for one in self._run.log.attempts if not one.outrun][-1]
        fault = last.fault if last.result is AttemptResult.FAILED else None
        gate = None if fault is not None else self._rejected_by
        if self._listener is not None:
            await self._listener.restarted(self._run.fleet[name].tier, name, gate, fault)

    def _error(self, failed: Attempt, verdict: Verdict) -> CompletionError:
        assert failed.error is not None
        if verdict.error is ErrorClass.DEADLINE_EXCEEDED:
            return DeadlinePassedError("the deadline passed before an answer was whole")
        if verdict.error in (ErrorClass.INVALID_ARGUMENT, ErrorClass.FAILED_PRECONDITION):
            windows = [self._run.fleet[name].context_window for chain in self._all_chains() for name in chain]
            tokens = self._run.input_tokens + (self._run.chat.max_output_tokens or 0)
            return RequestAtFaultError(failed, tokens=tokens, window=max(windows, default=0))
        if self._cut is not None and self._cut.error is not None:
            given = self._run.log.content_given
            return AnswerCutError(self._cut, self._cut.error.partial_text, given=given)
        return self._unavailable(verdict.retry_after_s)

    def _unavailable(self, told_s: float | None) -> UpstreamUnavailableError:
        names = [name for chain in self._all_chains() for name in chain]
        causes = count_causes(self._run.log.attempts[self._first :])
        for name in names:
            if name not in self._tried and (fault := self._breakers.closed_for(name)) is not None:
                causes[fault] = causes.get(fault, 0) + 1
        least_s = LEAST_PATIENCE_S if self._further.after_late_failure else LEAST_RETRY_AFTER_S
        opens_s = max(self._breakers.opens_in_s(names), told_s or 0.0)
        return UpstreamUnavailableError(max(opens_s, least_s), causes)
