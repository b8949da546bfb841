"""The gate for refusals: what the provider says outside the text first, then how the text begins."""

from __future__ import annotations

from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import (
    Gate,
    GateReason,
    GateVerdict,
    accept,
    escalate,
    give_back,
)
from turnout_server.completion.gates.wording import find_refusal
from turnout_server.providers.chat import ChatResponse, FinishReason

HELP_CHARS = 240
"""Characters of help after a refusal at which it counts as half a refusal: a paragraph."""


def check_refusal(answer: ChatResponse, context: GateContext) -> GateVerdict:
    """Escalates a model's refusal once; returns a provider's block, and a refusal after another tier's."""
    if answer.finish_reason is FinishReason.CONTENT_FILTER:
        return give_back(Gate.REFUSAL, GateReason.CONTENT_FILTER)
    if answer.refusal or answer.finish_reason is FinishReason.REFUSAL:
        return _decline(GateReason.REFUSAL_TOLD, 1.0, context)
    if answer.tool_calls or not answer.text:
        return accept(Gate.REFUSAL)
    found = find_refusal(answer.text)
    if found is None:
        return accept(Gate.REFUSAL, score=0.0)
    score = HELP_CHARS / (HELP_CHARS + found.help_chars)
    if score <= 0.5:
        return accept(Gate.REFUSAL, GateReason.PARTIAL_REFUSAL, score)
    reason = GateReason.REFUSAL_POLICY_WORDED if found.policy else GateReason.REFUSAL_WORDED
    return _decline(reason, score, context)


def _decline(reason: GateReason, score: float, context: GateContext) -> GateVerdict:
    if context.refusals_before:
        return give_back(Gate.REFUSAL, GateReason.REFUSED_BEFORE, score)
    return escalate(Gate.REFUSAL, reason, score)
