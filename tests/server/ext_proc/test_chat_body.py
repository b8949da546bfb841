"""The three forms, and that each says to the engine what the contract's own door says."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from turnout import build_request
from turnout_fastpath import Engine, Request, RouteError
from turnout_server.doors.codec import read_request
from turnout_server.doors.ext_proc.chat_body import (
    ChatWire,
    model_in_path,
    path_with_model,
    read_chat,
    wire_of,
)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PICTURE = base64.b64encode(b"\x89PNG").decode()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load()


OPENAI: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "What are your business hours?"}]},
    {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "this?"}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "a cat"},
            {"role": "user", "content": "Sure?"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}
        ],
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
                ],
            }
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
    },
    {
        "messages": [{"role": "user", "content": "List them as JSON"}],
        "response_format": {"type": "json_object"},
    },
]


@pytest.mark.parametrize("document", OPENAI)
def test_openai_is_decided_as_through_the_contract(engine: Engine, document: dict[str, Any]) -> None:
    ours = engine.decide(Request(**read_chat(ChatWire.OPENAI, document)))
    theirs = engine.decide(read_request(build_request(**document)))
    assert (ours.tier, ours.deployment, ours.candidates) == (
        theirs.tier,
        theirs.deployment,
        theirs.candidates,
    )
    if "image" not in str(document):
        # The contract counts a picture's bytes, which no decision by default reads.
        assert ours.digest == theirs.digest


def test_anthropic(engine: Engine) -> None:
    document = {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "What is in Oslo?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "a cat"}]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PICTURE},
                    },
                    {"type": "text", "text": "Sure?"},
                ],
            },
        ],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}],
    }
    fields = read_chat(ChatWire.ANTHROPIC, document)
    assert fields["messages"] == [
        ("system", "Be brief."),
        ("user", "What is in Oslo?"),
        ("assistant", ""),
        ("tool", "a cat"),
        ("user", "Sure?"),
    ]
    assert (fields["needs"], fields["n_tools"]) == (["image"], 1)
    assert engine.decide(Request(**fields)).tier == "frontier"


def test_gemini() -> None:
    document = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "What is in Oslo?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look"}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"it": "a cat"}}}]},
            {
                "role": "user",
                "parts": [{"inlineData": {"mimeType": "audio/wav", "data": ""}}, {"text": "Sure?"}],
            },
        ],
        "tools": [{"functionDeclarations": [{"name": "look", "parameters": SCHEMA}, {"name": "hear"}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
    }
    fields = read_chat(ChatWire.GEMINI, document)
    assert fields["messages"] == [
        ("system", "Be brief."),
        ("user", "What is in Oslo?"),
        ("assistant", ""),
        ("tool", '{"it":"a cat"}'),
        ("user", "Sure?"),
    ]
    assert (fields["needs"], fields["n_tools"]) == (["audio", "json_schema"], 2)


@pytest.mark.parametrize(
    ("wire", "document"),
    [
        (ChatWire.OPENAI, {"messages": {"role": "user"}}),
        (ChatWire.OPENAI, {"messages": [], "tools": ["x"]}),
        (ChatWire.ANTHROPIC, {"messages": [{"role": "king", "content": "x"}]}),
        (ChatWire.ANTHROPIC, {"messages": [{"role": "user", "content": 5}]}),
        (ChatWire.GEMINI, {"contents": ["x"]}),
    ],
)
def test_what_is_wrong_is_named(wire: ChatWire, document: dict[str, Any]) -> None:
    with pytest.raises(RouteError):
        Request(**read_chat(wire, document))


@pytest.mark.parametrize(
    ("path", "wire"),
    [
        ("/v1/chat/completions", ChatWire.OPENAI),
        ("/openai/v1/chat/completions?api-version=1", ChatWire.OPENAI),
        ("/v1/messages", ChatWire.ANTHROPIC),
        ("/v1/messages/count_tokens", None),
        ("/v1beta/models/auto:generateContent", ChatWire.GEMINI),
        ("/v1beta/models/auto:streamGenerateContent?alt=sse", ChatWire.GEMINI),
        ("/v1beta/models/auto:countTokens", None),
        ("/v1/embeddings", None),
        ("/", None),
    ],
)
def test_paths(path: str, wire: ChatWire | None) -> None:
    assert wire_of(path) is wire


def test_the_model_in_a_path() -> None:
    path = "/v1beta/models/auto:streamGenerateContent?alt=sse"
    assert model_in_path(path) == "auto"
    assert path_with_model(path, "gemini-9") == "/v1beta/models/gemini-9:streamGenerateContent?alt=sse"
