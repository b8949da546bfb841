"""What the three wire formats' requests have in common."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from turnout_server.providers.chat import ChatRequest, MediaPart
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.transport import HttpRequest
from turnout_server.providers.wire import Encoded, NotCarried

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
# For wire formats, and models, that cannot be held to JSON by other means. Gates check the answer in any case.
JSON_INSTRUCTION = "Answer with one JSON object and nothing else."
SCHEMA_INSTRUCTION = "Answer with JSON that fits this JSON Schema and nothing else:\n"

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
        HttpRequest(url, {**JSON_HEADERS, **accept, **headers}, orjson.dumps(body)), tuple(ignored)
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


def parse_arguments(text: str, place: str) -> dict[str, Any]:
    """A tool call's arguments, for wire formats that take them as an object; none are an empty one.

    Raises:
        NotCarried: the model wrote something else.
    """
    return parse_schema(text.strip(), place)


def base64_of(part: MediaPart) -> str:
    """The bytes as base64 text."""
    return base64.b64encode(part.data or b"").decode("ascii")


def data_uri(part: MediaPart) -> str:
    """The bytes as a data URI."""
    return f"data:{part.media_type};base64,{base64_of(part)}"


def format_name(request: ChatRequest) -> str:
    """A schema's name as the wire formats allow it: 1 to 64 of A-Z, a-z, 0-9, _ and -."""
    return _NOT_A_NAME.sub("_", request.response_format.name)[:_MAX_FORMAT_NAME] or "answer"
