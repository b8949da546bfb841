"""Token counts at the end of a provider's response, whole or streamed, of which the middle is not kept."""

from __future__ import annotations

from typing import Any

import orjson

from turnout_server.completion.tokens import TokenCounts
from turnout_server.doors.ext_proc.chat_body import ChatWire
from turnout_server.providers import anthropic, gemini, openai

# Counts stand at the end of a response, Anthropic's of the input at the beginning of a stream.
KEPT_HEAD_BYTES = 16 << 10
KEPT_TAIL_BYTES = 256 << 10


class ResponseTail:
    """Keeps what may hold counts."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """More of the body."""
        if len(self._head) < KEPT_HEAD_BYTES:
            self._head += chunk[: KEPT_HEAD_BYTES - len(self._head)]
        self._tail = (self._tail + chunk)[-KEPT_TAIL_BYTES:]
        self._size += len(chunk)

    def usage(self, wire: ChatWire) -> TokenCounts | None:
        """The counts; None where the response has none, or is too long for them to be found."""
        if not self._size:
            # The gateway shows no bodies of responses.
            return None
        documents = list(self._documents())
        if wire is ChatWire.OPENAI:
            counts = [found for one in documents if (found := openai.read_usage(one)) is not None]
        elif wire is ChatWire.GEMINI:
            counts = [
                found
                for one in documents
                if (found := gemini.read_usage(one.get("usageMetadata"))) is not None
            ]
        else:
            told: dict[str, Any] = {}
            for one in documents:
                inner = one.get("message")
                for holder in (inner, one):
                    if isinstance(holder, dict) and isinstance(usage := holder.get("usage"), dict):
                        told |= {key: value for key, value in usage.items() if value is not None}
            found = anthropic.read_usage(told)
            counts = [] if found is None else [found]
        # Of a stream the last one holds.
        return counts[-1] if counts else None

    def _documents(self) -> list[dict[str, Any]]:
        if self._size <= KEPT_TAIL_BYTES and self._tail.lstrip()[:1] in (b"{", b"["):
            whole = _parse(self._tail)
            return whole if isinstance(whole, list) else [whole] if isinstance(whole, dict) else []
        kept = self._tail if self._size <= KEPT_TAIL_BYTES else self._head + b"\n\n" + self._tail
        lines = [line[5:] for line in kept.split(b"\n") if line.startswith(b"data:") and b'"usage' in line]
        return [found for line in lines if isinstance(found := _parse(line), dict)]


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
