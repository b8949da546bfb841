"""What the three wire formats' requests have in common."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from turnout_server.providers.chat import (
    CacheLifetime,
    ChatRequest,
    MediaPart,
    Message,
    Role,
    TextPart,
    Tool,
)
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.transport import HttpRequest
from turnout_server.providers.wire import Encoded, NotCarried

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
# For wire formats, and models, that cannot be held to JSON by other means. Gates check the answer in any case.
JSON_INSTRUCTION = "Answer with one JSON object and nothing else."
SCHEMA_INSTRUCTION = "Answer with JSON that fits this JSON Schema and nothing else:\n"

MAX_CACHE_MARKERS = 4

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_MAX_FORMAT_NAME = 64


def base_address(endpoint: str | None, public: str, base_path: str) -> str:
    """The address that a wire format's paths are appended to, without a slash at its end.

    Args:
        endpoint: of the deployment; None: the public one.
        public: the provider's public address, whole.
        base_path: taken where the endpoint has no path of its own.

    Raises:
        NotCarried: there is neither.
    """
    address = (endpoint or public).rstrip("/")
    if not address:
        raise NotCarried("endpoint", "this provider has no public address; the deployment must name one")
    return address if urlsplit(address).path else address + base_path


def http_request(
    url: str, headers: Mapping[str, str], body: dict[str, Any], ignored: list[str], *, stream: bool
) -> Encoded:
    """A request of this body, whose accepted type is an event stream where one is asked for."""
    accept = {"Accept": "text/event-stream" if stream else "application/json"}
    return Encoded(
        HttpRequest(url, {**JSON_HEADERS, **accept, **headers}, orjson.dumps(body)),
        tuple(dict.fromkeys(ignored)),
    )


def output_limit(call: ProviderCall) -> int | None:
    """Most tokens of the answer: the request's, within the deployment's; None where neither says."""
    limits = [
        limit
        for limit in (call.request.max_output_tokens, call.target.max_output_tokens)
        if limit is not None
    ]
    return min(limits) if limits else None


def parse_schema(text: str, place: str) -> dict[str, Any]:
    """A JSON Schema that is an object.

    Raises:
        NotCarried: it is not.
    """
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        raise NotCarried(place, "not JSON") from None
    if not isinstance(found, dict):
        raise NotCarried(place, "not a JSON object")
    return found


def parse_answer_schema(request: ChatRequest) -> dict[str, Any]:
    """The schema that the answer is to fit.

    Raises:
        NotCarried: it is no JSON object.
    """
    return parse_schema(request.response_format.schema_json, "response_format.json_schema.schema_json")


def declare_tool(tool: Tool, index: int, schema_field: str) -> dict[str, Any]:
    """A tool's name, its parameters' schema in the wire format's field for it, and its description, if it has one.

    Args:
        tool: the tool.
        index: of the request's tools.
        schema_field: the wire format's name.

    Raises:
        NotCarried: the schema is no JSON object.
    """
    schema = parse_schema(tool.parameters_json, f"tools[{index}].parameters_json_schema")
    wire: dict[str, Any] = {"name": tool.name, schema_field: schema}
    if tool.description:
        wire["description"] = tool.description
    return wire


def parse_arguments(text: str, place: str) -> dict[str, Any]:
    """A tool call's arguments, for wire formats that take them as an object; none are an empty one.

    Raises:
        NotCarried: the model wrote something else.
    """
    return parse_schema(text.strip(), place)


def system_parts(request: ChatRequest) -> Iterator[tuple[Message, TextPart]]:
    """The texts of the operator's messages, for wire formats that take those apart from the conversation.

    Raises:
        NotCarried: a part is no text.
    """
    for index, message in enumerate(request.messages):
        if message.role not in (Role.SYSTEM, Role.DEVELOPER):
            continue
        for number, part in enumerate(message.parts):
            if not isinstance(part, TextPart):
                raise NotCarried(f"messages[{index}].parts[{number}]", "a system message is text alone")
            yield message, part


def add_turn(turns: list[dict[str, Any]], role: str, field: str, content: list[dict[str, Any]]) -> None:
    """Adds a message's content, in the turns' field for it; neighbours of one side are one turn."""
    if turns and turns[-1]["role"] == role:
        turns[-1][field] += content
    else:
        turns.append({"role": role, field: content})


def mark_cached(block: dict[str, Any], cache: CacheLifetime | None) -> dict[str, Any]:
    """The block itself, marked as the end of a cached prefix in Anthropic's way, if a lifetime is given."""
    if cache is not None:
        ttl = {"ttl": str(cache)} if cache is CacheLifetime.ONE_HOUR else {}
        block["cache_control"] = {"type": "ephemeral", **ttl}
    return block


def limit_markers(blocks: list[dict[str, Any]]) -> None:
    """Leaves at most four markers, the first and the last ones, and none of an hour after one of five minutes.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[1 : max(len(marked) - MAX_CACHE_MARKERS + 1, 1)]:
        del block["cache_control"]
    short = False
    for block in marked:
        if (marker := block.get("cache_control")) is None:
            continue
        if short:
            marker.pop("ttl", None)
        short = short or "ttl" not in marker


def base64_of(part: MediaPart) -> str:
    """The bytes as base64 text."""
    return base64.b64encode(part.data or b"").decode("ascii")


def data_uri(part: MediaPart) -> str:
    """The bytes as a data URI."""
    return f"data:{part.media_type};base64,{base64_of(part)}"


def format_name(request: ChatRequest) -> str:
    """A schema's name as the wire formats allow it: 1 to 64 of A-Z, a-z, 0-9, _ and -."""
    return _NOT_A_NAME.sub("_", request.response_format.name)[:_MAX_FORMAT_NAME] or "answer"
