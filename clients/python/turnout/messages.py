"""Chat messages: from the form of the chat completions API to the contract's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from turnout.content_parts import write_part
from turnout.errors import invalid_field
from turnout.texts import read_mapping, read_text, require_text
from turnout.v1 import chat_pb2

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

Message: TypeAlias = Mapping[str, Any] | tuple[str, str] | chat_pb2.ChatMessage

ROLES: dict[str, chat_pb2.Role.ValueType] = {
    name.removeprefix("ROLE_").lower(): number for name, number in chat_pb2.Role.items() if number
}


def write_messages(
    messages: Iterable[Message], turns: RepeatedCompositeFieldContainer[chat_pb2.ChatMessage]
) -> None:
    """Appends messages, oldest first.

    Args:
        messages: mappings in the form of the chat completions API (role, content as text or a list of parts,
            name, tool_call_id, tool_calls), pairs (role, text), or messages of the contract.
        turns: the field to append to.

    Raises:
        InvalidRequestError: names the field, such as "messages[3].role".
    """
    for i, message in enumerate(messages):
        if isinstance(message, chat_pb2.ChatMessage):
            turns.append(message)
        elif isinstance(message, tuple):
            role, text = message
            turns.add(role=_read_role(role, f"messages[{i}]"), content=require_text(text, f"messages[{i}]"))
        else:
            path = f"messages[{i}]"
            _write_message(read_mapping(message, path), path, turns.add())


def _write_message(message: Mapping[str, Any], path: str, turn: chat_pb2.ChatMessage) -> None:
    turn.role = _read_role(message.get("role", "user"), path)
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        for j, part in enumerate(content):
            part_path = f"{path}.content[{j}]"
            write_part(read_mapping(part, part_path), part_path, turn.parts.add())
    else:
        turn.content = read_text(message, "content", path)
    if name := read_text(message, "name", path):
        turn.name = name
    if call_id := read_text(message, "tool_call_id", path):
        turn.tool_call_id = call_id
    for j, call in enumerate(message.get("tool_calls") or ()):
        _write_call(read_mapping(call, f"{path}.tool_calls[{j}]"), f"{path}.tool_calls[{j}]", turn)


def _write_call(call: Mapping[str, Any], path: str, turn: chat_pb2.ChatMessage) -> None:
    if "custom" in call:
        tool, arguments = read_mapping(call["custom"], f"{path}.custom"), "input"
    else:
        tool, arguments = read_mapping(call.get("function"), f"{path}.function"), "arguments"
    turn.tool_calls.add(
        id=read_text(call, "id", path),
        name=read_text(tool, "name", path),
        arguments_json=read_text(tool, arguments, path),
    )


def _read_role(role: object, path: str) -> chat_pb2.Role.ValueType:
    number = ROLES.get(role) if isinstance(role, str) else None
    if number is None:
        # Not shown: in a pair that was turned round, it is the text.
        raise invalid_field(f"{path}.role", "an unknown role", ", ".join(ROLES))
    return number
