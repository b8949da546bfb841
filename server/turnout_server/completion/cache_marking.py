"""Marks the long stable prefixes of a request for the provider's prompt cache, where the policy says so.

The rule: what the next request of a conversation, or of an application, will begin with too is marked, if it is long
enough for a cache: tools and system prompt, and the turns up to the last two of the assistant, after which the new ones
come. The last turn is never marked: nothing shows that it is sent again, and writing costs more than reading fresh. That
is three markers at most, of the four that a wire format has. A request in which the caller has marked anything, or given
a cache key, is left as it is.

Providers that cache by themselves get a key of the prefix instead, which brings equal prefixes to an equal cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from turnout_server.providers.chat import CacheLifetime, ChatRequest, Message, Role, TextPart, Tool

# Of English prose: where a cache begins, an estimate that is too high would mark in vain.
BYTES_PER_TOKEN = 4
# The shortest prefix that OpenAI's and Anthropic's larger models cache.
LEAST_TOKENS = 1024
# Turns of the assistant after which a marker stands: this request's, and the one that the last request wrote.
MARKED_TURNS = 2
KEY_CHARS = 32

_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)


@dataclass(frozen=True, slots=True)
class CacheRules:
    """What a policy says of prompt caches.

    Attributes:
        enabled: whether anything is marked.
        least_tokens: shorter prefixes are not, by an estimate of four bytes a token.
        lifetime: of what is written, where the provider lets one say.
    """

    enabled: bool = False
    least_tokens: int = LEAST_TOKENS
    lifetime: CacheLifetime = CacheLifetime.FIVE_MINUTES


def mark_prefixes(chat: ChatRequest, rules: CacheRules) -> ChatRequest:
    """The request with its stable prefixes marked; the same one where there is nothing to mark."""
    if not rules.enabled or _is_marked(chat):
        return chat
    least_bytes = rules.least_tokens * BYTES_PER_TOKEN
    system = [message for message in chat.messages if message.role in _SYSTEM]
    # Tools and system prompt come before all turns, wherever they stand among the messages.
    size = sum(map(_tool_bytes, chat.tools)) + sum(map(_bytes, system))
    is_long = size >= least_bytes
    ends: list[int] = []
    for index, message in enumerate(chat.messages):
        if message.role in _SYSTEM:
            continue
        size += _bytes(message)
        if message.role is Role.ASSISTANT and index < len(chat.messages) - 1 and size >= least_bytes:
            ends.append(index)
    if not is_long and not ends:
        return chat
    messages = list(chat.messages)
    for index in ends[-MARKED_TURNS:]:
        messages[index] = replace(messages[index], cache=rules.lifetime)
    stable = system if is_long else [*system, *_opening(chat.messages)]
    return replace(
        chat,
        messages=tuple(messages),
        cache_prefix=rules.lifetime if is_long else None,
        cache_key=_key(chat.tools, stable),
    )


def _is_marked(chat: ChatRequest) -> bool:
    return (
        chat.cache_prefix is not None
        or bool(chat.cache_key)
        or any(
            message.cache is not None or any(part.cache is not None for part in message.parts)
            for message in chat.messages
        )
    )


def _opening(messages: Sequence[Message]) -> list[Message]:
    """The first turn: what all requests of one conversation have in common."""
    return [message for message in messages if message.role not in _SYSTEM][:1]


def _key(tools: Sequence[Tool], messages: Sequence[Message]) -> str:
    digest = hashlib.sha256()
    for piece in (
        *(text for tool in tools for text in (tool.name, tool.description, tool.parameters_json)),
        *(text for message in messages for text in (str(message.role), message.text)),
    ):
        data = piece.encode("utf-8", "replace")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:KEY_CHARS]


def _bytes(message: Message) -> int:
    """Of text alone: what a picture counts for differs by provider."""
    texts = sum(len(part.text.encode()) for part in message.parts if isinstance(part, TextPart))
    return texts + sum(len(call.name) + len(call.arguments_json.encode()) for call in message.tool_calls)


def _tool_bytes(tool: Tool) -> int:
    return len(tool.name) + len(tool.description.encode()) + len(tool.parameters_json.encode())
