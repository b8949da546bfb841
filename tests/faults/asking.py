"""A bare client: requests of each wire, and what comes back with how it ended."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tests.faults.connection import LINGER_0
from tests.faults.wire import Wire

PATIENCE_S = 10.0
HEADERS: dict[Wire, dict[str, str]] = {
    Wire.OPENAI: {"authorization": "Bearer key"},
    Wire.ANTHROPIC: {"x-api-key": "key", "anthropic-version": "2023-06-01"},
    Wire.GEMINI: {"x-goog-api-key": "key"},
}


class End(Enum):
    """How a response ended."""

    WHOLE = auto()
    """As its framing says."""
    CUT = auto()
    """The connection was closed before."""
    RESET = auto()
    """The connection was reset before."""


@dataclass
class Response:
    """What came back; status 0 where nothing did."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunks: list[bytes]
    end: End

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def path_of(wire: Wire, model: str, *, stream: bool) -> str:
    """Where a wire takes a request."""
    if wire is Wire.OPENAI:
        return "/v1/chat/completions"
    if wire is Wire.ANTHROPIC:
        return "/v1/messages"
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{method}"


def body_of(wire: Wire, model: str, *, stream: bool) -> dict[str, Any]:
    """The least request that a wire takes."""
    if wire is Wire.GEMINI:
        return {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    if wire is Wire.ANTHROPIC:
        body["max_tokens"] = 100
    if stream:
        body["stream"] = True
        if wire is Wire.OPENAI:
            body["stream_options"] = {"include_usage": True}
    return body


class Line:
    """One connection to the fake, for any number of requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Line:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # Whoever reset the connection has ended it.
            return

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
    ) -> None:
        """Sends a request."""
        content = json.dumps(body).encode() if body is not None else b""
        lines = [f"{method} {path} HTTP/1.1", "Host: fake", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await self._writer.drain()

    def reset(self) -> None:
        """Ends the connection by a TCP reset."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        self._writer.transport.abort()

    async def receive(self) -> Response:
        """Reads a response to its end."""
        response = Response(0, {}, b"", [], End.WHOLE)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._receive(response)
        except asyncio.IncompleteReadError as error:
            response.body += error.partial if response.status else b""
            response.end = End.CUT
        except ConnectionResetError:
            response.end = End.RESET
        return response

    async def receive_some(self, mark: bytes) -> bytes:
        """Reads until a mark has come."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(mark)

    async def _receive(self, response: Response) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        response.status = int(first.split(" ")[1])
        response.headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        if "content-length" in response.headers:
            response.body = await self._reader.readexactly(int(response.headers["content-length"]))
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            chunk = await self._reader.readexactly(size)
            await self._reader.readexactly(2)
            response.chunks.append(chunk)
            response.body += chunk
        await self._reader.readexactly(2)


async def ask(
    port: int, wire: Wire, model: str, *, stream: bool, body: Mapping[str, Any] | None = None
) -> Response:
    """One request on a connection of its own."""
    async with Line(port) as line:
        path = path_of(wire, model, stream=stream)
        fields = body if body is not None else body_of(wire, model, stream=stream)
        await line.send(path, fields, HEADERS[wire])
        return await line.receive()


def events_of(body: bytes) -> Iterator[tuple[str, str]]:
    """Name and data of each server-sent event, by the rules of the HTML standard; a last one without its end is none."""
    name = ""
    data: list[str] = []
    for line in body.decode().replace("\r\n", "\n").split("\n"):
        field, _, value = line.partition(":")
        if not line:
            if data and any(data):
                yield name, "\n".join(data)
            name, data = "", []
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))
