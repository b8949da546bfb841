"""Log-probabilities for a gate's sake: asked of the provider, and not given to a caller who did not ask for them."""

from __future__ import annotations

from dataclasses import replace

from turnout_fastpath import Strategy

from turnout_server.completion.answer_rules import AnswerRules, ChooserKind
from turnout_server.completion.dispatcher import Answer, Listener, Run
from turnout_server.completion.gates.verdict import Gate
from turnout_server.providers.chat import ChatResponse, StreamEvent, TextDelta
from turnout_server.providers.faults import FaultKind

# What adapters call the field where their provider has none.
_FIELDS = frozenset({"logprobs", "top_logprobs"})


def ask_quietly(run: Run, rules: AnswerRules, strategy: Strategy) -> bool:
    """Asks for them where a threshold of the task or a chooser reads them; True if that is more than the caller wants."""
    asked, gates = run.asked, rules.gates
    checked = Gate.CONFIDENCE not in (*asked.skip, *gates.skip) and (
        gates.thresholds_for(asked).for_task(asked.gates.task) is not None
    )
    chosen = strategy is Strategy.ENSEMBLE and rules.ensemble.chooser is ChooserKind.CONFIDENCE
    if not (checked or chosen) or run.chat.wants_logprobs:
        return False
    run.chat = replace(run.chat, logprobs=True)
    return True


def without_logprobs(answer: Answer) -> Answer:
    """The answer as the caller asked for it."""
    response = answer.response
    ignored = tuple(field for field in response.ignored if field not in _FIELDS)
    quiet: ChatResponse = replace(response, logprobs=(), mean_logprob=None, ignored=ignored)
    return replace(answer, response=quiet)


class QuietListener:
    """Passes an answer on without them."""

    def __init__(self, listener: Listener) -> None:
        """Passes on to `listener`."""
        self._listener = listener

    async def content(self, event: StreamEvent) -> None:
        """See `Listener.content`."""
        if isinstance(event, TextDelta) and event.logprobs:
            event = TextDelta(event.text)
        await self._listener.content(event)

    async def restarted(
        self, tier: str, deployment: str, rejected_by: Gate | None, fault: FaultKind | None
    ) -> None:
        """See `Listener.restarted`."""
        await self._listener.restarted(tier, deployment, rejected_by, fault)
