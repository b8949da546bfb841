"""The hook in LiteLLM's own proxy, whose answers are made up, with the configuration of docs/litellm.md."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
import yaml

from tests.server.ext_proc.conftest import serving
from tests.server.ext_proc.envoys import free_ports

LITELLM = os.environ.get("TURNOUT_LITELLM", "")
pytestmark = [
    pytest.mark.litellm,
    pytest.mark.skipif(not LITELLM, reason="TURNOUT_LITELLM does not name LiteLLM's executable"),
]

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "litellm.md").read_text(encoding="utf-8")
KEY = "sk-proxy"
TEAM_KEY = "sk-acme"
# Keys with teams need LiteLLM's database, or a function of the operator's own.
AUTH = f"""
from litellm.proxy._types import UserAPIKeyAuth

async def authenticate(request, api_key):
    if api_key == "{TEAM_KEY}":
        return UserAPIKeyAuth(api_key=api_key, team_id="t-1", team_alias="acme", key_alias="laptop")
    return UserAPIKeyAuth(api_key=api_key)
"""
# Seconds: the proxy imports a great deal.
START_S = 180.0
PLAIN = "What are your business hours?"
HARD = "Review this contract clause for compliance issues"


def write_configuration(folder: Path, target: str) -> None:
    """The page's two files, with answers in place of keys, and a deadline for a machine that is busy."""
    [hook] = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    [text] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    assert "127.0.0.1:50051" in hook and "timeout_s=0.05" in hook
    hook = hook.replace("127.0.0.1:50051", target).replace("timeout_s=0.05", "timeout_s=5.0")
    (folder / "turnout_hook.py").write_text(hook, encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    for entry in document["model_list"]:
        entry["litellm_params"] |= {"api_key": "none", "mock_response": f"{entry['model_name']} says hello"}
    document["general_settings"] = {"master_key": KEY, "custom_auth": "own_auth.authenticate"}
    (folder / "own_auth.py").write_text(AUTH, encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


@asynccontextmanager
async def proxying(folder: Path, target: str) -> AsyncIterator[str]:
    """The proxy's address."""
    write_configuration(folder, target)
    [port] = free_ports(1)
    environment = os.environ | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONPATH": str(ROOT / "clients" / "python"),
    }
    executable = shutil.which(LITELLM)
    assert executable is not None, LITELLM
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(Path(executable).absolute()),
            *("--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)),
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + START_S
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if process.returncode is not None or time.monotonic() > until:
                    pytest.fail((folder / "log").read_text(errors="replace")[-3000:])
                await asyncio.sleep(0.2)
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def test_the_proxy_asks_turnout(tmp_path: Path) -> None:
    # One test: the proxy takes long to start.
    async with (
        serving(tmp_path, decision_port=False, ext_proc=False) as (service, port),
        proxying(tmp_path, f"127.0.0.1:{port}") as proxy,
        openai.AsyncOpenAI(api_key=KEY, base_url=f"{proxy}/v1", max_retries=0) as client,
        anthropic.AsyncAnthropic(api_key=KEY, base_url=proxy, max_retries=0) as other,
    ):
        create = client.chat.completions.with_raw_response.create
        await check_decisions(create)
        await check_streams(client)
        await check_anthropic(other)
        await check_teams(proxy)
        service.snapshot.state.set_session("conversation-1", 1, 60.0)
        await check_sessions(create)
        with pytest.raises(openai.BadRequestError, match="nowhere"):
            await create(model="auto:nowhere", messages=[{"role": "user", "content": PLAIN}])
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
            asked = {"model": "auto", "input": "text"}
            async with session.post(f"{proxy}/v1/embeddings", json=asked) as answer:
                assert answer.status == 400
        await service.port.stop()
        fallen = await create(model="auto", messages=[{"role": "user", "content": PLAIN}])
        assert fallen.parse().choices[0].message.content == "strong says hello"
        assert fallen.headers["x-turnout-fell-back"] == "true"
        assert fallen.headers["x-turnout-status"] == "defaulted"


async def check_decisions(create: Any) -> None:
    """The prompt decides, or the policy's name; a model that is named is left alone."""
    for model, prompt, name, tier in (
        ("auto", PLAIN, "cheap", "small"),
        ("auto", HARD, "strong", "frontier"),
        ("auto:careful", PLAIN, "strong", "frontier"),
        ("cheap", HARD, "cheap", None),
    ):
        answer = await create(model=model, messages=[{"role": "user", "content": prompt}])
        assert answer.parse().choices[0].message.content == f"{name} says hello"
        assert answer.headers.get("x-turnout-tier") == tier
        if tier is None:
            assert not [key for key in answer.headers if key.startswith("x-turnout-")]
        else:
            assert len(answer.headers["x-turnout-decision-id"]) == 32
            assert answer.headers["x-turnout-fell-back"] == "false"


async def check_streams(client: openai.AsyncOpenAI) -> None:
    """A stream is decided as a whole answer is."""
    for prompt, name in ((PLAIN, "cheap"), (HARD, "strong")):
        messages: Any = [{"role": "user", "content": prompt}]
        chunks = await client.chat.completions.create(model="auto", messages=messages, stream=True)
        text = "".join([one.choices[0].delta.content or "" async for one in chunks if one.choices])
        assert text == f"{name} says hello"


async def check_anthropic(client: anthropic.AsyncAnthropic) -> None:
    """The other API of the proxy."""
    for prompt, name in ((PLAIN, "cheap"), (HARD, "strong")):
        asked: Any = {"max_tokens": 64, "model": "auto", "messages": [{"role": "user", "content": prompt}]}
        message = await client.messages.create(**asked)
        [block] = message.content
        assert getattr(block, "text", "") == f"{name} says hello"


async def check_teams(proxy: str) -> None:
    """The key's team is the tenant, of whom the policy has a rule, in both APIs."""
    async with (
        openai.AsyncOpenAI(api_key=TEAM_KEY, base_url=f"{proxy}/v1", max_retries=0) as client,
        anthropic.AsyncAnthropic(api_key=TEAM_KEY, base_url=proxy, max_retries=0) as other,
    ):
        messages: Any = [{"role": "user", "content": PLAIN}]
        # What a caller says of itself is not what the key says.
        answer = await client.chat.completions.create(
            model="auto",
            messages=messages,
            user="globex",
            extra_body={"metadata": {"turnout_tenant": "globex"}},
        )
        assert answer.choices[0].message.content == "strong says hello"
        message = await other.messages.create(max_tokens=64, model="auto", messages=messages)
        assert getattr(message.content[0], "text", "") == "strong says hello"


async def check_sessions(create: Any) -> None:
    """A session keeps its tier, whether a header names it or the metadata."""
    messages: Any = [{"role": "user", "content": PLAIN}]
    for session, name in (("conversation-1", "strong"), ("conversation-2", "cheap")):
        for named in (
            {"extra_headers": {"x-litellm-session-id": session}},
            {"extra_body": {"metadata": {"session_id": session}}},
        ):
            answer = await create(model="auto", messages=messages, **named)
            assert answer.parse().choices[0].message.content == f"{name} says hello", named
