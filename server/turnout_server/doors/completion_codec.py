"""What a CompleteRequest asks: the decision's request, the provider's, and the gates'; every limit with its path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from turnout.v1 import chat_pb2, completion_pb2
from turnout.v1.completion_pb2 import CompleteRequest
from turnout.v1.routing_pb2 import RouteRequest, Strategy
from turnout_fastpath import Reason, Request, RouteError

from turnout_server.completion.gates.context import Form, GateContext, Required, read_context
from turnout_server.completion.gates.schemas import SchemaError
from turnout_server.completion.gates.verdict import Gate
from turnout_server.doors.codec import MAX_TEXT_BYTES, read_request
from turnout_server.providers.chat import (
    CacheLifetime,
    ChatRequest,
    FormatKind,
    MediaKind,
    MediaPart,
    Message,
    Part,
    ReasoningEffort,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
)

MAX_OUTPUT_TOKENS = 1_000_000
MAX_STOPS = 4
MAX_STOP_BYTES = 256
MAX_TOP_LOGPROBS = 20
MAX_CACHE_KEY_BYTES = 64
MAX_CACHE_MARKERS = 4
MAX_METADATA = 16
MAX_METADATA_KEY_BYTES = 64
MAX_METADATA_VALUE_BYTES = 512
MAX_IDEMPOTENCY_BYTES = 128
MAX_TOOL_NAME_BYTES = 128
MAX_MEDIA_NAME_BYTES = 256
MAX_SIGNATURE_BYTES = 64 * 1024
MAX_FORMS = 8
MAX_WORDS = 64
MAX_WORD_CHARS = 256
MAX_PATTERN_CHARS = 1024
MAX_MIN_CHARS = 1_000_000

_ROLES = {
    chat_pb2.ROLE_UNSPECIFIED: Role.USER,
    chat_pb2.ROLE_USER: Role.USER,
    chat_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
    chat_pb2.ROLE_SYSTEM: Role.SYSTEM,
    chat_pb2.ROLE_DEVELOPER: Role.DEVELOPER,
    chat_pb2.ROLE_TOOL: Role.TOOL,
}
_CHOICES = {
    chat_pb2.TOOL_CHOICE_MODE_UNSPECIFIED: ToolChoiceMode.AUTO,
    chat_pb2.TOOL_CHOICE_MODE_AUTO: ToolChoiceMode.AUTO,
    chat_pb2.TOOL_CHOICE_MODE_NONE: ToolChoiceMode.NONE,
    chat_pb2.TOOL_CHOICE_MODE_REQUIRED: ToolChoiceMode.REQUIRED,
    chat_pb2.TOOL_CHOICE_MODE_NAMED: ToolChoiceMode.NAMED,
}
_NO_PARAMETERS = '{"type":"object","properties":{}}'
# What the gates call a schema's place, and its path in the message.
_SCHEMA_PATHS = {
    "response_format.schema": "response_format.json_schema.schema_json",
    "parameters": "parameters_json_schema",
}


def route_request_of(message: CompleteRequest) -> RouteRequest:
    """The RouteRequest whose decision the completion carries out."""
    route = RouteRequest(policy=message.policy, explain=message.explain, decision_id=message.decision_id)
    if message.HasField("prompt"):
        route.prompt = message.prompt
    route.messages.MergeFrom(message.messages)
    if message.HasField("caller"):
        route.caller.CopyFrom(message.caller)
    if message.HasField("constraints"):
        route.constraints.CopyFrom(message.constraints)
    needs = route.requirements
    if message.HasField("response_format"):
        needs.response_format.CopyFrom(message.response_format)
    needs.tools.MergeFrom(message.tools)
    needs.expected_output_tokens = message.expected_output_tokens
    needs.context_tokens = message.context_tokens
    needs.answer_use = message.answer_use
    return route


def read_decision_request(
    route: RouteRequest, *, rules_only: bool = False, max_text_bytes: int = MAX_TEXT_BYTES
) -> Request:
    """The engine's request, as `Route` reads it; paths are those of the CompleteRequest.

    Raises:
        RouteError: the message breaks a limit of the contract.
    """
    try:
        return read_request(route, rules_only=rules_only, max_text_bytes=max_text_bytes)
    except RouteError as error:
        field = error.field.removeprefix("requirements.")
        raise RouteError(
            error.reason, field, value=error.value, limit=error.limit, known=error.known
        ) from None


def pin_tier(route: RouteRequest, tier: str) -> RouteRequest:
    """The same request, held to one tier."""
    pinned = RouteRequest()
    pinned.CopyFrom(route)
    pinned.explain = False
    pinned.constraints.min_tier = pinned.constraints.max_tier = tier
    return pinned


def read_chat(message: CompleteRequest) -> ChatRequest:
    """What the provider is asked. The limits that a decision checks too are not looked at again.

    Raises:
        RouteError: the message breaks a limit of the contract.
    """
    _check_scalars(message)
    lifetime = (
        CacheLifetime.ONE_HOUR
        if message.cache.lifetime == completion_pb2.CACHE_LIFETIME_ONE_HOUR
        else CacheLifetime.FIVE_MINUTES
    )
    if message.HasField("prompt"):
        messages: tuple[Message, ...] = (Message.of(Role.USER, message.prompt),)
    else:
        messages = tuple(
            _read_turn(turn, f"messages[{i}]", lifetime) for i, turn in enumerate(message.messages)
        )
    marks = message.cache.prefix + sum(
        (turn.cache is not None) + sum(part.cache is not None for part in turn.parts) for turn in messages
    )
    if marks > MAX_CACHE_MARKERS:
        _refuse("cache", f"{marks} cache markers", f"{MAX_CACHE_MARKERS} cache markers")
    logprobs = message.HasField("top_logprobs")
    return ChatRequest(
        messages=messages,
        tools=tuple(
            Tool(tool.name, tool.description, tool.parameters_json_schema or _NO_PARAMETERS, tool.strict)
            for tool in message.tools
        ),
        tool_choice=_read_choice(message),
        response_format=_read_format(message.response_format),
        temperature=message.temperature if message.HasField("temperature") else None,
        top_p=message.top_p if message.HasField("top_p") else None,
        max_output_tokens=message.max_output_tokens if message.HasField("max_output_tokens") else None,
        stop=tuple(message.stop),
        seed=message.seed if message.HasField("seed") else None,
        logprobs=logprobs,
        top_logprobs=message.top_logprobs if logprobs else 0,
        reasoning_effort=_read_effort(message.reasoning_effort),
        cache_prefix=lifetime if message.cache.prefix else None,
        cache_key=message.cache.key,
        metadata=tuple(sorted(message.metadata.items())),
    )


def read_gates(
    message: CompleteRequest, chat: ChatRequest, task: str
) -> tuple[GateContext, tuple[Gate, ...]]:
    """What the gates know of the request, and which of them do not look.

    Raises:
        RouteError: the message breaks a limit of the contract, or a schema or a pattern cannot be used.
    """
    options = message.gates
    skip = tuple(_read_gate(number, f"gates.skip[{i}]") for i, number in enumerate(options.skip))
    _check_count("gates.forms", len(options.forms), MAX_FORMS, "forms")
    forms = []
    for i, number in enumerate(options.forms):
        name = _name_of(completion_pb2.AnswerForm, number, "ANSWER_FORM_")
        if not number or name is None:
            _refuse(f"gates.forms[{i}]", number, "a form of AnswerForm")
        forms.append(Form[name])
    for field in ("keywords", "forbidden"):
        words = getattr(options, field)
        _check_count(f"gates.{field}", len(words), MAX_WORDS, "words")
        for i, word in enumerate(words):
            if not 1 <= len(word) <= MAX_WORD_CHARS:
                limit = f"1 to {MAX_WORD_CHARS} characters"
                _refuse(f"gates.{field}[{i}]", f"{len(word)} characters", limit)
    if len(options.pattern) > MAX_PATTERN_CHARS:
        _refuse("gates.pattern", f"{len(options.pattern)} characters", f"{MAX_PATTERN_CHARS} characters")
    _check_range("gates.min_chars", options.min_chars, 0, MAX_MIN_CHARS)
    if options.HasField("min_confidence") and not 0 < options.min_confidence <= 1:
        _refuse("gates.min_confidence", options.min_confidence, "above 0 to 1")
    required = Required(
        tuple(forms),
        tuple(options.keywords),
        tuple(options.forbidden),
        options.pattern or None,
        options.min_chars,
    )
    try:
        return read_context(chat, required=required, task=task), skip
    except SchemaError as error:
        place, _, cause = str(error).partition(": ")
        for ours, theirs in _SCHEMA_PATHS.items():
            place = place.removesuffix(ours) + theirs if place.endswith(ours) else place
        _refuse(place, "the schema", f"a JSON Schema that can be used ({cause[:200]})")
    except ValueError:
        _refuse("gates.pattern", "the pattern", "an RE2 pattern of at most 1 MiB when compiled")


def read_strategy(message: CompleteRequest) -> int | None:
    """The strategy that the caller forces; None: none.

    Raises:
        RouteError: there is no such strategy.
    """
    if message.strategy and message.strategy not in Strategy.values():
        _refuse("strategy", message.strategy, "a strategy of Strategy")
    return message.strategy or None


def _check_scalars(message: CompleteRequest) -> None:
    if message.HasField("temperature"):
        _check_range("temperature", message.temperature, 0, 2)
    if message.HasField("top_p") and not 0 < message.top_p <= 1:
        _refuse("top_p", message.top_p, "above 0 to 1")
    if message.HasField("max_output_tokens"):
        _check_range("max_output_tokens", message.max_output_tokens, 1, MAX_OUTPUT_TOKENS)
    if message.HasField("top_logprobs"):
        _check_range("top_logprobs", message.top_logprobs, 0, MAX_TOP_LOGPROBS)
    _check_count("stop", len(message.stop), MAX_STOPS, "texts")
    for i, stop in enumerate(message.stop):
        if not 1 <= (size := len(stop.encode())) <= MAX_STOP_BYTES:
            _refuse(f"stop[{i}]", f"{size} bytes", f"1 to {MAX_STOP_BYTES} bytes")
    _check_bytes("cache.key", message.cache.key, MAX_CACHE_KEY_BYTES)
    if message.cache.lifetime and message.cache.lifetime not in completion_pb2.CacheLifetime.values():
        _refuse("cache.lifetime", message.cache.lifetime, "a lifetime of CacheLifetime")
    _check_count("metadata", len(message.metadata), MAX_METADATA, "pairs")
    for key, value in message.metadata.items():
        _check_bytes("metadata", key, MAX_METADATA_KEY_BYTES)
        _check_bytes("metadata", value, MAX_METADATA_VALUE_BYTES)
    _check_bytes("idempotency_key", message.idempotency_key, MAX_IDEMPOTENCY_BYTES)


def _read_turn(turn: chat_pb2.ChatMessage, path: str, lifetime: CacheLifetime) -> Message:
    role = _ROLES.get(turn.role)
    if role is None:
        _refuse(f"{path}.role", turn.role, "a role of Role")
    parts: list[Part] = [TextPart(turn.content)] if turn.content else []
    for j, part in enumerate(turn.parts):
        cache = lifetime if part.cache_marker else None
        kind = part.WhichOneof("part")
        if kind is None:
            _refuse(f"{path}.parts[{j}]", "nothing", "one of text, image, audio and file")
        if kind == "text":
            parts.append(TextPart(part.text, cache))
        else:
            parts.append(
                _read_media(getattr(part, kind), MediaKind(kind), f"{path}.parts[{j}].{kind}", cache)
            )
    calls = []
    for j, call in enumerate(turn.tool_calls):
        _check_bytes(f"{path}.tool_calls[{j}].signature", call.signature, MAX_SIGNATURE_BYTES)
        calls.append(ToolCall(call.id, call.name, call.arguments_json, call.signature))
    return Message(
        role,
        tuple(parts),
        turn.name,
        turn.tool_call_id,
        tuple(calls),
        lifetime if turn.cache_marker else None,
    )


def _read_media(media: chat_pb2.Media, kind: MediaKind, path: str, cache: CacheLifetime | None) -> MediaPart:
    source = media.WhichOneof("source")
    if source is None:
        _refuse(path, "neither data nor uri", "one of data and uri")
    _check_bytes(f"{path}.name", media.name, MAX_MEDIA_NAME_BYTES)
    data = media.data if source == "data" else None
    uri = media.uri if source == "uri" else None
    return MediaPart(kind, media.media_type, data, uri, media.name, cache)


def _read_choice(message: CompleteRequest) -> ToolChoice:
    choice = message.tool_choice
    mode = _CHOICES.get(choice.mode)
    if mode is None:
        _refuse("tool_choice.mode", choice.mode, "a mode of ToolChoiceMode")
    _check_bytes("tool_choice.tool_name", choice.tool_name, MAX_TOOL_NAME_BYTES)
    if mode is ToolChoiceMode.NAMED:
        if choice.tool_name not in {tool.name for tool in message.tools}:
            _refuse("tool_choice.tool_name", "another name", "the name of a tool of the request")
    elif choice.tool_name:
        _refuse("tool_choice.tool_name", "a name", "none but with TOOL_CHOICE_MODE_NAMED")
    if mode is ToolChoiceMode.REQUIRED and not message.tools:
        _refuse("tool_choice.mode", "TOOL_CHOICE_MODE_REQUIRED without tools", "at least one tool")
    return ToolChoice(mode, choice.tool_name, choice.parallel if choice.HasField("parallel") else True)


def _read_format(wanted: chat_pb2.ResponseFormat) -> ResponseFormat:
    match wanted.WhichOneof("format"):
        case "json_object":
            return ResponseFormat(FormatKind.JSON_OBJECT)
        case "json_schema":
            schema = wanted.json_schema
            return ResponseFormat(
                FormatKind.JSON_SCHEMA, schema.name or "answer", schema.schema_json or "{}", schema.strict
            )
        case _:
            return ResponseFormat()


def _read_effort(number: int) -> ReasoningEffort | None:
    if not number:
        return None
    name = _name_of(completion_pb2.ReasoningEffort, number, "REASONING_EFFORT_")
    if name is None:
        _refuse("reasoning_effort", number, "an effort of ReasoningEffort")
    return ReasoningEffort[name]


def _read_gate(number: int, path: str) -> Gate:
    name = _name_of(completion_pb2.Gate, number, "GATE_")
    if not number or name is None:
        _refuse(path, number, "a gate of Gate")
    return Gate[name]


def _name_of(kind: Any, number: int, prefix: str) -> str | None:
    names: Mapping[int, str] = {value: name for name, value in kind.items()}
    name = names.get(number)
    return None if name is None else name.removeprefix(prefix)


def _check_range(field: str, value: float, least: float, most: float) -> None:
    if math.isnan(value) or not least <= value <= most:
        _refuse(field, value, f"{least} to {most}")


def _check_bytes(field: str, text: str, limit: int) -> None:
    if (size := len(text.encode())) > limit:
        _refuse(field, f"{size} bytes", f"{limit} bytes")


def _check_count(field: str, count: int, limit: int, what: str) -> None:
    if count > limit:
        _refuse(field, f"{count} {what}", f"{limit} {what}")


def _refuse(field: str, value: object, limit: str) -> NoReturn:
    raise RouteError(Reason.INVALID_FIELD, field, value=value, limit=limit)
