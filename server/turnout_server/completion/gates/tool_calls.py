"""The gate for tool calls and their arguments."""

from __future__ import annotations

import orjson

from turnout_server.completion.gates.context import GateContext
from turnout_server.completion.gates.verdict import Gate, GateReason, GateVerdict, accept, escalate
from turnout_server.providers.chat import ChatResponse, ToolCall, ToolChoiceMode


def check_tool_calls(answer: ChatResponse, context: GateContext) -> GateVerdict:
    """Fails calls that are unknown, unwanted or missing, and arguments that do not fit the tool's schema."""
    mode = context.tool_choice.mode
    if not answer.tool_calls:
        if mode in (ToolChoiceMode.REQUIRED, ToolChoiceMode.NAMED):
            return escalate(Gate.TOOL_CALLS, GateReason.TOOL_MISSING)
        return accept(Gate.TOOL_CALLS, GateReason.FINE if context.tools else GateReason.NOT_ASKED)
    if mode is ToolChoiceMode.NONE:
        return escalate(Gate.TOOL_CALLS, GateReason.TOOL_UNWANTED)
    for call in answer.tool_calls:
        if mode is ToolChoiceMode.NAMED and call.name != context.tool_choice.name:
            return escalate(Gate.TOOL_CALLS, GateReason.TOOL_UNWANTED)
        if (wrong := _check(call, context)) is not None:
            return escalate(Gate.TOOL_CALLS, wrong)
    return accept(Gate.TOOL_CALLS)


def _check(call: ToolCall, context: GateContext) -> GateReason | None:
    schema = context.tools.get(call.name)
    if schema is None:
        return GateReason.TOOL_UNKNOWN
    try:
        # Some providers send nothing for a tool without arguments.
        arguments = orjson.loads(call.arguments_json or "{}")
    except orjson.JSONDecodeError:
        return GateReason.ARGUMENTS_INVALID
    if not isinstance(arguments, dict):
        return GateReason.ARGUMENTS_INVALID
    return None if schema.check(arguments).fits else GateReason.ARGUMENTS_VIOLATE_SCHEMA
