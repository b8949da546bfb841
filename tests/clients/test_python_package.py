"""What the Python client's package holds, needs and refuses to be made with."""

from __future__ import annotations

import fnmatch
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grpc
import pytest
import turnout
from grpc_health.v1 import health_pb2
from turnout import AsyncClient, Client, TlsConfig
from turnout.bearer_token import stays_on_machine
from turnout.connection import plan_connection
from turnout.fail_open import DEFAULT_TIMEOUT_S
from turnout.service_config import load_service_config
from turnout.timeouts import plan_timeouts

from tests.clients.both_clients import PATIENT
from tests.clients.fake_routing import FakeRouting

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "python" / "turnout"


# Refuses to import anything but these and the standard library; grpcio itself tries more, and does without.
IMPORT_WITH_FEW_PACKAGES = """
import importlib.abc, sys

KNOWN = {"turnout", "grpc", "google", "typing_extensions"}

class Refusing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in KNOWN:
            raise ImportError(name)

sys.meta_path.insert(0, Refusing())
import turnout
"""


def test_importing_needs_grpc_and_protobuf_only() -> None:
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}
    subprocess.run([sys.executable, "-c", IMPORT_WITH_FEW_PACKAGES], env=environment, check=True)


def test_every_public_name_is_there_and_documented() -> None:
    assert list(turnout.__all__) == sorted(turnout.__all__)
    for name in turnout.__all__:
        if name != "__version__":
            assert getattr(turnout, name).__doc__, name


def test_one_service_config_for_the_clients_of_all_languages() -> None:
    assert (ROOT / "clients" / "service_config.json").read_bytes() == (
        PACKAGE / "service_config.json"
    ).read_bytes()


def test_the_wheel_holds_the_service_config_and_the_type_marker() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for name in ("service_config.json", "py.typed"):
        assert (PACKAGE / name).is_file()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns["turnout"])


def test_the_service_config_says_what_the_clients_promise() -> None:
    document = json.loads((PACKAGE / "service_config.json").read_text())
    by_method = {
        f"{name['service']}/{name['method']}": config
        for config in document["methodConfig"]
        for name in config["name"]
    }
    assert {method: config["timeout"] for method, config in by_method.items()} == {
        "turnout.v1.RoutingService/Route": "1s",
        "turnout.v1.RoutingService/RouteBatch": "5s",
        "turnout.v1.RoutingService/RouteStream": "3600s",
        "turnout.v1.CompletionService/Complete": "120s",
        "turnout.v1.CompletionService/CompleteStream": "600s",
        "grpc.health.v1.Health/Check": "1s",
    }
    for method in ("Route", "RouteBatch"):
        policy = by_method[f"turnout.v1.RoutingService/{method}"]["retryPolicy"]
        assert policy["maxAttempts"] == 4
        assert policy["retryableStatusCodes"] == ["UNAVAILABLE"]
    for method in (
        "RoutingService/RouteStream",
        "CompletionService/Complete",
        "CompletionService/CompleteStream",
    ):
        assert "retryPolicy" not in by_method[f"turnout.v1.{method}"]
    assert all(config["waitForReady"] is False for config in by_method.values())
    assert document["retryThrottling"] == {"maxTokens": 100, "tokenRatio": 0.1}


def test_deadlines_that_no_one_asked_for() -> None:
    assert inspect.signature(Client).parameters["route_or_timeout_s"].default == DEFAULT_TIMEOUT_S == 0.05
    timeouts = plan_timeouts(None, DEFAULT_TIMEOUT_S)
    assert (timeouts.route_s, timeouts.route_or_s, timeouts.batch_s) == (1.0, 0.05, 5.0)
    assert (timeouts.stream_s, timeouts.health_s) == (3600.0, 1.0)


def test_timeouts_are_defaults_and_no_ceilings() -> None:
    config = load_service_config()
    assert "timeout" not in config.channel_json
    assert config.timeouts_s["turnout.v1.RoutingService/Route"] == 1.0


def _plan(**kwargs: Any) -> Any:
    arguments: dict[str, Any] = {
        "tls": None,
        "credentials": None,
        "user_agent": "",
        "connections": 1,
        "options": (),
    }
    return plan_connection("localhost:1", **(arguments | kwargs))


def test_channel_options() -> None:
    options = dict(_plan().options)
    assert options["grpc.primary_user_agent"] == f"turnout-python/{turnout.__version__}"
    assert options["grpc.max_send_message_length"] == options["grpc.max_receive_message_length"] == 16 << 20
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.keepalive_permit_without_calls"] == 0
    assert "grpc.use_local_subchannel_pool" not in options


def test_a_callers_options_replace_the_clients() -> None:
    options = _plan(options=[("grpc.keepalive_time_ms", 7), ("grpc.lb_policy_name", "round_robin")]).options
    assert [value for name, value in options if name == "grpc.keepalive_time_ms"] == [7]
    assert dict(options)["grpc.lb_policy_name"] == "round_robin"


CREDENTIALS = grpc.local_channel_credentials()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tls": TlsConfig(), "credentials": CREDENTIALS}, "tls and credentials"),
        ({"connections": 0}, "connections: 0 breaks the limit: 1 to 256"),
        ({"connections": 257}, "connections: 257 breaks the limit: 1 to 256"),
        ({"user_agent": "a\nb"}, "user_agent"),
        ({"timeout_s": 0}, "timeout_s: 0 breaks the limit: more than 0 seconds"),
        ({"timeout_s": float("inf")}, "timeout_s: inf"),
        ({"route_or_timeout_s": -1.0}, "route_or_timeout_s: -1.0"),
        ({"token": "a", "target": "router.internal:50051"}, "token: router.internal:50051 is not on this"),
        ({"token": "s3cret with spaces"}, "token: printable ASCII without spaces is needed$"),
        ({"token": ""}, "token: printable ASCII"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_a_client_cannot_be_made_with(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        kind(**arguments)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"tls": TlsConfig()},
        {"credentials": CREDENTIALS},
        {"user_agent": "a"},
        {"options": [("a", 1)]},
        {"connections": 2},
    ],
)
def test_a_callers_channel_excludes_the_rest(arguments: dict[str, Any]) -> None:
    with (
        grpc.insecure_channel("localhost:1") as channel,
        pytest.raises(ValueError, match="channel: excludes"),
    ):
        Client(channel=channel, **arguments)


def test_tls_needs_both_halves_of_a_clients_identity() -> None:
    with pytest.raises(ValueError, match="both or neither"):
        TlsConfig(private_key=b"key")


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:50051", True),
        ("127.0.0.2", True),
        ("[::1]:50051", True),
        ("dns:///localhost:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("ipv6:[::1]:50051", True),
        ("unix:/run/turnout.sock", True),
        ("unix-abstract:turnout", True),
        ("router.internal:50051", False),
        ("10.0.0.1:50051", False),
        ("localhost.evil.test:50051", False),
        ("dns://127.0.0.1/router.internal:50051", False),
        ("ipv4:127.0.0.1:50051,10.0.0.1:50051", False),
        ("xds:///router", False),
    ],
)
def test_where_a_token_may_go_in_clear_text(target: str, stays: bool) -> None:
    assert stays_on_machine(target) is stays


README = (ROOT / "clients" / "python" / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_the_readmes_snippets_run(
    snippet: str, fake: FakeRouting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.health.set("", health_pb2.HealthCheckResponse.SERVING)
    monkeypatch.setattr(Client.__init__, "__defaults__", (fake.target,))
    monkeypatch.setattr(Client.__init__, "__kwdefaults__", (Client.__init__.__kwdefaults__ or {}) | PATIENT)
    exec(compile(snippet.replace("localhost:50051", fake.target), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert ("mid" in printed or "print" not in snippet) and "error" not in printed


def test_the_first_snippet_has_twelve_lines_and_prints_tier_deployment_and_reasons(
    fake: FakeRouting, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(SNIPPETS[0].splitlines()) == 12
    exec(SNIPPETS[0].replace("localhost:50051", fake.target), {})
    assert capsys.readouterr().out.splitlines() == [
        "tier:       mid",
        "deployment: mid-a",
        "reason:     RULE long-prompts",
        "reason:     BAR mid 0.5",
    ]
