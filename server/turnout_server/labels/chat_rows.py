"""The request of a row of prompts, as providers are asked it: messages as the OpenAI chat API has them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from turnout_server.providers.chat import MediaKind, MediaPart, Message, Part, Role, TextPart, Tool, ToolCall

if TYPE_CHECKING:
    from turnout_fastpath.training.data_errors import RowError


def read_messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of a row that `parse_row` has passed.

    Raises:
        RowError: a part that no provider takes.
    """
    if row.get("prompt"):
        return (Message.of(Role.USER, row["prompt"]),)
    return tuple(_message(told, f"messages[{i}]") for i, told in enumerate(row["messages"]))


def read_tools(row: Mapping[str, Any]) -> tuple[Tool, ...]:
    """The definitions of a row's tools.

    Raises:
        RowError: they are counted, not defined, or have another shape.
    """
    told = row.get("tools")
    if not told:
        return ()
    if not isinstance(told, list):
        raise _wrong("tools", told, "their definitions, since they are sent")
    return tuple(_tool(one, f"tools[{i}]") for i, one in enumerate(told))


def _message(told: Mapping[str, Any], path: str) -> Message:
    try:
        role = Role(told["role"])
    except ValueError:
        raise _wrong(f"{path}.role", told["role"], ", ".join(Role)) from None
    content = told.get("content")
    parts: tuple[Part, ...] = ()
    if isinstance(content, str):
        parts = (TextPart(content),)
    elif isinstance(content, Sequence):
        parts = tuple(_part(part, f"{path}.content[{i}]") for i, part in enumerate(content))
    calls = told.get("tool_calls") or []
    return Message(
        role,
        parts,
        name=str(told.get("name") or ""),
        tool_call_id=str(told.get("tool_call_id") or ""),
        tool_calls=tuple(_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(calls)),
    )


def _part(told: Any, path: str) -> Part:
    kind = told.get("type") if isinstance(told, Mapping) else None
    if kind == "text" and isinstance(told.get("text"), str):
        return TextPart(told["text"])
    image = told.get("image_url") if kind == "image_url" else None
    url = image.get("url") if isinstance(image, Mapping) else None
    if isinstance(url, str) and url.startswith("https://"):
        return MediaPart(MediaKind.IMAGE, "image/*", uri=url)
    if isinstance(url, str) and url.startswith("data:"):
        head, _, data = url.removeprefix("data:").partition(",")
        media_type, _, encoding = head.partition(";")
        try:
            if encoding == "base64":
                return MediaPart(MediaKind.IMAGE, media_type, data=base64.b64decode(data, validate=True))
        except binascii.Error:
            pass
    raise _wrong(path, told, "text, or image_url with an https address or base64 data")


def _call(told: Any, path: str) -> ToolCall:
    function = told.get("function") if isinstance(told, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _wrong(path, told, "id and function, with name and arguments")
    return ToolCall(str(told.get("id") or ""), function["name"], str(function.get("arguments") or "{}"))


def _tool(told: Any, path: str) -> Tool:
    function = told.get("function") if isinstance(told, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _wrong(path, told, "type function, and function with a name")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(
        function["name"],
        str(function.get("description") or ""),
        orjson.dumps(parameters).decode(),
        strict=function.get("strict") is True,
    )


def _wrong(column: str, value: Any, needed: str) -> RowError:
    from turnout_fastpath.training.data_errors import RowError, shown

    return RowError(column, f"{shown(value)}, needed: {needed}")
