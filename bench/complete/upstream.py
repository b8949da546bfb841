"""A provider that costs next to nothing: the OpenAI wire, one fixed answer, written as soon as a request is there.

    python -m bench.complete.upstream

Prints its port as a line of JSON. The model's name says how: `stream-<tokens>` answers with so many tokens at once;
`paced-<tokens>-<ms>` with so many milliseconds between them.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import cast

import orjson
import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: "
TOKEN = "word "


def answer_text(tokens: int) -> str:
    """What a model of so many tokens says."""
    return TOKEN * tokens


class _Answer:
    """The bytes of one model's answers, made once."""

    def __init__(self, model: str) -> None:
        parts = model.split("-")
        tokens = int(parts[1])
        self.pause_s = int(parts[2]) / 1000 if parts[0] == "paced" else 0.0
        usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
        shared = {"id": "chatcmpl-1", "created": 1, "model": model}
        whole = {
            **shared,
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": answer_text(tokens)},
                    "finish_reason": "stop",
                }
            ],
            "usage": usage,
        }
        body = orjson.dumps(whole)
        self.whole = _HEAD + b"application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        chunk = {**shared, "object": "chat.completion.chunk"}
        deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": TOKEN}, None)]
        deltas += [({"content": TOKEN}, None)] * (tokens - 1)
        deltas.append(({}, "stop"))
        events = [
            {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            for delta, reason in deltas
        ]
        events.append({**chunk, "choices": [], "usage": usage})
        lines = [b"data: %b\n\n" % orjson.dumps(event) for event in events] + [b"data: [DONE]\n\n"]
        head = _HEAD + b"text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.chunks = [b"%x\r\n%b\r\n" % (len(line), line) for line in lines] + [b"0\r\n\r\n"]
        self.streamed = head + b"".join(self.chunks)
        self.chunks[0] = head + self.chunks[0]


_ANSWERS: dict[str, _Answer] = {}


def _answer_of(model: str) -> _Answer:
    if model not in _ANSWERS:
        _ANSWERS[model] = _Answer(model)
    return _ANSWERS[model]


class _Connection(asyncio.Protocol):
    """Keeps a connection alive; requests have a Content-Length, and come one after the other."""

    def __init__(self) -> None:
        self._read = b""
        self._pacing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._pacing is not None:
            self._pacing.cancel()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.index(b"content-length:") + 15
            stop = head.find(b"\r\n", at)
            length = int(head[at : stop if stop >= 0 else None])
            if len(self._read) < end + 4 + length:
                return
            body = orjson.loads(self._read[end + 4 : end + 4 + length])
            self._read = self._read[end + 4 + length :]
            answer = _answer_of(body["model"])
            if not body.get("stream"):
                self._transport.write(answer.whole)
            elif not answer.pause_s:
                self._transport.write(answer.streamed)
            else:
                self._pacing = asyncio.ensure_future(self._pace(answer))

    async def _pace(self, answer: _Answer) -> None:
        for chunk in answer.chunks:
            self._transport.write(chunk)
            await asyncio.sleep(answer.pause_s)


async def serve() -> None:
    """Serves until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
