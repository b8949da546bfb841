"""Messages of the OpenAI chat API as providers are asked them."""

from __future__ import annotations

from typing import Any

import pytest
from turnout_fastpath.training.data_errors import RowError
from turnout_server.labels.chat_rows import read_messages, read_tools
from turnout_server.providers.chat import MediaKind, MediaPart, Message, Role, TextPart, Tool, ToolCall

PIXEL = "data:image/png;base64,AAEC"


def test_a_conversation_with_tools_and_pictures() -> None:
    row = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "name": "joe",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ]
    }
    assert read_messages(row) == (
        Message.of(Role.SYSTEM, "Be brief."),
        Message(
            Role.USER,
            (
                TextPart("What is it?"),
                MediaPart(MediaKind.IMAGE, "image/png", data=b"\x00\x01\x02"),
                MediaPart(MediaKind.IMAGE, "image/*", uri="https://example.com/a.png"),
            ),
            name="joe",
        ),
        Message(Role.ASSISTANT, tool_calls=(ToolCall("c1", "look", '{"at": 1}'),)),
        Message(Role.TOOL, (TextPart("a cat"),), tool_call_id="c1"),
    )
    assert read_messages({"prompt": "Hi"}) == (Message.of(Role.USER, "Hi"),)


def test_tools_are_as_they_are_defined() -> None:
    parameters = {"type": "object", "properties": {"at": {"type": "integer"}}}
    told = {
        "type": "function",
        "function": {"name": "look", "description": "Looks.", "parameters": parameters},
    }
    assert read_tools({"tools": [told, {"function": {"name": "plain", "strict": True}}]}) == (
        Tool("look", "Looks.", '{"type":"object","properties":{"at":{"type":"integer"}}}'),
        Tool("plain", strict=True),
    )
    assert read_tools({}) == read_tools({"tools": 0}) == ()


@pytest.mark.parametrize(
    ("message", "column"),
    [
        ({"role": "pope", "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "audio"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]},
         "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}}]},
         "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0]"),
        ({"role": "assistant", "tool_calls": [{"id": "x"}]}, "messages[0].tool_calls[0]"),
    ],
)  # fmt: skip
def test_what_no_provider_takes_is_named(message: dict[str, Any], column: str) -> None:
    with pytest.raises(RowError) as caught:
        read_messages({"messages": [message]})
    assert caught.value.column == column


def test_tools_that_are_no_definitions_are_named() -> None:
    with pytest.raises(RowError, match="tools: 3, needed: their definitions"):
        read_tools({"tools": 3})
    with pytest.raises(RowError, match=r"tools\[0\]"):
        read_tools({"tools": [{"name": "look"}]})
