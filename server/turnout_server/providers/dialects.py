"""How servers that speak OpenAI's wire format differ from OpenAI and from each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class SchemaSupport(StrEnum):
    """How an answer is held to a JSON Schema."""

    RESPONSE_FORMAT = "response_format"
    """`response_format` of type json_schema."""
    JSON_MODE = "json_mode"
    """Any JSON object; the schema is put into the instructions."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server of the OpenAI family takes.

    Attributes:
        name: as the policy's `provider`.
        endpoint: the public address of the API; empty where there is none.
        base_path: path of an endpoint that is given without one.
        key_header: where the key goes; `Authorization` is a bearer token, any other is the key alone.
        max_tokens_field: the name of the limit on output tokens.
        developer_role: True if it knows developer messages; else they are sent as system messages.
        message_names: True if it takes `messages[].name`.
        logprobs: True if it takes `logprobs`.
        stream_usage: True if it takes `stream_options.include_usage`.
        schema: how an answer is held to a schema.
        schema_models: where set, only models that it matches are held to a schema; the others get JSON mode.
        json_word: True if JSON mode is refused unless a message says "JSON".
        parallel_tool_calls: True if it takes `parallel_tool_calls`.
        strict_tools: True if it takes `strict` on tools.
        cache_key: True if it takes `prompt_cache_key`.
        cache_control: True if it takes Anthropic's markers on content parts.
        reasoning_effort: True if it takes `reasoning_effort`.
        fixed_sampling: models that refuse `temperature`, `top_p` and `logprobs`; None: none does.
    """

    name: str
    endpoint: str = ""
    base_path: str = "/v1"
    key_header: str = "Authorization"
    max_tokens_field: str = "max_tokens"
    developer_role: bool = False
    message_names: bool = True
    logprobs: bool = True
    stream_usage: bool = True
    schema: SchemaSupport = SchemaSupport.RESPONSE_FORMAT
    schema_models: re.Pattern[str] | None = None
    json_word: bool = False
    parallel_tool_calls: bool = True
    strict_tools: bool = False
    cache_key: bool = False
    cache_control: bool = False
    reasoning_effort: bool = True
    fixed_sampling: re.Pattern[str] | None = None


# OpenAI's reasoning models. https://developers.openai.com/api/docs/guides/reasoning
_REASONING = re.compile(r"(?:o\d|gpt-(?:[5-9]|\d\d))(?!.*-chat)")
# https://console.groq.com/docs/structured-outputs
_GROQ_SCHEMA = re.compile(r"openai/gpt-oss|moonshotai/kimi-k2|meta-llama/llama-4")

OPENAI = Dialect(
    "openai",
    endpoint="https://api.openai.com/v1",
    max_tokens_field="max_completion_tokens",
    developer_role=True,
    json_word=True,
    strict_tools=True,
    cache_key=True,
    fixed_sampling=_REASONING,
)
# The v1 API; an endpoint with /openai/deployments/ in its path gets the dated one.
AZURE = Dialect(
    "azure",
    base_path="/openai/v1",
    key_header="api-key",
    max_tokens_field="max_completion_tokens",
    developer_role=True,
    json_word=True,
    strict_tools=True,
    cache_key=True,
    fixed_sampling=_REASONING,
)
GROQ = Dialect(
    "groq",
    endpoint="https://api.groq.com/openai/v1",
    base_path="/openai/v1",
    max_tokens_field="max_completion_tokens",
    message_names=False,
    logprobs=False,
    json_word=True,
    schema_models=_GROQ_SCHEMA,
)
# `prompt_tokens_details` of vLLM needs its flag --enable-prompt-tokens-details.
VLLM = Dialect("vllm", endpoint="http://127.0.0.1:8000/v1")
# Ollama's OpenAI-compatible API; longer prompts than its context are cut silently, so the window is checked before.
OLLAMA = Dialect("ollama", endpoint="http://127.0.0.1:11434/v1", parallel_tool_calls=False)
OPENROUTER = Dialect(
    "openrouter", endpoint="https://openrouter.ai/api/v1", base_path="/api/v1", cache_control=True
)
COMPATIBLE = Dialect("openai_compatible", reasoning_effort=False, parallel_tool_calls=False)

DIALECTS = {dialect.name: dialect for dialect in (OPENAI, AZURE, GROQ, VLLM, OLLAMA, OPENROUTER, COMPATIBLE)}
