"""Asks a tier, by the policy's deployments and the path that `Complete` takes: breakers, retries, failover, exact cost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter_ns
from typing import Any

from turnout_fastpath import Decision, Engine, Request, Snapshot, StateBlock

from turnout_server.completion.asked import Asked
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import AttemptLog
from turnout_server.completion.dispatcher import Dispatcher, Run
from turnout_server.completion.failures import (
    AnswerCutError,
    CompletionError,
    DeadlinePassedError,
    UpstreamUnavailableError,
)
from turnout_server.completion.fleet import Fleet
from turnout_server.providers.chat import ChatRequest, ChatResponse, FormatKind
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Provider
from turnout_server.reloading import Source
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.deadline import Deadline

# Rounds over a tier's deployments for one answer, and the greatest wait between them.
ROUNDS = 4
MAX_WAIT_S = 60.0
# What one round may take.
ANSWER_S = 300.0


@dataclass(frozen=True)
class Plan:
    """A request and the deployments of a tier that it fits into.

    Attributes:
        chat: what is asked.
        decision: held to the tier.
        usual_nano: what an answer of the usual length costs; None: the price is not known.
        most_nano: what one as long as it may be costs; the same.
    """

    chat: ChatRequest
    decision: Decision
    usual_nano: int | None
    most_nano: int | None


@dataclass(frozen=True)
class Reply:
    """What came of asking.

    Attributes:
        response: the answer; None: there is none.
        cause: why there is none.
        cost_nano: of the attempt that answered; None: not known.
        spent_nano: of all attempts, as far as it is known.
        complete: whether it is known of all.
    """

    response: ChatResponse | None
    cause: str
    cost_nano: int | None
    spent_nano: int
    complete: bool


@dataclass(frozen=True)
class BareSource(Source):
    """A policy's tiers, deployments and prices alone: every tier may be asked everything."""

    def document(self) -> dict[str, Any]:
        """The resolved policy document without what would keep a request from a tier."""
        document = super().document()
        for policy in document["policies"].values():
            policy |= {"rules": [], "buckets": [], "min_tier": None, "max_tier": None}
            policy |= {"explore": 0.0, "control_share": 0.0}
            policy["limits"] |= {"max_request_tokens": None, "budget_spent_ceiling": None}
        return document


class TierAsker:
    """Asks tiers. Belongs to one event loop."""

    def __init__(
        self,
        snapshot: Snapshot,
        providers: Mapping[str, Provider],
        clock: Clock,
        random: Random,
        *,
        first_token_s: float,
        inter_token_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Asks by the snapshot's deployments; times as `Complete` has them.

        Raises:
            StateError: the snapshot's state has no room for the breakers.
        """
        self.fleet = Fleet(snapshot, clock, random, first_token_s=first_token_s, inter_token_s=inter_token_s)
        self._engine = Engine(snapshot)
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._dispatcher = Dispatcher(providers, clock, random, sleep=sleep)

    def plan(self, chat: ChatRequest, told: Sequence[Mapping[str, Any]], tier: str) -> Plan:
        """Finds the tier's deployments that a request fits into.

        Args:
            chat: what is asked; it has a limit of output.
            told: its messages as the engine reads them.
            tier: who is asked.

        Raises:
            RouteError: the request fits into none, or breaks a limit.
        """
        needs = {FormatKind.JSON_SCHEMA: ("json_schema",), FormatKind.JSON_OBJECT: ("json",)}
        decision = self._engine.decide(
            Request(
                messages=told,
                min_tier=tier,
                max_tier=tier,
                needs=needs.get(chat.response_format.kind, ()),  # type: ignore[arg-type]
                n_tools=len(chat.tools),
                tool_schema_bytes=sum(len(tool.parameters_json) for tool in chat.tools),
            )
        )
        usual_usd = next(one.estimated_cost_usd for one in decision.candidates if one.tier == tier)
        asked = Asked(chat, decision, lambda _: [])
        most_nano = self._most_nano(asked)
        # The engine's usual answer may be longer than this one may become.
        usual_nano = (
            None if usual_usd is None or most_nano is None else min(math.ceil(usual_usd * 1e9), most_nano)
        )
        return Plan(chat, decision, usual_nano, most_nano)

    def _most_nano(self, asked: Asked) -> int | None:
        """What an answer costs at most, at the dearest of the deployments that may give it."""
        decision, most = asked.decision, 0
        for name in (decision.deployment, *decision.fallback_deployments):
            price = self.fleet.price(self.fleet[name])
            rates = None if price is None else price.rates(asked.input_tokens)
            if rates is None:
                return None
            assert asked.chat.max_output_tokens is not None
            cost = asked.input_tokens * rates.input + asked.chat.max_output_tokens * rates.output
            most = max(most, -(-cost // 1_000_000))
        return most

    async def ask(self, plan: Plan, purpose: Purpose) -> Reply:
        """Asks until there is an answer, or no use in asking on. Raises nothing but cancellation."""
        spent_nano, complete, cause = 0, True, ""
        for turn in range(ROUNDS):
            run = self._start(plan)
            try:
                answer = await self._dispatcher.answer(run, plan.decision.tier, purpose, None, lower=False)
            except CompletionError as error:
                total = run.log.cost.total
                spent_nano, complete = spent_nano + total.cost_nano, complete and total.complete
                cause, wait_s = _judge(error)
                if wait_s is None or turn == ROUNDS - 1:
                    break
                # Full jitter, above what the provider wants.
                await self._sleep(min(wait_s + self._random.uniform(0, 2.0**turn), MAX_WAIT_S))
                continue
            total = run.log.cost.total
            cost = answer.attempt.cost
            return Reply(
                answer.response,
                "",
                cost.cost_nano if cost.complete else None,
                spent_nano + total.cost_nano,
                complete and total.complete,
            )
        return Reply(None, cause, None, spent_nano, complete)

    def _start(self, plan: Plan) -> Run:
        decision = plan.decision
        asked = Asked(
            plan.chat,
            decision,
            lambda _: [],
            deadline=Deadline.after(self._clock, ANSWER_S),
            min_tier=decision.tier,
            max_tier=decision.tier,
        )
        began_ns = perf_counter_ns()
        return Run(asked, self.fleet, AttemptLog(lambda: perf_counter_ns() - began_ns), plan.chat)


def make_snapshot(policy: Path | None, bundle: Path | None) -> Snapshot:
    """A policy's deployments with breakers of their own: no server's are touched.

    Raises:
        ConfigurationError: policy or bundle cannot be used.
    """
    return BareSource(policy, bundle).compile(StateBlock())


def _judge(error: CompletionError) -> tuple[str, float | None]:
    """Why there is no answer, and after how many seconds to ask again; None: never."""
    if isinstance(error, UpstreamUnavailableError):
        hopeless = {FaultKind.CONFIGURATION, FaultKind.QUOTA_EXHAUSTED}
        cause = ", ".join(sorted(error.causes)) or "no deployment may be called"
        never = bool(error.causes) and set(error.causes) <= {str(kind) for kind in hopeless}
        return cause, None if never else error.retry_after_s
    if isinstance(error, AnswerCutError):
        return str(error.attempt.fault), 0.0
    if isinstance(error, DeadlinePassedError):
        return str(FaultKind.DEADLINE), 0.0
    fault = getattr(error, "fault", None) or getattr(getattr(error, "attempt", None), "fault", None)
    return str(fault or type(error).__name__), None
