"""The Complete use-case: a decision is carried out, its answer accounted, whatever becomes of the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from turnout_fastpath import Snapshot, Strategy

from turnout_server.completion.asked import Asked
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import AttemptLog
from turnout_server.completion.cache_marking import mark_prefixes
from turnout_server.completion.dispatcher import Answer, Dispatcher, Listener, Run
from turnout_server.completion.fleet import Fleet
from turnout_server.completion.grading import Grading
from turnout_server.completion.live_limits import LiveLimits
from turnout_server.completion.quiet_logprobs import QuietListener, ask_quietly, without_logprobs
from turnout_server.completion.recording import Recorder
from turnout_server.completion.sampling import is_drawn
from turnout_server.completion.strategies.cascade import answer_cascade
from turnout_server.completion.strategies.ensemble import Ensembles, members_of
from turnout_server.completion.strategies.single import answer_single
from turnout_server.providers.protocol import Provider
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.session_affinity import SessionWriter


@dataclass(frozen=True)
class Completed:
    """A whole answer and how it came about.

    Attributes:
        answer: what is served, and the attempt that gave it.
        strategy: how it was carried out.
        degraded: True where a tier below the decided one served, since no other could.
        follow: to be called once the caller has the answer; None: nothing is asked about it.
    """

    answer: Answer
    strategy: Strategy
    degraded: bool
    follow: Callable[[], None] | None = None


class Completer:
    """Carries out decisions. Belongs to one event loop."""

    def __init__(
        self,
        snapshot: Snapshot,
        providers: Mapping[str, Provider],
        clock: Clock,
        random: Random,
        recorder: Recorder,
        *,
        first_token_s: float,
        inter_token_s: float,
        max_escalations: int,
        limits: LiveLimits,
    ) -> None:
        """Puts the parts together.

        Args:
            snapshot: whose deployments are called first.
            providers: adapters by name.
            clock: of everything.
            random: source of jitter.
            recorder: keeps what was done.
            first_token_s: most seconds to an attempt's first token, where its deployment does not say.
            inter_token_s: most seconds between its tokens, where its deployment does not say.
            max_escalations: most steps up of a cascade.
            limits: what bounds completions.

        Raises:
            StateError: the state block has no room for the breakers.
        """
        self.recorder = recorder
        self._clock = clock
        self._random = random
        self._first_token_s = first_token_s
        self._inter_token_s = inter_token_s
        self._fleet = self._fleet_of(snapshot)
        self._max_escalations = max_escalations
        self._dispatcher = Dispatcher(providers, clock, random)
        self.grading = Grading(self._dispatcher, limits.spending, clock, recorder)
        self._ensembles = Ensembles(
            self._dispatcher, self.grading.judge, self.grading.lanes, recorder.grading, clock
        )
        self._sessions = SessionWriter(snapshot.state)
        self._limits = limits

    def start(self, asked: Asked, snapshot: Snapshot, log: AttemptLog) -> Run:
        """What a request shares over its steps; with another snapshot than before, its deployments are read."""
        if self._fleet.snapshot is not snapshot:
            self._fleet = self._fleet_of(snapshot)
        policy = asked.decision.policy
        asked = self._fleet.rules[policy].gates.add_to(asked)
        return Run(asked, self._fleet, log, mark_prefixes(asked.chat, self._fleet.caching(policy)))

    def strategy_of(self, run: Run) -> Strategy:
        """How a request is carried out: as decided or forced; of the ensembles that a policy decides, its share."""
        asked = run.asked
        wanted = Strategy(asked.strategy or asked.decision.strategy)
        if wanted is not Strategy.ENSEMBLE:
            return wanted
        rules = run.fleet.rules[asked.decision.policy].ensemble
        drawn = asked.strategy is not None or is_drawn(
            asked.decision.decision_id, Purpose.ENSEMBLE, rules.share
        )
        return wanted if drawn and len(members_of(run, rules)) > 1 else rules.otherwise

    async def complete(self, run: Run, strategy: Strategy, listener: Listener | None = None) -> Completed:
        """Answers one request. Cancelling aborts every upstream call at once, and is accounted.

        Raises:
            CompletionError: there is no whole answer.
        """
        asked = run.asked
        self._limits.admit(run)
        completed: Completed | None = None
        try:
            answer = await self._answer(run, strategy, listener)
            decided = run.fleet.tiers.index(asked.decision.tier)
            degraded = strategy is not Strategy.ENSEMBLE and answer.attempt.deployment.rank < decided
            completed = Completed(answer, strategy, degraded, self.grading.follow(run, strategy, answer))
            self._note_session(run, answer)
            return completed
        finally:
            # Not awaited: what was spent is accounted though the caller is gone.
            run.access.close()
            self.recorder.record(run, strategy, completed)

    async def _answer(self, run: Run, strategy: Strategy, listener: Listener | None) -> Answer:
        if strategy is Strategy.SINGLE:
            return await answer_single(self._dispatcher, run, listener)
        rules = run.fleet.rules[run.asked.decision.policy]
        gates = rules.gates.chain_for(run.asked)
        quiet = ask_quietly(run, rules, strategy)
        seen = QuietListener(listener) if quiet and listener is not None else listener
        if strategy is Strategy.ENSEMBLE:
            members = members_of(run, rules.ensemble)
            answer = await self._ensembles.answer(run, seen, gates, members)
        else:
            judge = self.grading.gate(run)
            answer = await answer_cascade(self._dispatcher, run, seen, gates, self._max_escalations, judge)
        return without_logprobs(answer) if quiet else answer

    def _fleet_of(self, snapshot: Snapshot) -> Fleet:
        return Fleet(
            snapshot,
            self._clock,
            self._random,
            first_token_s=self._first_token_s,
            inter_token_s=self._inter_token_s,
        )

    def _note_session(self, run: Run, answer: Answer) -> None:
        asked = run.asked
        keep_s = run.fleet.keeps_session_s(asked.decision.policy)
        deployment = answer.attempt.deployment
        if not asked.session_id or keep_s is None:
            return
        self._sessions.note_answer(
            asked.session_id,
            # A tier that stood in for a better one is not what the session is worth.
            max(deployment.rank, run.fleet.tiers.index(asked.decision.tier)),
            deployment.target.name,
            answer.attempt.tokens,
            keep_s=keep_s,
            automatic_cache=deployment.has_automatic_cache,
        )
