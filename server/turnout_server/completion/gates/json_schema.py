"""The gate for JSON that was asked for."""

from __future__ import annotations

import orjson

from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, accept, escalate
from turnout_server.providers.chat import ChatResponse, FinishReason


def check_schema(answer: ChatResponse, context: GateContext) -> GateVerdict:
    """Fails a text that is no JSON, or does not fit the schema; a code fence around it is no JSON."""
    if not context.wants_json or (answer.tool_calls and not answer.text):
        return accept(Gate.SCHEMA, GateReason.NOT_ASKED)
    try:
        value = orjson.loads(answer.text)
    except orjson.JSONDecodeError:
        cut = answer.finish_reason is FinishReason.LENGTH
        return escalate(Gate.SCHEMA, GateReason.JSON_CUT if cut else GateReason.JSON_INVALID)
    if context.schema is None:
        # JSON mode promises an object.
        return (
            accept(Gate.SCHEMA)
            if isinstance(value, dict)
            else escalate(Gate.SCHEMA, GateReason.SCHEMA_VIOLATED)
        )
    fit = context.schema.check(value)
    if fit.fits:
        return accept(Gate.SCHEMA)
    return escalate(Gate.SCHEMA, GateReason.JSON_TOO_DEEP if fit.too_deep else GateReason.SCHEMA_VIOLATED)
