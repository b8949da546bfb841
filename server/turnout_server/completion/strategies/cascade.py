"""`cascade`: the decided tier answers first; gates look at the answer, and a higher tier answers in its place.

Where the caller holds, nothing of an answer is seen before its gates have passed; the last step's answer, which
nothing could replace, is seen as it comes.
"""

from __future__ import annotations

from dataclasses import replace

from turnout_server.completion.asked import StreamMode
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.dispatcher import Answer, Dispatcher, Listener, Run
from turnout_server.completion.failures import CompletionError
from turnout_server.completion.gates.chain import GateChain
from turnout_server.completion.gates.verdict import Gate, GateReason, Verdict
from turnout_server.completion.judge.gate import JudgeGate
from turnout_server.providers.chat import (
    ChatResponse,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)

# An answer that hidden reasoning left no room for gets so many times the output limit from the next tier.
MORE_ROOM = 4


async def answer_cascade(
    dispatcher: Dispatcher,
    run: Run,
    listener: Listener | None,
    gates: GateChain,
    max_escalations: int,
    judge: JudgeGate | None = None,
) -> Answer:
    """The first answer that the gates accept or return, or the last one that may be had.

    An escalation that finds no deployment leaves the answer that was rejected: its verdicts stand beside it.

    Raises:
        CompletionError: the first step has no answer.
    """
    asked = run.asked
    context = asked.gates
    tier, purpose = asked.decision.tier, Purpose.SERVE
    kept: Answer | None = None
    made = 0
    for step in range(max_escalations + 1):
        is_last = step == max_escalations or run.attempts_left <= 1 or not _above(run, tier)
        shows = is_last or asked.mode is StreamMode.RESTART
        try:
            answer = await dispatcher.answer(
                run, tier, purpose, listener if shows else None, lower=kept is None
            )
        except CompletionError:
            # A caller who has seen a part of another answer since cannot be given this one without a word.
            untouched = kept is not None and len(run.log.attempts) == made
            if kept is None or (run.log.content_given and not untouched):
                raise
            return await _fall_back(run, kept, listener)
        found = gates.check(answer.response, context)
        answer.attempt.verdicts = found.gates
        # A failover may have answered from a higher tier already.
        tier_above = _above(run, answer.attempt.deployment.tier)
        may_escalate = not is_last and tier_above is not None and run.attempts_left >= 1
        if judge is not None and may_escalate and found.verdict is Verdict.ACCEPT:
            found = await judge.look(run, answer, found)
            answer.attempt.verdicts = found.gates
        if found.verdict is not Verdict.ESCALATE or not may_escalate or tier_above is None:
            if not shows:
                await show(run, answer.response, listener)
            return answer
        made = len(run.log.attempts)
        answer.attempt.reject(found.gates[-1].gate)
        kept, tier, purpose = answer, tier_above, Purpose.ESCALATE
        if found.gates[-1].gate is Gate.REFUSAL:
            context = replace(context, refusals_before=context.refusals_before + 1)
        if found.reason is GateReason.EMPTY_AT_LENGTH and run.chat.max_output_tokens is not None:
            run.chat = replace(run.chat, max_output_tokens=run.chat.max_output_tokens * MORE_ROOM)
    raise AssertionError("the last step returns or raises")


def _above(run: Run, tier: str) -> str | None:
    """The next tier up that may serve the request."""
    asked, tiers = run.asked, run.fleet.tiers
    _, high = run.fleet.range_of(asked.decision, asked.min_tier, asked.max_tier)
    above = range(tiers.index(tier) + 1, high + 1)
    return next((tiers[rank] for rank in above if run.chain(tiers[rank])), None)


async def _fall_back(run: Run, kept: Answer, listener: Listener | None) -> Answer:
    kept.attempt.result, kept.attempt.rejected_by = AttemptResult.SERVED, None
    if not run.log.content_given:
        await show(run, kept.response, listener)
    return kept


async def show(run: Run, response: ChatResponse, listener: Listener | None) -> None:
    """Shows a whole answer that was held."""
    if listener is None:
        return
    events: list[StreamEvent] = []
    if response.reasoning:
        events.append(ReasoningDelta(response.reasoning))
    if response.text:
        events.append(TextDelta(response.text, response.logprobs))
    if response.refusal:
        events.append(RefusalDelta(response.refusal))
    events += [
        ToolCallDelta(index, call.id, call.name, call.arguments_json, call.signature)
        for index, call in enumerate(response.tool_calls)
    ]
    if response.usage is not None:
        events.append(UsageUpdate(response.usage))
    for event in events:
        run.log.content_given = True
        await listener.content(event)
