"""Requests in the wire format of OpenAI's chat completions, in the dialects of its family.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from turnout_server.providers.chat import (
    ChatRequest,
    FormatKind,
    MediaKind,
    MediaPart,
    Message,
    Part,
    Role,
    TextPart,
    ToolChoiceMode,
)
from turnout_server.providers.dialects import Dialect, SchemaSupport
from turnout_server.providers.encoding import (
    JSON_INSTRUCTION,
    SCHEMA_INSTRUCTION,
    base64_of,
    data_uri,
    declare_tool,
    format_name,
    limit_markers,
    mark_cached,
    output_limit,
    parse_answer_schema,
)
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.wire import NotCarried

_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def build_body(call: ProviderCall, dialect: Dialect, ignored: list[str], *, stream: bool) -> dict[str, Any]:
    """The body; what the dialect cannot take is left out and named in `ignored`.

    Raises:
        NotCarried: something that cannot be left out.
    """
    request = call.request
    turns = _mark_prefix(request) if dialect.cache_control else request.messages
    messages = [
        _message(message, dialect, ignored, f"messages[{index}]") for index, message in enumerate(turns)
    ]
    if dialect.cache_control:
        contents = [wire["content"] for wire in messages if isinstance(wire["content"], list)]
        limit_markers([block for content in contents for block in content])
    body: dict[str, Any] = {"model": call.target.model, "messages": messages}
    _add_tools(body, request, dialect, ignored)
    _add_format(body, call, dialect)
    _add_sampling(body, call, dialect, ignored)
    if (limit := output_limit(call)) is not None:
        body[dialect.max_tokens_field] = limit
    if request.seed is not None:
        body["seed"] = request.seed
    if request.reasoning_effort is not None:
        known = dialect.effort_models is None or dialect.effort_models.match(call.target.model)
        taken = dialect.reasoning_effort and bool(known)
        _set(body, "reasoning_effort", str(request.reasoning_effort), taken, ignored)
    if request.cache_key and dialect.cache_key:
        body["prompt_cache_key"] = request.cache_key
    if stream:
        body["stream"] = True
        if dialect.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def _set(
    body: dict[str, Any], name: str, value: object, taken: bool, ignored: list[str], field: str = ""
) -> None:
    """Sets what the dialect takes; else names the request's field, which mostly has the same name."""
    if taken:
        body[name] = value
    else:
        ignored.append(field or name)


def _message(message: Message, dialect: Dialect, ignored: list[str], place: str) -> dict[str, Any]:
    role = message.role
    if role is Role.DEVELOPER and not dialect.developer_role:
        role = Role.SYSTEM
    wire: dict[str, Any] = {"role": str(role)}
    if message.parts or not message.tool_calls:
        wire["content"] = _content(message, dialect, place)
    else:
        wire["content"] = None
    if message.name:
        _set(wire, "name", message.name, dialect.message_names, ignored, "messages.name")
    if message.role is Role.TOOL:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": called.id,
                "type": "function",
                "function": {"name": called.name, "arguments": called.arguments_json or "{}"},
            }
            for called in message.tool_calls
        ]
    return wire


def _content(message: Message, dialect: Dialect, place: str) -> str | list[dict[str, Any]]:
    parts = message.parts
    marked = dialect.cache_control and (message.cache or any(part.cache for part in parts))
    if all(isinstance(part, TextPart) for part in parts) and not marked:
        # As plain text: tool messages, and many servers, take nothing else.
        return message.text
    wires = [_part(part, f"{place}.parts[{index}]") for index, part in enumerate(parts)]
    if dialect.cache_control:
        for part, wire in zip(parts, wires, strict=True):
            mark_cached(wire, part.cache)
        if wires:
            mark_cached(wires[-1], message.cache)
    return wires


def _mark_prefix(request: ChatRequest) -> tuple[Message, ...]:
    """The messages, the last of the system prompt marked as the prefix wants it."""
    messages = list(request.messages)
    for index in reversed(range(len(messages))):
        if messages[index].role in (Role.SYSTEM, Role.DEVELOPER):
            cache = messages[index].cache or request.cache_prefix
            messages[index] = replace(messages[index], cache=cache)
            break
    return tuple(messages)


def _part(part: Part, place: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    match part.kind:
        case MediaKind.IMAGE:
            return {"type": "image_url", "image_url": {"url": part.uri or data_uri(part)}}
        case MediaKind.AUDIO:
            return {"type": "input_audio", "input_audio": _audio(part, place)}
        case MediaKind.FILE:
            if part.uri is not None:
                raise NotCarried(f"{place}.uri", "files are taken as bytes alone")
            return {
                "type": "file",
                "file": {"filename": part.name or "file", "file_data": data_uri(part)},
            }


def _audio(part: MediaPart, place: str) -> dict[str, str]:
    if part.uri is not None:
        raise NotCarried(f"{place}.uri", "audio is taken as bytes alone")
    if (audio_format := _AUDIO_FORMATS.get(part.media_type)) is None:
        raise NotCarried(f"{place}.media_type", "audio is taken as wav or mp3 alone")
    return {"data": base64_of(part), "format": audio_format}


def _add_tools(body: dict[str, Any], request: ChatRequest, dialect: Dialect, ignored: list[str]) -> None:
    if not request.tools:
        return
    body["tools"] = []
    for index, tool in enumerate(request.tools):
        function = declare_tool(tool, index, "parameters")
        if tool.strict:
            _set(function, "strict", True, dialect.strict_tools, ignored, "tools.strict")
        body["tools"].append({"type": "function", "function": function})
    choice = request.tool_choice
    if choice.mode is ToolChoiceMode.NAMED:
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice.mode is not ToolChoiceMode.AUTO:
        body["tool_choice"] = str(choice.mode)
    if not choice.parallel:
        taken = dialect.parallel_tool_calls
        _set(body, "parallel_tool_calls", False, taken, ignored, "tool_choice.parallel")


def _add_format(body: dict[str, Any], call: ProviderCall, dialect: Dialect) -> None:
    wanted = call.request.response_format
    if wanted.kind is FormatKind.TEXT:
        return
    if wanted.kind is FormatKind.JSON_SCHEMA:
        schema = parse_answer_schema(call.request)
        known = dialect.schema_models is None or dialect.schema_models.search(call.target.model)
        if dialect.schema is SchemaSupport.RESPONSE_FORMAT and known:
            described: dict[str, Any] = {"name": format_name(call.request), "schema": schema}
            if wanted.strict:
                described["strict"] = True
            body["response_format"] = {"type": "json_schema", "json_schema": described}
            return
        body["messages"].insert(0, {"role": "system", "content": SCHEMA_INSTRUCTION + wanted.schema_json})
    elif dialect.json_word and "json" not in _all_text(call.request).lower():
        # Without the word the request is refused.
        body["messages"].insert(0, {"role": "system", "content": JSON_INSTRUCTION})
    body["response_format"] = {"type": "json_object"}


def _all_text(request: ChatRequest) -> str:
    return "\n".join(message.text for message in request.messages)


def _add_sampling(body: dict[str, Any], call: ProviderCall, dialect: Dialect, ignored: list[str]) -> None:
    request = call.request
    free = dialect.fixed_sampling is None or not dialect.fixed_sampling.match(call.target.model)
    if request.temperature is not None:
        _set(body, "temperature", request.temperature, free, ignored)
    if request.top_p is not None:
        _set(body, "top_p", request.top_p, free, ignored)
    if request.stop:
        _set(body, "stop", list(request.stop), free, ignored)
    if request.wants_logprobs:
        taken = free and dialect.logprobs
        _set(body, "logprobs", True, taken, ignored, "top_logprobs")
        if taken and request.top_logprobs:
            body["top_logprobs"] = request.top_logprobs
