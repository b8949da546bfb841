"""A request's limits, and the forms in which its text may come."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath import Reason, Request, RouteError
from turnout_fastpath.reader import Reader
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import deployment, document, policy, tier
from tests.fastpath.synthetic import toy_vocabulary

MIB = 1 << 20
READER = Reader(toy_vocabulary())


def refused(**fields: Any) -> RouteError:
    """What a request with these fields is refused with."""
    fields = {"prompt": "hello"} | fields
    with pytest.raises(RouteError) as caught:
        Request(fields.pop("prompt"), **fields)
    return caught.value


def feature(name: str, prompt: str | None, **fields: Any) -> float:
    """A raw feature of a request."""
    return float(READER.read(Request(prompt, **fields)).features[ALL_FEATURE_NAMES.index(name)])


def pieces(**fields: Any) -> Any:
    """The word pieces that are read of a request."""
    return READER.read(Request(fields.pop("prompt", None), **fields)).ids.tolist()


@pytest.mark.parametrize(
    ("fields", "field", "value", "limit"),
    [
        ({"prompt": "x" * (4 * MIB + 1)}, "prompt", "4194305 bytes", "4194304 bytes"),
        ({"prompt": 7}, "prompt", "int", "str or bytes"),
        (
            {"prompt": None, "messages": [("user", "")] * 16385},
            "messages",
            "16385 messages",
            "16384 messages",
        ),
        (
            {"prompt": None, "messages": [("user", "x" * MIB)] * 4 + [("system", "y")]},
            "messages",
            "4194305 bytes of text",
            "4194304 bytes",
        ),
        (
            {"prompt": None, "messages": [("user", ""), ("User", "")]},
            "messages[1].role",
            "User",
            "user, assistant, system, developer, tool",
        ),
        ({"policy": "p" * 257}, "policy", "257 bytes", "256 bytes"),
        ({"tenant": "é" * 129}, "caller.tenant", "258 bytes", "256 bytes"),
        ({"user_tier": "t" * 257}, "caller.user_tier", "257 bytes", "256 bytes"),
        ({"feature": "f" * 257}, "caller.feature", "257 bytes", "256 bytes"),
        ({"session_id": "s" * 257}, "caller.session_id", "257 bytes", "256 bytes"),
        ({"min_tier": "m" * 257}, "constraints.min_tier", "257 bytes", "256 bytes"),
        ({"max_tier": "m" * 257}, "constraints.max_tier", "257 bytes", "256 bytes"),
        ({"labels": {str(i): "" for i in range(33)}}, "caller.labels", "33 labels", "32 labels"),
        ({"labels": {"k" * 257: ""}}, "caller.labels", "257 bytes", "256 bytes"),
        ({"labels": {"": "v" * 257}}, "caller.labels", "257 bytes", "256 bytes"),
        ({"allowed_deployments": ["d"] * 257}, "constraints.allowed_deployments", "257 names", "256 names"),
        ({"allowed_regions": ["r"] * 65}, "constraints.allowed_regions", "65 names", "64 names"),
        ({"max_cost_usd": 0}, "constraints.max_cost_usd", "0", "more than 0 US dollars"),
        ({"max_cost_usd": -0.5}, "constraints.max_cost_usd", "-0.5", "more than 0 US dollars"),
        ({"max_cost_usd": float("nan")}, "constraints.max_cost_usd", "nan", "more than 0 US dollars"),
        ({"max_cost_usd": float("inf")}, "constraints.max_cost_usd", "inf", "more than 0 US dollars"),
        ({"quality_bar": -0.01}, "constraints.quality_bar", "-0.01", "0 to 1"),
        ({"quality_bar": 1.01}, "constraints.quality_bar", "1.01", "0 to 1"),
        ({"quality_bar": float("nan")}, "constraints.quality_bar", "nan", "0 to 1"),
        (
            {"needs": ["json", "video"]},
            "requirements.needs",
            "video",
            "json, json_schema, tools, image, audio, file",
        ),
        ({"n_tools": -1}, "requirements.tools", "-1", "512 tools"),
        ({"n_tools": 513}, "requirements.tools", "513", "512 tools"),
        ({"n_tools": 1 << 40}, "requirements.tools", str(1 << 40), "512 tools"),
        ({"expected_output_tokens": -1}, "requirements.expected_output_tokens", "-1", "0 to 1000000"),
        (
            {"expected_output_tokens": 1_000_001},
            "requirements.expected_output_tokens",
            "1000001",
            "0 to 1000000",
        ),
        (
            {"expected_output_tokens": 1 << 40},
            "requirements.expected_output_tokens",
            str(1 << 40),
            "0 to 1000000",
        ),
        ({"context_tokens": -1}, "requirements.context_tokens", "-1", "0 to 100000000"),
        ({"context_tokens": 100_000_001}, "requirements.context_tokens", "100000001", "0 to 100000000"),
        (
            {"answer_use": "fun"},
            "requirements.answer_use",
            "fun",
            "unspecified, person, program, prompt, action",
        ),
        ({"decision_id": "0" * 31}, "decision_id", "0" * 31, "32 lower-case hexadecimal digits"),
        ({"decision_id": "A" * 32}, "decision_id", "A" * 32, "32 lower-case hexadecimal digits"),
        ({"decision_id": "g" * 32}, "decision_id", "g" * 32, "32 lower-case hexadecimal digits"),
        ({"decision_id": "00 " * 16}, "decision_id", "00 " * 16, "32 lower-case hexadecimal digits"),
    ],
)
def test_broken_limit_names_field_value_and_limit(
    fields: Mapping[str, Any], field: str, value: str, limit: str
) -> None:
    error = refused(**fields)
    assert (error.reason, error.field, error.value, error.limit) == (
        Reason.INVALID_FIELD,
        field,
        value,
        limit,
    )
    assert str(error) == f"{field}: {value} breaks the limit: {limit}"


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "x" * (4 * MIB)},
        {"prompt": None, "messages": [("user", "hello")] * 10_000},
        {"prompt": None, "messages": [("user", "")] * 16384},
        {"prompt": None, "messages": [("tool", "x" * MIB)] * 4},
        {"tenant": "é" * 128, "session_id": "s" * 256},
        {"labels": {f"{i:0256}": "v" * 256 for i in range(32)}},
        {"allowed_deployments": ["d"] * 256, "allowed_regions": ["r"] * 64},
        {"max_cost_usd": 1e-9, "quality_bar": 0},
        {"max_cost_usd": 1e9, "quality_bar": 1},
        {"n_tools": 512, "expected_output_tokens": 1_000_000, "context_tokens": 100_000_000},
        {"decision_id": "0" * 32},
        {"labels": {}, "needs": (), "policy": "", "tenant": ""},
    ],
)
def test_limit_itself_is_allowed(fields: dict[str, Any]) -> None:
    fields = {"prompt": "hello"} | fields
    assert feature("messages", fields.pop("prompt"), **fields) == len(fields.get("messages", ["hello"]))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": None, "messages": []}, "messages"),
        ({"prompt": "hello", "messages": [("user", "hello")]}, "prompt"),
        ({"prompt": "", "messages": []}, "prompt"),
    ],
)
def test_exactly_one_of_prompt_and_messages(fields: Mapping[str, Any], field: str) -> None:
    error = refused(**fields)
    assert (error.reason, error.field) == (Reason.PROMPT_REQUIRED, field)
    assert str(error) == f"{field}: exactly one of prompt and messages is needed"


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (("user", None), "messages[1].content", "NoneType"),
        (("user", 5), "messages[1].content", "int"),
        (("user", bytearray(b"x")), "messages[1].content", "bytearray"),
        ({"role": "user", "content": 5}, "messages[1].content", "int"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[1].content[0].text", "NoneType"),
        (
            {"role": "user", "content": [{"type": "text", "text": b"x"}]},
            "messages[1].content[0].text",
            "bytes",
        ),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[1].content[0].type", "video"),
        ({"role": "user", "content": ["x"]}, "messages[1].content[0].type", "None"),
        ({"role": ["user"], "content": "x"}, "messages[1].role", "['user']"),
        ({"role": None, "content": "x"}, "messages[1].role", "None"),
        ("user", "messages[1]", "str"),
        (("user",), "messages[1]", "tuple"),
        (("user", "x", "y"), "messages[1]", "tuple"),
        (None, "messages[1]", "NoneType"),
    ],
)
def test_malformed_message_is_named(message: Any, field: str, value: str) -> None:
    error = refused(prompt=None, messages=[("user", "hello"), message])
    assert (error.reason, error.field, error.value) == (Reason.INVALID_FIELD, field, value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"labels": {"k": None}}, "caller.labels"),
        ({"allowed_deployments": ["a", None]}, "constraints.allowed_deployments"),
        ({"allowed_regions": [None]}, "constraints.allowed_regions"),
        ({"allowed_regions": [5]}, "constraints.allowed_regions"),
    ],
)
def test_name_that_is_no_text_is_refused(fields: Mapping[str, Any], field: str) -> None:
    error = refused(**fields)
    assert (error.reason, error.field) == (Reason.INVALID_FIELD, field)


@pytest.mark.parametrize(
    "fields", [{"tenant": b"bytes"}, {"n_tools": "1"}, {"labels": [("a", "b")]}, {"colour": "red"}]
)
def test_argument_of_another_type_is_a_type_error(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Request("hello", **fields)


def test_negative_sizes_count_as_none() -> None:
    sizes = {"media_bytes": -5, "tool_schema_bytes": -5}
    assert feature("media_bytes", "hello", **sizes) == feature("tool_schema_bytes", "hello", **sizes) == 0


def test_text_may_be_bytes() -> None:
    assert pieces(prompt=b"write code") == pieces(prompt="write code")
    assert pieces(messages=[("user", b"write code")]) == pieces(prompt="write code")


def test_invalid_utf8_and_lone_surrogates_read_as_replacement_characters() -> None:
    expected = pieces(prompt="hello \ufffd\ufffd\ufffd code")
    assert pieces(prompt=b"hello \xed\xa0\x80 code") == expected
    assert pieces(prompt="hello \ud800 code") == expected
    assert pieces(messages=[{"role": "user", "content": "hello \ud800 code"}]) == expected


def test_nul_is_text_like_any_other() -> None:
    assert pieces(prompt="hello\0 code\0") == pieces(prompt="hello code")
    assert feature("bytes", "\0" * 5) == 5


@given(st.text(max_size=50) | st.binary(max_size=50))
def test_any_text_can_be_read(text: str | bytes) -> None:
    assert pieces(prompt=text) == pieces(messages=[("user", text)])


def test_parts_of_the_chat_completions_form_are_joined() -> None:
    parts = [{"type": "text", "text": "write"}, {"type": "input_text", "text": "code"}]
    assert pieces(messages=[{"role": "user", "content": parts}]) == pieces(prompt="write\ncode")


def test_messages_may_be_any_mapping_and_any_sequence() -> None:
    expected = pieces(prompt="write code")
    message = MappingProxyType({"content": "write code"})
    assert pieces(messages=(message,)) == expected
    assert pieces(messages=(item for item in [("user", "write code")])) == expected


def test_assistant_turn_without_content_is_empty() -> None:
    turns = [
        {"role": "assistant", "content": None},
        {"role": "tool", "content": []},
        {"role": "user", "content": "code"},
    ]
    assert pieces(messages=turns) == pieces(prompt="code")


def test_role_of_a_newer_contract_reads_as_a_users_turn() -> None:
    assert (
        pieces(messages=[(99, "write code")])
        == pieces(messages=[(0, "write code")])
        == pieces(prompt="write code")
    )


@pytest.mark.parametrize(
    ("kind", "need"),
    [
        ("image_url", "image"),
        ("image", "image"),
        ("input_image", "image"),
        ("input_audio", "audio"),
        ("audio", "audio"),
        ("file", "file"),
        ("input_file", "file"),
        ("document", "file"),
    ],
)
def test_other_parts_need_a_deployment_that_takes_them(engine_of: EngineMaker, kind: str, need: str) -> None:
    able = tier("top", None, deployment("able", modalities=["text", need]))
    engine = engine_of(
        document(
            tiers=[tier("small", "small", deployment("unable", modalities=["text"])), able], safe_tier="top"
        )
    )
    content = [{"type": "text", "text": "hello"}, {"type": kind}]
    assert engine.route(messages=[{"role": "user", "content": content}]).deployment == "able"
    assert engine.route("hello").deployment == "unable"


def test_length_that_a_container_reports_is_not_trusted() -> None:
    class Liar(list[Any]):
        def __len__(self) -> int:
            return 1

    class LyingLabels(dict[str, str]):
        def __len__(self) -> int:
            return 1

    assert pieces(messages=Liar([("user", "a")] * 100 + [("user", "code " * 20)])) == pieces(
        prompt="code " * 20
    )
    assert refused(labels=LyingLabels({str(i): "" for i in range(500)})).value == "500 labels"
    assert refused(allowed_regions=Liar(["r"] * 500)).value == "500 names"


def test_labels_may_come_in_any_order(engine_of: EngineMaker) -> None:
    engine = engine_of()
    digests = {
        engine.route("hello", labels=labels).digest
        for labels in (
            {"a": "1", "b": "2", "c": "3"},
            {"c": "3", "b": "2", "a": "1"},
            {"b": "2", "a": "1", "c": "3"},
        )
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("fields", "reason", "field", "known"),
    [
        ({"policy": "none"}, "POLICY", "policy", ("default", "other")),
        ({"min_tier": "none"}, "TIER", "constraints.min_tier", ("small", "mid", "frontier")),
        ({"max_tier": "none"}, "TIER", "constraints.max_tier", ("small", "mid", "frontier")),
        (
            {"allowed_deployments": ["mid-us", "none"]},
            "DEPLOYMENT",
            "constraints.allowed_deployments[1]",
            (),
        ),
        ({"allowed_regions": ["none"]}, "REGION", "constraints.allowed_regions[0]", ("eu", "us")),
    ],
)
def test_name_that_the_policy_does_not_have(
    engine_of: EngineMaker, fields: Any, reason: str, field: str, known: tuple[str, ...]
) -> None:
    engine = engine_of(document(policies={"default": policy(), "other": policy()}))
    with pytest.raises(RouteError) as caught:
        engine.route("hello", **fields)
    error = caught.value
    assert (error.reason.name, error.field, error.known) == (f"UNKNOWN_{reason}", field, known)
    listed = f"; known: {', '.join(known)}" if known else ""
    assert str(error) == f"{field}: no {reason.lower()} 'none'{listed}"


def test_least_tier_above_the_greatest(engine_of: EngineMaker) -> None:
    with pytest.raises(RouteError) as caught:
        engine_of().route("hello", min_tier="frontier", max_tier="mid")
    error = caught.value
    assert (error.reason, error.field) == (Reason.INVALID_FIELD, "constraints.min_tier")
    assert (error.value, error.limit) == ("frontier", "at most max_tier 'mid'")


def test_request_keeps_its_text_alive(engine_of: EngineMaker) -> None:
    def turns() -> Iterator[tuple[str, str]]:
        for i in range(20):
            yield "user", f"write code number {i} and prove it, with a poem of the capital"

    request = Request(messages=list(turns()), labels={f"k{1}": f"v{1}"}, allowed_regions=[f"{'u'}s"])  # type: ignore[arg-type]
    first = engine_of().decide(request).digest
    gc.collect()
    assert engine_of().decide(request).digest == first


@pytest.mark.parametrize(
    "call",
    [
        "engine.decide(None)",
        "engine.install(None)",
        "Decision()",
        "Engine(None)",
        "engine.route_many([None])[0].field",
    ],
)
def test_none_in_the_place_of_an_object_does_not_crash(call: str, engine_of: EngineMaker) -> None:
    script = f"""
import sys
from turnout_fastpath import Decision, Engine, load_policy
from pathlib import Path
engine = Engine.load(sys.argv[1], __import__("json").loads(sys.argv[2]))
try:
    {call}
except TypeError:
    pass
"""
    bundle = engine_of().snapshot.bundle.path
    run = subprocess.run(
        [sys.executable, "-c", script, str(bundle), json.dumps(document())],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
