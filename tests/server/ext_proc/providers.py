"""Two fake providers that keep every byte that they get, and answer in the form that they are asked in."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class FakeProvider:
    """A server on loopback; its answers begin with its name.

    Attributes:
        status: of its answers to chat requests.
        may_begin: cleared, requests are read and not answered.
        may_end: cleared, streams stop after their first event.
    """

    name: str
    port: int = 0
    status: int = 200
    seen: list[Seen] = field(default_factory=list)
    may_begin: asyncio.Event = field(default_factory=_set)
    may_end: asyncio.Event = field(default_factory=_set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any path: by its end, in the wire's form, streamed where that is asked for."""
        body = await request.read()
        self.seen.append(Seen(request.path_qs, {k.lower(): v for k, v in request.headers.items()}, body))
        await self.may_begin.wait()
        document: dict[str, Any] = {}
        # It answers whatever it is asked.
        with contextlib.suppress(ValueError):
            document = json.loads(body) if body[:1] == b"{" else {}
        streamed = bool(document.get("stream")) or "stream" in request.path
        if request.path.endswith("/messages"):
            return await self._send(request, _anthropic(self.name, document, streamed), streamed)
        if request.path.endswith("/chat/completions"):
            return await self._send(request, _openai(self.name, document, streamed), streamed)
        if "/models/" in request.path:
            return await self._send(request, _gemini(self.name, streamed), streamed)
        return web.Response(body=body or b"nothing", content_type="application/octet-stream")

    async def _send(self, request: web.Request, pieces: list[str], streamed: bool) -> web.StreamResponse:
        if not streamed:
            return web.Response(text=pieces[0], status=self.status, content_type="application/json")
        response = web.StreamResponse(status=self.status, headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        # A caller may be gone.
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await response.write(piece.encode())
                await self.may_end.wait()
                await asyncio.sleep(0)
            await response.write_eof()
        return response


def _openai(name: str, document: dict[str, Any], streamed: bool) -> list[str]:
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    base = {"id": "c1", "created": 1, "model": document.get("model", "")}
    if not streamed:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": f"{name} says hello"},
            "finish_reason": "stop",
        }
        return [json.dumps({**base, "object": "chat.completion", "choices": [choice], "usage": usage})]
    chunk = {**base, "object": "chat.completion.chunk"}
    deltas = [
        ({"role": "assistant", "content": name}, None),
        ({"content": " says hello"}, None),
        ({}, "stop"),
    ]
    events = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    events.append({**chunk, "choices": [], "usage": usage})
    return [*(f"data: {json.dumps(event)}\n\n" for event in events), "data: [DONE]\n\n"]


def _anthropic(name: str, document: dict[str, Any], streamed: bool) -> list[str]:
    message = {"id": "m1", "type": "message", "role": "assistant", "model": document.get("model", "")}
    if not streamed:
        content = [{"type": "text", "text": f"{name} says hello"}]
        usage = {"input_tokens": 11, "output_tokens": 7}
        return [
            json.dumps(
                {
                    **message,
                    "content": content,
                    "stop_reason": "end_turn",
                    "stop_sequence": None,
                    "usage": usage,
                }
            )
        ]
    started = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    events: list[tuple[str, dict[str, Any]]] = [
        ("message_start", {"message": {**started, "usage": {"input_tokens": 11, "output_tokens": 1}}}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": f"{name} says hello"}}),
        ("content_block_stop", {"index": 0}),
        (
            "message_delta",
            {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 7}},
        ),
        ("message_stop", {}),
    ]
    return [f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n" for kind, data in events]


def _gemini(name: str, streamed: bool) -> list[str]:
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    content = {"role": "model", "parts": [{"text": f"{name} says hello"}]}
    document = json.dumps(
        {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}
    )
    return [f"data: {document}\n\n"] if streamed else [document]


@asynccontextmanager
async def providing(name: str) -> AsyncIterator[FakeProvider]:
    """A provider that serves."""
    provider = FakeProvider(name)
    application = web.Application(client_max_size=64 << 20)
    application.router.add_route("*", "/{tail:.*}", provider.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
    await site.start()
    server: Any = site._server
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        await runner.cleanup()
