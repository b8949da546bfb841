"""The gate for answers that say nothing."""

from __future__ import annotations

import unicodedata

from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, accept, escalate
from turnout_server.completion.gates.wording import FILLERS, plain
from turnout_server.providers.chat import ChatResponse, FinishReason

# More is no mere courtesy.
_MAX_FILLER_CHARS = 80


def check_empty(answer: ChatResponse, context: GateContext) -> GateVerdict:
    """Fails an answer without a letter, a digit or a symbol, or with a mere courtesy; tool calls are an answer."""
    if answer.tool_calls:
        return accept(Gate.EMPTY)
    # Not answer.text.strip(): marks alone are no answer either. `any` ends at the first character that counts.
    if not any(unicodedata.category(character)[0] in "LNS" for character in answer.text):
        if answer.finish_reason is FinishReason.LENGTH:
            return escalate(Gate.EMPTY, GateReason.EMPTY_AT_LENGTH)
        return escalate(Gate.EMPTY, GateReason.REASONING_ONLY if answer.reasoning else GateReason.EMPTY)
    if len(answer.text) <= _MAX_FILLER_CHARS and FILLERS.search(plain(answer.text)):
        return escalate(Gate.EMPTY, GateReason.FILLER)
    return accept(Gate.EMPTY)
