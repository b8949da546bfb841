"""The gate for required form, words and pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson
import re2

from turnout_server.completion.gates.context import Form, GateContext
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, accept, escalate
from turnout_server.providers.chat import ChatResponse

_NUMBER = re2.compile(r"^\s*[-+]?\d[\d.,' \x{00a0}\x{202f}]*(e[-+]?\d+)?\s*%?\s*$")
_BULLET = re2.compile(r"(?m)^\s*[-*+•]\s+\S")
_NUMBERED = re2.compile(r"(?m)^\s*\d+[.)]\s+\S")
_TABLE_RULE = re2.compile(r"(?m)^\s*\|?\s*:?-{3,}:?\s*\|[\s:|-]*$")


def check_required(answer: ChatResponse, context: GateContext) -> GateVerdict:
    """Fails an answer without the required form, words or pattern; a tool call is excused, it is no answer yet."""
    required = context.required
    if answer.tool_calls or not (
        required.forms or required.keywords or required.forbidden or context.pattern is not None
    ):
        return accept(Gate.REQUIRED, GateReason.NOT_ASKED)
    folded = answer.text.casefold()
    if any(word.casefold() not in folded for word in required.keywords):
        return escalate(Gate.REQUIRED, GateReason.KEYWORD_MISSING)
    if any(word.casefold() in folded for word in required.forbidden):
        return escalate(Gate.REQUIRED, GateReason.KEYWORD_FORBIDDEN)
    if not all(_FORMS[form](answer.text) for form in required.forms):
        return escalate(Gate.REQUIRED, GateReason.FORM_MISSED)
    if context.pattern is not None and context.pattern.search(answer.text) is None:
        return escalate(Gate.REQUIRED, GateReason.PATTERN_MISSED)
    return accept(Gate.REQUIRED)


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _has_code_block(text: str) -> bool:
    fences = [line for line in text.splitlines() if line.lstrip().startswith(("```", "~~~"))]
    return len(fences) >= 2


_FORMS: Mapping[Form, Callable[[str], bool]] = {
    Form.JSON: _is_json,
    Form.CODE_BLOCK: _has_code_block,
    Form.BULLETS: lambda text: _BULLET.search(text) is not None,
    Form.NUMBERED: lambda text: _NUMBERED.search(text) is not None,
    Form.TABLE: lambda text: _TABLE_RULE.search(text) is not None,
    Form.ONE_LINE: lambda text: len(text.strip().splitlines()) == 1,
    Form.NUMBER: lambda text: len(text) <= 64 and _NUMBER.search(text) is not None,
}
