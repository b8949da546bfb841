"""What a decision needs of a chat request in a provider's own JSON. Nothing of it is changed here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson
from turnout_fastpath import Reason, RouteError

_GEMINI_PATH = re.compile(r"(/models/)([^/:?]+)(:(?:streamGenerateContent|generateContent))(?=$|\?)")


class ChatWire(StrEnum):
    """The forms that are read."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


def wire_of(path: str) -> ChatWire | None:
    """The form of the requests that go to a path, query and all; None: no chat request."""
    plain = path.partition("?")[0]
    if plain.endswith("/chat/completions"):
        return ChatWire.OPENAI
    if plain.endswith("/messages"):
        return ChatWire.ANTHROPIC
    return ChatWire.GEMINI if _GEMINI_PATH.search(path) else None


def model_in_path(path: str) -> str:
    """The model that a Gemini path names."""
    found = _GEMINI_PATH.search(path)
    return found[2] if found else ""


def path_with_model(path: str, model: str) -> str:
    """A Gemini path that names another model."""
    return _GEMINI_PATH.sub(lambda found: f"{found[1]}{model}{found[3]}", path, count=1)


def read_chat(wire: ChatWire, document: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `turnout_fastpath.Request`: messages, needs, tools.

    Args:
        wire: the form.
        document: the body, parsed.

    Raises:
        RouteError: a field is not what the form says; its value is not shown.
    """
    if wire is ChatWire.OPENAI:
        return _read_openai(document)
    return _read_anthropic(document) if wire is ChatWire.ANTHROPIC else _read_gemini(document)


def _read_openai(document: Mapping[str, Any]) -> dict[str, Any]:
    # The engine reads this form itself.
    fields: dict[str, Any] = {"messages": _items(document, "messages"), "needs": []}
    if tools := _objects(document, "tools"):
        described = [
            next((tool[key] for key in ("function", "custom") if key in tool), tool) for tool in tools
        ]
        _add_tools(fields, described, "parameters")
    form = document.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind in ("json_object", "json_schema"):
        fields["needs"].append("json" if kind == "json_object" else "json_schema")
    return fields


def _read_anthropic(document: Mapping[str, Any]) -> dict[str, Any]:
    needs: set[str] = set()
    turns: list[tuple[str, str]] = []
    if system := document.get("system"):
        turns.append(("system", _text_of(system, needs)))
    for message in _objects(document, "messages"):
        role, content = _role(message, ("user", "assistant")), message.get("content")
        blocks = content if isinstance(content, list) else []
        turns += [
            ("tool", _text_of(block.get("content") or "", needs))
            for block in blocks
            if isinstance(block, dict) and block.get("type") == "tool_result"
        ]
        text = _text_of(content, needs)
        # A turn that holds tool results alone is no turn of the user's.
        if text or not blocks or role == "assistant":
            turns.append((role, text))
    fields: dict[str, Any] = {"messages": turns, "needs": sorted(needs)}
    _add_tools(fields, _objects(document, "tools"), "input_schema")
    return fields


_ANTHROPIC_NEEDS = {"image": "image", "document": "file"}


def _text_of(content: object, needs: set[str]) -> str:
    """Text of a content that is text or blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RouteError(
            Reason.INVALID_FIELD, "content", value=type(content).__name__, limit="text or blocks"
        )
    texts = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text" and isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif need := _ANTHROPIC_NEEDS.get(str(kind)):
            needs.add(need)
    return "\n".join(texts)


def _read_gemini(document: Mapping[str, Any]) -> dict[str, Any]:
    needs: set[str] = set()
    turns: list[tuple[str, str]] = []
    system = document.get("systemInstruction") or document.get("system_instruction")
    if isinstance(system, dict):
        turns.append(("system", _join_parts(_objects(system, "parts"), needs)[0]))
    for content in _objects(document, "contents"):
        text, results = _join_parts(_objects(content, "parts"), needs)
        turns += [("tool", result) for result in results]
        if text or not results:
            turns.append(("assistant" if content.get("role") == "model" else "user", text))
    fields: dict[str, Any] = {"messages": turns}
    declared = [
        one
        for tool in _objects(document, "tools")
        for key in ("functionDeclarations", "function_declarations")
        for one in _objects(tool, key)
    ]
    _add_tools(fields, declared, "parameters")
    settings = document.get("generationConfig") or document.get("generation_config")
    if isinstance(settings, dict):
        schemas = ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema")
        form = settings.get("responseMimeType") or settings.get("response_mime_type")
        if any(settings.get(key) is not None for key in schemas):
            needs.add("json_schema")
        elif form == "application/json":
            needs.add("json")
    fields["needs"] = sorted(needs)
    return fields


def _join_parts(parts: Iterable[Mapping[str, Any]], needs: set[str]) -> tuple[str, list[str]]:
    """A content's text, and the results of tools in it."""
    texts, results = [], []
    for part in parts:
        # A thought is the model's own, and is sent back unread.
        if isinstance(text := part.get("text"), str) and not part.get("thought"):
            texts.append(text)
        media = next((part[key] for key in _MEDIA_KEYS if isinstance(part.get(key), dict)), None)
        if media is not None:
            kind = str(media.get("mimeType") or media.get("mime_type") or "").partition("/")[0]
            needs.add(kind if kind in ("image", "audio") else "file")
        result = part.get("functionResponse") or part.get("function_response")
        if isinstance(result, dict):
            results.append(orjson.dumps(result.get("response")).decode())
    return "\n".join(texts), results


_MEDIA_KEYS = ("inlineData", "inline_data", "fileData", "file_data")


def _add_tools(fields: dict[str, Any], tools: Sequence[Mapping[str, Any]], schema_key: str) -> None:
    """How many tools there are, and what they add to the model's context, in bytes."""
    if not tools:
        return
    size = 0
    for tool in tools:
        size += sum(
            len(text.encode()) for key in ("name", "description") if isinstance(text := tool.get(key), str)
        )
        if (schema := tool.get(schema_key)) is not None:
            size += len(orjson.dumps(schema))
    fields["n_tools"] = len(tools)
    fields["tool_schema_bytes"] = size


def _role(message: Mapping[str, Any], known: Sequence[str]) -> str:
    role = message.get("role")
    if role not in known:
        raise RouteError(
            Reason.INVALID_FIELD, "messages.role", value="an unknown role", limit=", ".join(known)
        )
    return str(role)


def _items(document: Mapping[str, Any], key: str) -> list[Any]:
    items = document.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise RouteError(Reason.INVALID_FIELD, key, value=type(items).__name__, limit="a list")
    return items


def _objects(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items = _items(document, key)
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            raise RouteError(
                Reason.INVALID_FIELD, f"{key}[{at}]", value=type(item).__name__, limit="an object"
            )
    return items
