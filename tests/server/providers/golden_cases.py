"""Requests whose form on each wire is kept in golden/; `python -m tests.server.providers.golden_cases` writes them.

Read the difference before committing it: a changed golden file is a changed wire format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from turnout_server.providers.chat import (
    CacheLifetime,
    ChatRequest,
    FormatKind,
    MediaKind,
    MediaPart,
    Message,
    ReasoningEffort,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
)
from turnout_server.providers.registry import WIRES

from tests.server.providers.calls import KEY, call_of

GOLDEN = Path(__file__).parent / "golden"

WEATHER = Tool(
    "get_weather",
    "The weather of a city.",
    '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}',
    strict=True,
)
CITY = '{"type":"object","properties":{"city":{"type":"string","minLength":1}},"required":["city"]}'
OPEN_MAP = '{"type":"object","additionalProperties":{"type":"number"}}'

PLAIN = ChatRequest(
    (
        Message.of(Role.DEVELOPER, "Be brief."),
        Message(Role.USER, (TextPart("Hello"),), name="ada"),
        Message.of(Role.ASSISTANT, "Hi."),
        Message(Role.USER, (TextPart("Where is Zürich?"), TextPart("And Oslo?"))),
    ),
    temperature=1.5,
    top_p=0.9,
    max_output_tokens=200,
    stop=("END",),
    seed=7,
    top_logprobs=2,
    reasoning_effort=ReasoningEffort.LOW,
    cache_key="tenant-1",
    metadata=(("feature", "search"),),
)
TOOLS = ChatRequest(
    (
        Message.of(Role.USER, "Weather in Zürich and Oslo?"),
        Message(
            Role.ASSISTANT,
            (TextPart("Let me see."),),
            tool_calls=(
                ToolCall("call_1", "get_weather", '{"city":"Zürich"}'),
                ToolCall("call_2", "get_weather", '{"city":"Oslo"}'),
            ),
        ),
        Message(Role.TOOL, (TextPart('{"degrees":21}'),), tool_call_id="call_1"),
        Message(Role.TOOL, (TextPart("rain"),), tool_call_id="call_2"),
        Message.of(Role.USER, "And Rome?"),
    ),
    tools=(WEATHER,),
    tool_choice=ToolChoice(ToolChoiceMode.NAMED, "get_weather", parallel=False),
)
IMAGES = ChatRequest(
    (
        Message(
            Role.USER,
            (
                TextPart("What is this?"),
                MediaPart(MediaKind.IMAGE, "image/png", data=b"\x89PNG"),
                MediaPart(MediaKind.IMAGE, "image/jpeg", uri="https://example.com/a.jpg"),
                MediaPart(MediaKind.FILE, "application/pdf", data=b"%PDF", name="a.pdf"),
            ),
        ),
    )
)
AUDIO = ChatRequest((Message(Role.USER, (MediaPart(MediaKind.AUDIO, "audio/wav", data=b"RIFF"),)),))
CACHED = ChatRequest(
    (
        Message(Role.SYSTEM, (TextPart("A long handbook."),)),
        Message(Role.USER, (TextPart("A long document.", cache=CacheLifetime.FIVE_MINUTES),)),
        Message.of(Role.ASSISTANT, "Read."),
        Message(Role.USER, (TextPart("One."),), cache=CacheLifetime.ONE_HOUR),
        Message(Role.ASSISTANT, (TextPart("Two."),), cache=CacheLifetime.FIVE_MINUTES),
        Message(Role.USER, (TextPart("Three."),), cache=CacheLifetime.FIVE_MINUTES),
    ),
    cache_prefix=CacheLifetime.ONE_HOUR,
)
SCHEMA = ChatRequest(
    (Message.of(Role.USER, "Name a city."),),
    response_format=ResponseFormat(FormatKind.JSON_SCHEMA, "a city", CITY, strict=True),
)
OPEN_SCHEMA = ChatRequest(
    (Message.of(Role.USER, "Populations?"),),
    tools=(WEATHER,),
    response_format=ResponseFormat(FormatKind.JSON_SCHEMA, "populations", OPEN_MAP),
)
JSON = ChatRequest(
    (Message.of(Role.USER, "Name a city."),), response_format=ResponseFormat(FormatKind.JSON_OBJECT)
)

# Provider, case, request, model, stream.
CASES: list[tuple[str, str, ChatRequest, str, bool]] = [
    ("openai", "plain", PLAIN, "gpt-4.1-mini", True),
    ("openai", "reasoning_model", PLAIN, "gpt-5-mini", False),
    ("openai", "tools", TOOLS, "gpt-4.1-mini", False),
    ("openai", "images", IMAGES, "gpt-4.1-mini", False),
    ("openai", "audio", AUDIO, "gpt-4o-audio", False),
    ("openai", "schema", SCHEMA, "gpt-4.1-mini", False),
    ("openai", "json", JSON, "gpt-4.1-mini", False),
    ("azure", "plain", PLAIN, "house-deployment", True),
    ("groq", "plain", PLAIN, "llama-3.3-70b-versatile", True),
    ("groq", "schema", SCHEMA, "llama-3.3-70b-versatile", False),
    ("groq", "schema_model", SCHEMA, "openai/gpt-oss-120b", False),
    ("vllm", "plain", PLAIN, "qwen3-8b", True),
    ("ollama", "tools", TOOLS, "qwen3:8b", False),
    ("openrouter", "cached", CACHED, "anthropic/claude-haiku-4.5", True),
    ("openai_compatible", "plain", PLAIN, "any", False),
    ("anthropic", "plain", PLAIN, "claude-haiku-4-5", True),
    ("anthropic", "adaptive", PLAIN, "claude-opus-5", False),
    ("anthropic", "tools", TOOLS, "claude-haiku-4-5", False),
    ("anthropic", "images", IMAGES, "claude-haiku-4-5", False),
    ("anthropic", "cached", CACHED, "claude-haiku-4-5", True),
    ("anthropic", "schema", SCHEMA, "claude-haiku-4-5", False),
    ("anthropic", "schema_by_tool", SCHEMA, "claude-3-5-haiku-20241022", False),
    ("anthropic", "open_schema", OPEN_SCHEMA, "claude-haiku-4-5", False),
    ("anthropic", "open_schema_adaptive", OPEN_SCHEMA, "claude-opus-5", False),
    ("anthropic", "json", JSON, "claude-haiku-4-5", False),
    ("gemini", "plain", PLAIN, "gemini-2.5-flash", True),
    ("gemini", "tools", TOOLS, "gemini-3.1-flash-lite", False),
    ("gemini", "images", IMAGES, "gemini-2.5-flash", False),
    ("gemini", "audio", AUDIO, "gemini-2.5-flash", False),
    ("gemini", "schema", SCHEMA, "gemini-2.5-flash", False),
    ("gemini", "json", JSON, "gemini-3.1-flash-lite", True),
]


def encode_case(provider: str, request: ChatRequest, model: str, stream: bool) -> dict[str, Any]:
    """What goes onto the wire, and what is left out."""
    endpoint = "https://house.openai.azure.com" if provider == "azure" else None
    if provider == "openai_compatible":
        endpoint = "http://127.0.0.1:9000"
    call = call_of(request, provider=provider, model=model, endpoint=endpoint, max_output_tokens=4096)
    encoded = WIRES[provider].encode(call, KEY, stream=stream)
    return {
        "url": encoded.http.url,
        "headers": dict(encoded.http.headers),
        "body": orjson.loads(encoded.http.body),
        "ignored": list(encoded.ignored),
    }


def path_of(provider: str, case: str) -> Path:
    return GOLDEN / f"{provider}.{case}.json"


def write() -> None:
    """Writes all golden files anew."""
    for provider, case, request, model, stream in CASES:
        found = encode_case(provider, request, model, stream)
        path_of(provider, case).write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    write()
