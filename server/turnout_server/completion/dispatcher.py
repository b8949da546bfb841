"""The one fail-over path: calls deployments, asks the retry policy what follows a fault, until an answer is whole.

It keeps at most four attempts a request, the breakers, the retry budgets and every deadline; whatever the strategy, no
upstream call to answer a caller is made elsewhere. Every call is streamed, so that silence is found by the first token
and what had come of a cut answer is known.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from turnout_server.completion.access import Access
from turnout_server.completion.asked import Asked
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt, AttemptLog
from turnout_server.completion.failures import (
    AnswerCutError,
    CompletionError,
    DeadlinePassedError,
    RequestAtFaultError,
    UpstreamUnavailableError,
    count_causes,
)
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.gates.verdict import Gate
from turnout_server.providers.chat import (
    ChatRequest,
    ChatResponse,
    Finished,
    FinishReason,
    StreamEvent,
    UsageUpdate,
)
from turnout_server.providers.collecting import ResponseCollector
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Limits, Provider, ProviderCall, UpstreamError
from turnout_server.resilience.breaker import Health
from turnout_server.resilience.breakers import Permit, Use
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.retry_policy import (
    MAX_ATTEMPTS,
    Action,
    ErrorClass,
    Situation,
    Verdict,
    judge,
)

# An attempt that has less than this left before the deadline is not started.
LEAST_ATTEMPT_S = 0.02
# Of the time that is left, for silence, where another deployment could still answer in the rest.
SHARE_OF_DEADLINE = 0.5
# What a caller is told to wait at least, where no breaker says more.
LEAST_RETRY_AFTER_S = 0.1


class Listener(Protocol):
    """Whoever sees an answer as it comes."""

    async def content(self, event: StreamEvent) -> None:
        """More of the answer, or its counts."""

    async def restarted(
        self, tier: str, deployment: str, rejected_by: Gate | None, fault: FaultKind | None
    ) -> None:
        """What was seen is taken back; this deployment answers from the beginning."""


@dataclass(frozen=True)
class Answer:
    """A whole answer and the attempt that gave it."""

    response: ChatResponse
    attempt: Attempt


@dataclass
class Run:
    """What one request shares over its steps.

    Attributes:
        asked: the request.
        fleet: of the snapshot that is in force when it came.
        log: its attempts.
        chat: what is asked upstream; a strategy may give it more room.
    """

    asked: Asked
    fleet: Fleet
    log: AttemptLog
    chat: ChatRequest
    _chains: dict[str, Sequence[str]] = field(default_factory=dict)
    _input_tokens: int | None = None
    _access: Access | None = None

    @property
    def access(self) -> Access:
        """Which deployments it may call now; unless it was told otherwise, by their breakers alone."""
        if self._access is None:
            self._access = Access(self.fleet, self.log, self.fleet.clock, self.fleet.random)
        return self._access

    @access.setter
    def access(self, access: Access) -> None:
        self._access = access

    @property
    def attempts_left(self) -> int:
        """Upstream attempts that may still be made to answer."""
        return MAX_ATTEMPTS - len(self.log.attempts)

    @property
    def input_tokens(self) -> int:
        """The estimate of the input, in provider tokens."""
        if self._input_tokens is None:
            self._input_tokens = self.asked.input_tokens
        return self._input_tokens

    def chain(self, tier: str) -> Sequence[str]:
        """The deployments of a tier that the request fits into."""
        if tier not in self._chains:
            decision = self.asked.decision
            if tier == decision.tier:
                self._chains[tier] = [decision.deployment, *decision.fallback_deployments]
            else:
                self._chains[tier] = self.asked.chain_of(tier)
        return self._chains[tier]

    def chains(self, tier: str, *, lower: bool = True) -> list[Sequence[str]]:
        """The tier's chain, those of the tiers above, and then those below, as far as they are permitted."""
        low, high = self.fleet.range_of(self.asked.decision, self.asked.min_tier, self.asked.max_tier)
        rank = self.fleet.tiers.index(tier)
        ranks = [rank, *range(rank + 1, high + 1)]
        if lower:
            ranks += range(rank - 1, low - 1, -1)
        return [chain for at in ranks if (chain := self.chain(self.fleet.tiers[at]))]


class Dispatcher:
    """Makes upstream calls on behalf of requests."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Clock,
        random: Random,
        *,
        first_token_s: float,
        inter_token_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Calls `providers`, by the name that deployments give.

        Args:
            providers: adapters.
            clock: of deadlines, breakers and budgets.
            random: source of jitter.
            first_token_s: most seconds to an attempt's first token.
            inter_token_s: most seconds between its tokens.
            sleep: waits out a retry's delay.
        """
        self._providers = providers
        self._clock = clock
        self._random = random
        self._first_token_s = first_token_s
        self._inter_token_s = inter_token_s
        self._sleep = sleep

    async def answer(
        self,
        run: Run,
        tier: str,
        purpose: Purpose,
        listener: Listener | None,
        *,
        lower: bool = True,
    ) -> Answer:
        """A whole answer of the tier, or of another one that may stand in for it.

        Args:
            run: the request.
            tier: whose chain comes first.
            purpose: of the attempts.
            listener: sees the answer as it comes; None: nobody does before it is whole.
            lower: whether a lower tier may stand in.

        Raises:
            CompletionError: there is none.
        """
        return await _Search(self, run, tier, purpose, listener, lower).run()

    async def call(
        self, run: Run, permit: Permit, purpose: Purpose, listener: Listener | None, first_token_s: float
    ) -> Answer | Attempt:
        """Makes one upstream call, which has so long to its first token; the attempt alone if it failed."""
        deployment = run.fleet[permit.deployment]
        attempt = Attempt(
            deployment,
            run.fleet.price(deployment),
            purpose,
            run.log.now_ns(),
            int(self._clock.unix_s() * 1000),
        )
        run.log.attempts.append(attempt)
        collector = ResponseCollector()
        call = ProviderCall(
            deployment.target, run.chat, self._limits(run, first_token_s), attempt=len(run.log.attempts) - 1
        )
        try:
            provider = self._providers.get(deployment.target.provider)
            if provider is None:
                raise UpstreamError(FaultKind.CONFIGURATION, field="provider")
            stream = provider.stream(call)
            await self._read(run, stream, attempt, collector, listener)
            answer = collector.response()
            _raise_blocked(answer)
        except UpstreamError as error:
            attempt.fail(error, run.log.now_ns(), run.input_tokens)
            run.access.fail(permit, error.kind, error.retry_after_s)
            return attempt
        except BaseException:
            # The caller went away, in whatever way: the stream is closed, which aborts the socket.
            attempt.cancel(run.log.now_ns(), run.input_tokens)
            run.access.release(permit)
            raise
        attempt.succeed(answer, run.log.now_ns(), run.input_tokens)
        run.access.succeed(permit)
        return Answer(answer, attempt)

    async def _read(
        self,
        run: Run,
        stream: AsyncGenerator[StreamEvent, None],
        attempt: Attempt,
        collector: ResponseCollector,
        listener: Listener | None,
    ) -> None:
        async with aclosing(stream):
            async for event in stream:
                collector.add(event)
                attempt.see(event, run.log.now_ns)
                if listener is None or isinstance(event, Finished):
                    continue
                if not isinstance(event, UsageUpdate):
                    run.log.content_given = True
                await listener.content(event)

    def _limits(self, run: Run, first_token_s: float) -> Limits:
        deadline = run.asked.deadline
        ends_s = deadline.ends_s - deadline.reserve_s
        return Limits(
            deadline=None if math.isinf(ends_s) else ends_s,
            first_token_s=first_token_s,
            inter_token_s=self._inter_token_s,
        )


def _raise_blocked(answer: ChatResponse) -> None:
    """A filter before which the model said nothing has refused the request, however the wire format says so."""
    said = answer.text or answer.tool_calls or answer.refusal or answer.reasoning
    counted = answer.usage is not None and answer.usage.output_total
    if answer.finish_reason is FinishReason.CONTENT_FILTER and not said and not counted:
        raise UpstreamError(
            FaultKind.CONTENT_POLICY,
            http_status=200,
            native_code=answer.native_finish_reason,
            bytes_seen=True,
            usage=answer.usage,
            request_id=answer.request_id,
        )


class _Search:
    """One search for an answer, from deployment to deployment."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        run: Run,
        tier: str,
        purpose: Purpose,
        listener: Listener | None,
        lower: bool,
    ) -> None:
        self._dispatcher = dispatcher
        self._run = run
        self._tier = tier
        self._purpose = purpose
        self._listener = listener
        self._lower = lower
        self._breakers = run.access
        self._clock = dispatcher._clock
        self._first = len(run.log.attempts)
        self._tried: list[str] = []
        self._cut: Attempt | None = None
        self._rejected_by = next((a.rejected_by for a in run.log.attempts[::-1] if a.rejected_by), None)

    async def run(self) -> Answer:
        run = self._run
        left = run.asked.deadline
        if not left.allows(LEAST_ATTEMPT_S, self._clock):
            raise DeadlinePassedError("no time is left for an attempt")
        permit = await self._breakers.pick_first(
            self._first_chains(), self._all_chains, left.left_s(self._clock), self._dispatcher._sleep
        )
        if permit is None:
            raise self._unavailable(None)
        in_budget = False
        while True:
            try:
                if run.log.content_given:
                    await self._restart(permit.deployment)
            except BaseException:
                self._breakers.release(permit)
                if in_budget:
                    run.fleet.retries(run.fleet[permit.deployment]).end()
                raise
            budget = run.fleet.retries(run.fleet[permit.deployment])
            if permit.deployment not in self._tried:
                budget.note_request()
                self._tried.append(permit.deployment)
            try:
                outcome = await self._dispatcher.call(
                    run, permit, self._purpose, self._listener, self._first_token_s()
                )
            finally:
                if in_budget:
                    budget.end()
            if isinstance(outcome, Answer):
                return outcome
            if outcome.error is not None and outcome.error.content_seen:
                self._cut = outcome
            permit, in_budget = await self._follow(outcome, permit)

    async def _follow(self, failed: Attempt, permit: Permit) -> tuple[Permit, bool]:
        """The next call's permit, and whether it is in the retry budget.

        Raises:
            CompletionError: nothing follows.
        """
        verdict = judge(self._situation(failed, permit), self._dispatcher._random)
        if verdict.action is Action.GIVE_UP:
            raise self._error(failed, verdict)
        if verdict.action is Action.RETRY_HERE:
            budget = self._run.fleet.retries(failed.deployment)
            begun = verdict.spends_budget and budget.begin()
            again: Permit | None = None
            try:
                if begun or not verdict.spends_budget:
                    if verdict.delay_s:
                        await self._dispatcher._sleep(verdict.delay_s)
                    again = self._breakers.admit(permit.deployment)
            finally:
                if begun and again is None:
                    budget.end()
            if again is not None:
                return again, begun
        chains = self._all_chains()
        if verdict.action is Action.LARGER_WINDOW:
            chains = self._larger(failed)
        onward = self._breakers.pick(chains, self._tried)
        if onward is None:
            raise self._error(failed, verdict)
        return onward, False

    def _situation(self, failed: Attempt, permit: Permit) -> Situation:
        run, fault = self._run, failed.fault
        assert fault is not None
        own = run.chain(self._tier)
        here = [one for one in run.log.attempts[self._first :] if one.deployment is failed.deployment]
        budget = run.fleet.retries(failed.deployment)
        beyond = [chain for chain in self._all_chains() if chain is not own]
        return Situation(
            fault=fault,
            retry_after_s=None if failed.error is None else failed.error.retry_after_s,
            attempts=len(run.log.attempts),
            attempts_here=len(here),
            stale_here=sum(one.fault is FaultKind.STALE_CONNECTION for one in here[:-1]),
            equivalent_free=self._breakers.is_free(own, self._tried),
            higher_free=any(self._breakers.is_free(chain, self._tried) for chain in beyond),
            larger_window_free=fault is FaultKind.CONTEXT_EXCEEDED
            and any(self._breakers.is_free(chain, self._tried) for chain in self._larger(failed)),
            left_s=run.asked.deadline.left_s(self._clock),
            least_attempt_s=LEAST_ATTEMPT_S,
            content_streamed=run.log.content_given,
            restart_allowed=run.asked.restart_on_cut,
            budget_allows=permit.use is Use.SERVE and budget.allows(),
        )

    def _first_token_s(self) -> float:
        """The limit to the first token: with a deadline that is near, half of what is left, if another may be asked."""
        run, limit_s = self._run, self._dispatcher._first_token_s
        share_s = run.asked.deadline.left_s(self._clock) * SHARE_OF_DEADLINE
        if share_s >= limit_s or not run.attempts_left:
            return limit_s
        if self._breakers.is_free(run.chain(self._tier), self._tried) or any(
            self._breakers.is_free(chain, self._tried) for chain in self._all_chains()
        ):
            return share_s
        return limit_s

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
        last = self._run.log.attempts[-1]
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
        opens_s = max(self._breakers.opens_in_s(names), told_s or 0.0)
        return UpstreamUnavailableError(max(opens_s, LEAST_RETRY_AFTER_S), causes)
