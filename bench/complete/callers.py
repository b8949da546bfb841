"""The arms: a direct aiohttp call of the upstream, and the same through the service. Each checks its answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc.aio
import orjson
from turnout.v1 import completion_pb2, completion_pb2_grpc

from bench.complete.services import Services
from bench.complete.upstream import answer_text

PROMPT = (
    "What are your business hours on the day before a public holiday, and may I come without an appointment?"
)
DEADLINE_S = 60.0

DIRECT, DIRECT_STREAM = "direct", "direct, streamed"
COMPLETE, COMPLETE_STREAM = "Complete", "CompleteStream"


class WrongAnswerError(AssertionError):
    """An answer is not what the upstream says."""


@dataclass(frozen=True)
class Timed:
    """One call, in ns: to its first content, and to its end."""

    first_ns: int
    whole_ns: int


Caller = Callable[[], Awaitable[Timed]]


class Callers:
    """Calls of one event loop, over connections that are kept."""

    def __init__(
        self, services: Services, session: aiohttp.ClientSession, channels: list[grpc.aio.Channel]
    ) -> None:
        self._url = services.url
        self._session = session
        stubs: list[Any] = [completion_pb2_grpc.CompletionServiceStub(channel) for channel in channels]
        self._stubs = stubs
        self._turn = 0
        self._text = answer_text(int(services.model.split("-")[1]))
        messages = [{"role": "user", "content": PROMPT}]
        self._whole_body = orjson.dumps({"model": services.model, "messages": messages})
        self._stream_body = orjson.dumps(
            {
                "model": services.model,
                "messages": messages,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        self._headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"}
        self._request = completion_pb2.CompleteRequest(prompt=PROMPT)
        self._stream_request = completion_pb2.CompleteStreamRequest(request=self._request)

    def arms(self) -> dict[str, Caller]:
        """Every way to ask, by name."""
        return {
            DIRECT: self.direct,
            DIRECT_STREAM: self.direct_stream,
            COMPLETE: self.complete,
            COMPLETE_STREAM: self.complete_stream,
        }

    async def direct(self) -> Timed:
        """A whole answer from the upstream."""
        began = time.perf_counter_ns()
        async with self._session.post(self._url, data=self._whole_body, headers=self._headers) as response:
            document = orjson.loads(await response.read())
        ended = time.perf_counter_ns() - began
        self._check(document["choices"][0]["message"]["content"])
        return Timed(ended, ended)

    async def direct_stream(self) -> Timed:
        """The upstream's stream, each event parsed, as any client must."""
        began = time.perf_counter_ns()
        first = 0
        found = []
        async with self._session.post(self._url, data=self._stream_body, headers=self._headers) as response:
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                choices = orjson.loads(line[6:])["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    first = first or time.perf_counter_ns() - began
                    found.append(text)
        ended = time.perf_counter_ns() - began
        self._check("".join(found))
        return Timed(first, ended)

    async def complete(self) -> Timed:
        """A whole answer through the service."""
        began = time.perf_counter_ns()
        response = await self._stub().Complete(self._request, timeout=DEADLINE_S)
        ended = time.perf_counter_ns() - began
        self._check(response.message.content)
        return Timed(ended, ended)

    async def complete_stream(self) -> Timed:
        """A stream through the service."""
        began = time.perf_counter_ns()
        first = 0
        found = []
        last = ""
        async for event in self._stub().CompleteStream(self._stream_request, timeout=DEADLINE_S):
            last = event.WhichOneof("event")
            if last == "text":
                first = first or time.perf_counter_ns() - began
                found.append(event.text.text)
        ended = time.perf_counter_ns() - began
        self._check("".join(found))
        if last != "finished":
            raise WrongAnswerError(f"the stream ended with {last}")
        return Timed(first, ended)

    def _stub(self) -> Any:
        self._turn += 1
        return self._stubs[self._turn % len(self._stubs)]

    def _check(self, text: str) -> None:
        if text != self._text:
            raise WrongAnswerError(f"{len(text)} characters, {len(self._text)} expected")
