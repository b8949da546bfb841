"""The gate for answers that are cut or too short."""

from __future__ import annotations

from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, accept, escalate
from turnout_server.providers.chat import ChatResponse, FinishReason

_STOPPED = {
    FinishReason.ERROR: GateReason.MODEL_ERROR,
    FinishReason.CONTEXT_EXCEEDED: GateReason.CUT_AT_WINDOW,
    FinishReason.LENGTH: GateReason.CUT,
}


def check_length(answer: ChatResponse, context: GateContext) -> GateVerdict:
    """Fails an answer that was cut at a limit that the caller did not set, or that is shorter than required."""
    if answer.finish_reason is FinishReason.LENGTH and context.max_output_tokens is not None:
        return accept(Gate.LENGTH, GateReason.CUT_AS_ASKED)
    wrong = _STOPPED.get(answer.finish_reason)
    if wrong is None and not answer.tool_calls:
        wrong = _check_text(answer.text, context.required.min_chars)
    return accept(Gate.LENGTH) if wrong is None else escalate(Gate.LENGTH, wrong)


def _check_text(text: str, min_chars: int) -> GateReason | None:
    if len(text) < min_chars:
        return GateReason.TOO_SHORT
    fences = sum(line.lstrip().startswith("```") for line in text.splitlines())
    return GateReason.CODE_UNFINISHED if fences % 2 else None
