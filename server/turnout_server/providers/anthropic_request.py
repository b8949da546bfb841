"""Requests in the wire format of Anthropic's messages.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from turnout_server.providers.chat import (
    ChatRequest,
    FormatKind,
    MediaKind,
    MediaPart,
    Message,
    Part,
    ReasoningEffort,
    Role,
    TextPart,
    ToolChoiceMode,
)
from turnout_server.providers.closed_schema import close_schema
from turnout_server.providers.encoding import (
    JSON_INSTRUCTION,
    SCHEMA_INSTRUCTION,
    add_turn,
    base64_of,
    declare_tool,
    limit_markers,
    mark_cached,
    output_limit,
    parse_answer_schema,
    parse_arguments,
    system_parts,
)
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.wire import NotCarried

# The wire format wants a limit; this one where neither request nor deployment has one.
DEFAULT_MAX_TOKENS = 4096
ANSWER_TOOL = "answer_in_json"
MAX_TEMPERATURE = 1.0

# Models that think by themselves: they refuse sampling parameters and a forced tool.
_ADAPTIVE = re.compile(
    r"claude-(?:opus-4-[7-9]|(?:opus|sonnet|haiku|fable|mythos)-(?:[5-9]|\d\d)|mythos-preview)"
)
# Models without `output_config.format` and strict tools, and without `output_config.effort`.
_NO_FORMAT = re.compile(r"claude-(?:[123]|instant|(?:opus|sonnet)-4(?:-0|-20\d{6}|$))")
_NO_EFFORT = re.compile(
    r"claude-(?:[123]|instant|(?:opus|sonnet)-4(?:-0|-1|-20\d{6}|$)|(?:sonnet|haiku)-4-5)"
)
_EFFORT = {ReasoningEffort.NONE: "low", ReasoningEffort.MINIMAL: "low"}
_CHOICE = {
    ToolChoiceMode.AUTO: "auto",
    ToolChoiceMode.NONE: "none",
    ToolChoiceMode.REQUIRED: "any",
    ToolChoiceMode.NAMED: "tool",
}


class JsonWay(StrEnum):
    """How the answer is held to JSON."""

    NONE = "none"
    NATIVE = "native"
    FORCED_TOOL = "forced_tool"
    INSTRUCTION = "instruction"


@dataclass(frozen=True, slots=True)
class JsonPlan:
    """The way, with the schema as it is sent, and the tool's name where a tool is forced."""

    way: JsonWay
    schema: dict[str, Any] | None = None
    tool: str = ""


def plan_json(call: ProviderCall) -> JsonPlan:
    """How this call's answer is held to JSON; equal calls have equal plans.

    Raises:
        NotCarried: the schema is no JSON object.
    """
    wanted = call.request.response_format
    if wanted.kind is FormatKind.TEXT:
        return JsonPlan(JsonWay.NONE)
    if wanted.kind is FormatKind.JSON_OBJECT:
        return JsonPlan(JsonWay.INSTRUCTION)
    schema = parse_answer_schema(call.request)
    model = call.target.model
    if not _NO_FORMAT.match(model) and (closed := close_schema(schema)) is not None:
        return JsonPlan(JsonWay.NATIVE, closed)
    if schema.get("type") != "object" or _ADAPTIVE.match(model):
        return JsonPlan(JsonWay.INSTRUCTION)
    name = ANSWER_TOOL
    while any(tool.name == name for tool in call.request.tools):
        name += "_"
    return JsonPlan(JsonWay.FORCED_TOOL, schema, name)


def build_body(call: ProviderCall, ignored: list[str], *, stream: bool) -> dict[str, Any]:
    """The body; what cannot be taken is left out and named in `ignored`.

    Raises:
        NotCarried: something that cannot be left out.
    """
    request = call.request
    plan = plan_json(call)
    body: dict[str, Any] = {
        "model": call.target.model,
        "max_tokens": output_limit(call) or DEFAULT_MAX_TOKENS,
        "messages": _messages(request),
    }
    if system := _system(request, plan):
        body["system"] = system
    _add_tools(body, call, plan, ignored)
    _add_output_config(body, call, plan, ignored)
    _add_sampling(body, call, ignored)
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if any(message.name for message in request.messages):
        ignored.append("messages.name")
    if request.seed is not None:
        ignored.append("seed")
    if request.wants_logprobs:
        ignored.append("top_logprobs")
    if stream:
        body["stream"] = True
    _limit_markers(body)
    return body


def _system(request: ChatRequest, plan: JsonPlan) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for message, part in system_parts(request):
        if part.text:
            blocks.append(mark_cached({"type": "text", "text": part.text}, part.cache))
        if blocks and part is message.parts[-1]:
            mark_cached(blocks[-1], message.cache)
    if blocks:
        mark_cached(blocks[-1], request.cache_prefix)
    if plan.way is JsonWay.INSTRUCTION:
        wanted = request.response_format
        instruction = JSON_INSTRUCTION
        if wanted.kind is FormatKind.JSON_SCHEMA:
            instruction = SCHEMA_INSTRUCTION + wanted.schema_json
        blocks.append({"type": "text", "text": instruction})
    return blocks


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Turns that alternate: neighbours of one side are one turn, and tool results are the user's."""
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(request.messages):
        if message.role in (Role.SYSTEM, Role.DEVELOPER):
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        blocks = _blocks(message, f"messages[{index}]")
        if not blocks:
            continue
        mark_cached(blocks[-1], message.cache)
        add_turn(turns, role, "content", blocks)
    return turns


def _blocks(message: Message, place: str) -> list[dict[str, Any]]:
    # Empty text is refused.
    blocks = [
        mark_cached(_part(part, f"{place}.parts[{index}]"), part.cache)
        for index, part in enumerate(message.parts)
        if not isinstance(part, TextPart) or part.text
    ]
    if message.role is Role.TOOL:
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": blocks}]
    for index, called in enumerate(message.tool_calls):
        blocks.append(
            {
                "type": "tool_use",
                "id": called.id,
                "name": called.name,
                "input": parse_arguments(
                    called.arguments_json, f"{place}.tool_calls[{index}].arguments_json"
                ),
            }
        )
    return blocks


def _part(part: Part, place: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if part.kind is MediaKind.AUDIO:
        raise NotCarried(place, "audio is not taken")
    kind = "image" if part.kind is MediaKind.IMAGE else "document"
    return {"type": kind, "source": _source(part)}


def _source(part: MediaPart) -> dict[str, Any]:
    if part.uri is not None:
        return {"type": "url", "url": part.uri}
    if part.kind is MediaKind.FILE and part.media_type == "text/plain":
        text = (part.data or b"").decode("utf-8", "replace")
        return {"type": "text", "media_type": part.media_type, "data": text}
    return {"type": "base64", "media_type": part.media_type, "data": base64_of(part)}


def _add_tools(body: dict[str, Any], call: ProviderCall, plan: JsonPlan, ignored: list[str]) -> None:
    request, model = call.request, call.target.model
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(request.tools):
        wire = declare_tool(tool, index, "input_schema")
        if tool.strict and _NO_FORMAT.match(model):
            ignored.append("tools.strict")
        elif tool.strict:
            wire["strict"] = True
        tools.append(wire)
    choice = request.tool_choice
    wanted: dict[str, Any] = {"type": _CHOICE[choice.mode]}
    if choice.mode is ToolChoiceMode.NAMED:
        wanted["name"] = choice.name
    if plan.way is JsonWay.FORCED_TOOL:
        tools.append({"name": plan.tool, "description": "The answer.", "input_schema": plan.schema})
        # With tools of the caller's the model may call those, or answer; without, it can only answer.
        wanted = {"type": "any"} if request.tools else {"type": "tool", "name": plan.tool}
    if not tools:
        return
    if "system" not in body:
        mark_cached(tools[-1], request.cache_prefix)
    body["tools"] = tools
    if not choice.parallel and wanted["type"] != "none":
        wanted["disable_parallel_tool_use"] = True
    if wanted != {"type": "auto"}:
        body["tool_choice"] = wanted


def _add_output_config(body: dict[str, Any], call: ProviderCall, plan: JsonPlan, ignored: list[str]) -> None:
    config: dict[str, Any] = {}
    if plan.way is JsonWay.NATIVE:
        config["format"] = {"type": "json_schema", "schema": plan.schema}
    if (effort := call.request.reasoning_effort) is not None:
        if _NO_EFFORT.match(call.target.model):
            ignored.append("reasoning_effort")
        else:
            config["effort"] = _EFFORT.get(effort, str(effort))
    if config:
        body["output_config"] = config


def _add_sampling(body: dict[str, Any], call: ProviderCall, ignored: list[str]) -> None:
    request = call.request
    temperature, top_p = request.temperature, request.top_p
    if _ADAPTIVE.match(call.target.model):
        if temperature is not None:
            ignored.append("temperature")
        if top_p is not None:
            ignored.append("top_p")
        return
    if temperature is not None:
        body["temperature"] = min(temperature, MAX_TEMPERATURE)
        if temperature > MAX_TEMPERATURE:
            ignored.append("temperature")
    if top_p is not None:
        # Newer models refuse both at once.
        if temperature is None:
            body["top_p"] = top_p
        else:
            ignored.append("top_p")


def _limit_markers(body: dict[str, Any]) -> None:
    blocks = [*body.get("tools", ()), *body.get("system", ())]
    for turn in body["messages"]:
        for block in turn["content"]:
            inner = block.get("content")
            blocks += [*(inner if isinstance(inner, list) else ()), block]
    limit_markers(blocks)
