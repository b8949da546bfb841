"""Requests in the wire format of Gemini's generateContent.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from turnout_server.providers.chat import (
    ChatRequest,
    FormatKind,
    Message,
    Part,
    ReasoningEffort,
    Role,
    TextPart,
    ToolChoiceMode,
)
from turnout_server.providers.encoding import (
    add_turn,
    base64_of,
    declare_tool,
    output_limit,
    parse_answer_schema,
    parse_arguments,
    system_parts,
)
from turnout_server.providers.protocol import ProviderCall

# Stands for the signature of a call that another model made; Gemini 3 refuses calls without any.
# https://ai.google.dev/gemini-api/docs/thought-signatures
FOREIGN_SIGNATURE = "skip_thought_signature_validator"

_BY_LEVEL = re.compile(r"(?:models/)?gemini-(?:[3-9]|\d\d)")
_BY_BUDGET = re.compile(r"(?:models/)?gemini-2\.5")
_LEVEL = {
    ReasoningEffort.NONE: "minimal",
    ReasoningEffort.MINIMAL: "minimal",
    ReasoningEffort.LOW: "low",
    ReasoningEffort.MEDIUM: "medium",
    ReasoningEffort.HIGH: "high",
    ReasoningEffort.XHIGH: "high",
    ReasoningEffort.MAX: "high",
}
# Tokens, as Google's OpenAI-compatible endpoint takes the words.
# https://ai.google.dev/gemini-api/docs/openai#thinking
_BUDGET = {
    ReasoningEffort.NONE: 0,
    ReasoningEffort.MINIMAL: 1024,
    ReasoningEffort.LOW: 1024,
    ReasoningEffort.MEDIUM: 8192,
    ReasoningEffort.HIGH: 24576,
    ReasoningEffort.XHIGH: 24576,
    ReasoningEffort.MAX: 24576,
}
_CHOICE = {
    ToolChoiceMode.AUTO: "AUTO",
    ToolChoiceMode.NONE: "NONE",
    ToolChoiceMode.REQUIRED: "ANY",
    ToolChoiceMode.NAMED: "ANY",
}


def build_body(call: ProviderCall, ignored: list[str]) -> dict[str, Any]:
    """The body; what cannot be taken is left out and named in `ignored`.

    Raises:
        NotCarried: something that cannot be left out.
    """
    request = call.request
    body: dict[str, Any] = {"contents": _contents(request, needs_signature=_needs_signature(call))}
    if system := _system(request):
        body["systemInstruction"] = {"parts": system}
    if any(message.name for message in request.messages):
        ignored.append("messages.name")
    _add_tools(body, request, ignored)
    if config := _generation_config(call, ignored):
        body["generationConfig"] = config
    return body


def _needs_signature(call: ProviderCall) -> bool:
    return _BY_LEVEL.match(call.target.model) is not None


def _system(request: ChatRequest) -> list[dict[str, Any]]:
    return [{"text": part.text} for _, part in system_parts(request) if part.text]


def _contents(request: ChatRequest, *, needs_signature: bool) -> list[dict[str, Any]]:
    """Turns of user and model; results of tools are the user's, and neighbours of one side are one turn."""
    turns: list[dict[str, Any]] = []
    # Results name their tool here, not only their call.
    names: dict[str, str] = {}
    for index, message in enumerate(request.messages):
        if message.role in (Role.SYSTEM, Role.DEVELOPER):
            continue
        names.update((called.id, called.name) for called in message.tool_calls)
        role = "model" if message.role is Role.ASSISTANT else "user"
        parts = _parts(message, names, f"messages[{index}]", needs_signature)
        if parts:
            add_turn(turns, role, "parts", parts)
    return turns


def _parts(
    message: Message, names: dict[str, str], place: str, needs_signature: bool
) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        called = message.tool_call_id
        response = {"id": called, "name": names.get(called, called), "response": _result(message.text)}
        media = [_part(part) for part in message.parts if not isinstance(part, TextPart)]
        return [{"functionResponse": response}, *media]
    parts = [_part(part) for part in message.parts if not isinstance(part, TextPart) or part.text]
    signed = any(called.signature for called in message.tool_calls)
    for index, call in enumerate(message.tool_calls):
        arguments = parse_arguments(call.arguments_json, f"{place}.tool_calls[{index}].arguments_json")
        wire: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": arguments}}
        # Of calls in parallel only the first bears a signature.
        if signature := call.signature:
            wire["thoughtSignature"] = signature
        elif needs_signature and not signed and index == 0:
            wire["thoughtSignature"] = FOREIGN_SIGNATURE
        parts.append(wire)
    return parts


def _result(text: str) -> dict[str, Any]:
    """A tool's result as the object that the wire format wants."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = text
    return found if isinstance(found, dict) else {"result": found}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if part.uri is not None:
        return {"fileData": {"mimeType": part.media_type, "fileUri": part.uri}}
    return {"inlineData": {"mimeType": part.media_type, "data": base64_of(part)}}


def _add_tools(body: dict[str, Any], request: ChatRequest, ignored: list[str]) -> None:
    if not request.tools:
        return
    declarations = [
        declare_tool(tool, index, "parametersJsonSchema") for index, tool in enumerate(request.tools)
    ]
    body["tools"] = [{"functionDeclarations": declarations}]
    choice = request.tool_choice
    if choice.mode is not ToolChoiceMode.AUTO:
        config: dict[str, Any] = {"mode": _CHOICE[choice.mode]}
        if choice.mode is ToolChoiceMode.NAMED:
            config["allowedFunctionNames"] = [choice.name]
        body["toolConfig"] = {"functionCallingConfig": config}
    if not choice.parallel:
        ignored.append("tool_choice.parallel")


def _generation_config(call: ProviderCall, ignored: list[str]) -> dict[str, Any]:
    request = call.request
    wanted = request.response_format
    config: dict[str, Any] = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "maxOutputTokens": output_limit(call),
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
        "responseLogprobs": True if request.wants_logprobs else None,
        "logprobs": request.top_logprobs or None,
        "thinkingConfig": _thinking(call, ignored),
    }
    if wanted.kind is not FormatKind.TEXT:
        config["responseMimeType"] = "application/json"
    if wanted.kind is FormatKind.JSON_SCHEMA:
        config["responseJsonSchema"] = parse_answer_schema(request)
    return {name: value for name, value in config.items() if value is not None}


def _thinking(call: ProviderCall, ignored: list[str]) -> dict[str, Any] | None:
    effort = call.request.reasoning_effort
    if effort is None:
        return None
    if _BY_LEVEL.match(call.target.model):
        return {"thinkingLevel": _LEVEL[effort]}
    if _BY_BUDGET.match(call.target.model):
        return {"thinkingBudget": _BUDGET[effort]}
    ignored.append("reasoning_effort")
    return None
