"""Calls as tests make them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnout_server.providers.chat import ChatRequest, Message, Role, StreamEvent
from turnout_server.providers.credentials import KeySource
from turnout_server.providers.protocol import Limits, ProviderCall, Target
from turnout_server.providers.sse import SseSplitter
from turnout_server.providers.wire import StreamReader

KEY = "sk-test-0123456789"


def key_source() -> KeySource:
    return KeySource("TEST_KEY", lambda: 0.0, {"TEST_KEY": KEY})


def ask(text: str = "Where is Zürich?", **fields: Any) -> ChatRequest:
    """A request of one user's turn."""
    return ChatRequest((Message.of(Role.USER, text),), **fields)


def call_of(
    request: ChatRequest | None = None,
    *,
    provider: str = "openai",
    model: str = "any-model",
    endpoint: str | None = None,
    limits: Limits | None = None,
    max_output_tokens: int | None = None,
) -> ProviderCall:
    target = Target("deployment", provider, model, endpoint, key_source(), max_output_tokens)
    return ProviderCall(target, request or ask(), limits or Limits())


def read_stream(reader: StreamReader, chunks: Iterable[bytes]) -> list[StreamEvent]:
    """All events of a stream that ends well, the last one included."""
    splitter = SseSplitter()
    found: list[StreamEvent] = []
    for chunk in chunks:
        for event in splitter.feed(chunk):
            if not reader.ended:
                found += reader.read(event)
    assert reader.finish_seen
    return [*found, reader.finish()]
