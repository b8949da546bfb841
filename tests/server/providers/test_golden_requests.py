"""Requests on each wire are what golden/ keeps, and what cannot be said is refused or named."""

from __future__ import annotations

import orjson
import pytest
from turnout_server.providers.chat import (
    ChatRequest,
    FormatKind,
    MediaKind,
    MediaPart,
    Message,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCall,
)
from turnout_server.providers.registry import WIRES
from turnout_server.providers.wire import NotCarried

from tests.server.providers.calls import KEY, call_of
from tests.server.providers.golden_cases import CASES, GOLDEN, encode_case, path_of


@pytest.mark.parametrize(
    ("provider", "case", "request_", "model", "stream"),
    [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in CASES],
)
def test_request_is_as_kept(
    provider: str, case: str, request_: ChatRequest, model: str, stream: bool
) -> None:
    assert encode_case(provider, request_, model, stream) == orjson.loads(
        path_of(provider, case).read_bytes()
    )


def test_every_golden_file_has_its_case() -> None:
    assert {path.name for path in GOLDEN.glob("*.json")} == {path_of(*case[:2]).name for case in CASES}


@pytest.mark.parametrize(
    ("provider", "endpoint", "url"),
    [
        ("openai", "http://127.0.0.1:1", "http://127.0.0.1:1/v1/chat/completions"),
        ("openai", "http://127.0.0.1:1/", "http://127.0.0.1:1/v1/chat/completions"),
        ("openai", "http://127.0.0.1:1/llm/v2/", "http://127.0.0.1:1/llm/v2/chat/completions"),
        ("groq", "http://127.0.0.1:1", "http://127.0.0.1:1/openai/v1/chat/completions"),
        (
            "azure",
            "https://h.openai.azure.com/openai/deployments/d",
            "https://h.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        ("anthropic", "http://127.0.0.1:1", "http://127.0.0.1:1/v1/messages"),
        ("anthropic", "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/messages"),
        ("anthropic", "http://127.0.0.1:1/anthropic", "http://127.0.0.1:1/anthropic/v1/messages"),
        ("gemini", "http://127.0.0.1:1", "http://127.0.0.1:1/v1beta/models/any-model:generateContent"),
        ("gemini", "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/models/any-model:generateContent"),
    ],
)
def test_address(provider: str, endpoint: str, url: str) -> None:
    call = call_of(provider=provider, endpoint=endpoint)
    assert WIRES[provider].encode(call, KEY, stream=False).http.url == url


def test_a_model_cannot_leave_its_path() -> None:
    call = call_of(provider="gemini", model="a?key=b#c d")
    url = WIRES["gemini"].encode(call, None, stream=False).http.url
    assert url.endswith("/models/a%3Fkey%3Db%23c%20d:generateContent")


AUDIO_URI = MediaPart(MediaKind.AUDIO, "audio/wav", uri="https://example.com/a.wav")
FILE_URI = MediaPart(MediaKind.FILE, "application/pdf", uri="https://example.com/a.pdf")
OGG = MediaPart(MediaKind.AUDIO, "audio/ogg", data=b"Ogg")
BROKEN_CALL = ToolCall("call_1", "f", '{"a":')


@pytest.mark.parametrize(
    ("provider", "request_", "field"),
    [
        ("openai", ChatRequest((Message(Role.USER, (AUDIO_URI,)),)), "messages[0].parts[0].uri"),
        ("openai", ChatRequest((Message(Role.USER, (FILE_URI,)),)), "messages[0].parts[0].uri"),
        ("openai", ChatRequest((Message(Role.USER, (OGG,)),)), "messages[0].parts[0].media_type"),
        ("anthropic", ChatRequest((Message(Role.USER, (OGG,)),)), "messages[0].parts[0]"),
        (
            "anthropic",
            ChatRequest((Message(Role.ASSISTANT, tool_calls=(BROKEN_CALL,)),)),
            "messages[0].tool_calls[0].arguments_json",
        ),
        (
            "gemini",
            ChatRequest((Message(Role.ASSISTANT, tool_calls=(BROKEN_CALL,)),)),
            "messages[0].tool_calls[0].arguments_json",
        ),
        *(
            (
                provider,
                ChatRequest((Message(Role.USER), Message(Role.SYSTEM, (TextPart("a"), OGG)))),
                "messages[1].parts[1]",
            )
            for provider in ("anthropic", "gemini")
        ),
        *(
            (
                provider,
                ChatRequest((), tools=(Tool("f", parameters_json="[]"),)),
                "tools[0].parameters_json_schema",
            )
            for provider in ("openai", "anthropic", "gemini")
        ),
        *(
            (
                provider,
                ChatRequest((), response_format=ResponseFormat(FormatKind.JSON_SCHEMA, schema_json="{")),
                "response_format.json_schema.schema_json",
            )
            for provider in ("openai", "anthropic", "gemini")
        ),
        ("openai_compatible", ChatRequest(()), "endpoint"),
    ],
)
def test_what_cannot_be_said_is_refused_by_field(provider: str, request_: ChatRequest, field: str) -> None:
    with pytest.raises(NotCarried) as caught:
        WIRES[provider].encode(call_of(request_, provider=provider), None, stream=False)
    assert caught.value.field == field


def test_media_is_bytes_or_https_alone() -> None:
    with pytest.raises(ValueError, match="https"):
        MediaPart(MediaKind.IMAGE, "image/png", uri="http://169.254.169.254/latest")
    with pytest.raises(ValueError, match="exactly one"):
        MediaPart(MediaKind.IMAGE, "image/png")
    with pytest.raises(ValueError, match="exactly one"):
        MediaPart(MediaKind.IMAGE, "image/png", data=b"", uri="https://example.com")


def test_no_key_no_header() -> None:
    for provider, wire in WIRES.items():
        endpoint = "http://127.0.0.1:1"
        encoded = wire.encode(call_of(provider=provider, endpoint=endpoint), None, stream=True)
        assert not {"Authorization", "api-key", "x-api-key", "x-goog-api-key"} & encoded.http.headers.keys()


def test_nothing_shows_key_or_prompt() -> None:
    for provider, wire in WIRES.items():
        call = call_of(provider=provider, endpoint="http://127.0.0.1:1")
        shown = repr(call) + repr(wire.encode(call, KEY, stream=True))
        assert KEY not in shown
        assert "Zürich" not in shown
