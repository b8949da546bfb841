"""Requests in the wire format of OpenAI's chat completions, in the dialects of its family.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from typing import Any

from turnout_server.providers.chat import (
    CacheLifetime,
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
    format_name,
    output_limit,
    parse_schema,
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
    messages = [
        _message(message, dialect, ignored, f"messages[{index}]")
        for index, message in enumerate(request.messages)
    ]
    body: dict[str, Any] = {"model": call.target.model, "messages": messages}
    _add_tools(body, request, dialect, ignored)
    _add_format(body, call, dialect)
    _add_sampling(body, call, dialect, ignored)
    if (limit := output_limit(call)) is not None:
        body[dialect.max_tokens_field] = limit
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    if request.reasoning_effort is not None:
        _set(body, "reasoning_effort", str(request.reasoning_effort), dialect.reasoning_effort, ignored)
    if request.cache_key and dialect.cache_key:
        body["prompt_cache_key"] = request.cache_key
    if stream:
        body["stream"] = True
        if dialect.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def _set(body: dict[str, Any], name: str, value: object, taken: bool, ignored: list[str]) -> None:
    if taken:
        body[name] = value
    else:
        ignored.append(name)


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
        _set(wire, "name", message.name, dialect.message_names, ignored)
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
            _mark(wire, part.cache)
        if wires:
            _mark(wires[-1], message.cache)
    return wires


def _mark(wire: dict[str, Any], cache: CacheLifetime | None) -> None:
    if cache is not None:
        ttl = {"ttl": str(cache)} if cache is CacheLifetime.ONE_HOUR else {}
        wire["cache_control"] = {"type": "ephemeral", **ttl}


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
        function: dict[str, Any] = {
            "name": tool.name,
            "parameters": parse_schema(tool.parameters_json, f"tools[{index}].parameters_json_schema"),
        }
        if tool.description:
            function["description"] = tool.description
        if tool.strict and dialect.strict_tools:
            function["strict"] = True
        body["tools"].append({"type": "function", "function": function})
    choice = request.tool_choice
    if choice.mode is ToolChoiceMode.NAMED:
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice.mode is not ToolChoiceMode.AUTO:
        body["tool_choice"] = str(choice.mode)
    if not choice.parallel:
        _set(body, "parallel_tool_calls", False, dialect.parallel_tool_calls, ignored)


def _add_format(body: dict[str, Any], call: ProviderCall, dialect: Dialect) -> None:
    wanted = call.request.response_format
    if wanted.kind is FormatKind.TEXT:
        return
    if wanted.kind is FormatKind.JSON_SCHEMA:
        schema = parse_schema(wanted.schema_json, "response_format.json_schema.schema_json")
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
    if request.wants_logprobs:
        taken = free and dialect.logprobs
        _set(body, "logprobs", True, taken, ignored)
        if taken and request.top_logprobs:
            body["top_logprobs"] = request.top_logprobs
