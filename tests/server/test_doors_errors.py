"""What goes wrong, as clients see it."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc import StatusCode
from turnout.v1 import error_reason_pb2, routing_pb2
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteStreamRequest, RouteStreamResponse
from turnout_fastpath import Reason, RouteError
from turnout_server.doors import errors, status_code
from turnout_server.settings import Settings

from tests.server.conftest import Running, read_log, request_of, started
from tests.server.rich_errors import failure_of

INVALID = StatusCode.INVALID_ARGUMENT


# (request as JSON, reason, field, metadata besides the field; "..." where only its presence matters)
BAD_REQUESTS: list[tuple[dict[str, Any], str, str, dict[str, str]]] = [
    ({}, "PROMPT_REQUIRED", "prompt", {}),
    ({"prompt": "a", "messages": [{"content": "b"}]}, "PROMPT_REQUIRED", "prompt", {}),
    (
        {"prompt": "a", "policy": "none"},
        "UNKNOWN_POLICY",
        "policy",
        {"value": "none", "known": "default, hasty"},
    ),
    (
        {"prompt": "a", "constraints": {"min_tier": "huge"}},
        "UNKNOWN_TIER",
        "constraints.min_tier",
        {"value": "huge", "known": "small, mid, frontier"},
    ),
    (
        {"prompt": "a", "constraints": {"max_tier": "tiny"}},
        "UNKNOWN_TIER",
        "constraints.max_tier",
        {"value": "tiny", "known": "small, mid, frontier"},
    ),
    (
        {"prompt": "a", "constraints": {"allowed_deployments": ["mid-us", "x"]}},
        "UNKNOWN_DEPLOYMENT",
        "constraints.allowed_deployments[1]",
        {"value": "x"},
    ),
    (
        {"prompt": "a", "constraints": {"allowed_regions": ["mars"]}},
        "UNKNOWN_REGION",
        "constraints.allowed_regions[0]",
        {"value": "mars", "known": "eu, us"},
    ),
    (
        {"prompt": "a", "constraints": {"quality_bar": 1.5}},
        "INVALID_FIELD",
        "constraints.quality_bar",
        {"value": "1.5", "limit": "0 to 1"},
    ),
    (
        {"prompt": "a", "constraints": {"max_cost_usd": 0}},
        "INVALID_FIELD",
        "constraints.max_cost_usd",
        {"value": "0.0", "limit": "more than 0 US dollars"},
    ),
    (
        {"prompt": "a", "constraints": {"max_cost_usd": "NaN"}},
        "INVALID_FIELD",
        "constraints.max_cost_usd",
        {},
    ),
    (
        {"prompt": "a", "decision_id": "ABC"},
        "INVALID_FIELD",
        "decision_id",
        {"value": "ABC", "limit": "32 lower-case hexadecimal digits"},
    ),
    (
        {"prompt": "a", "requirements": {"expected_output_tokens": 1_000_001}},
        "INVALID_FIELD",
        "requirements.expected_output_tokens",
        {"value": "1000001", "limit": "0 to 1000000"},
    ),
    (
        {"prompt": "a", "requirements": {"context_tokens": 100_000_001}},
        "INVALID_FIELD",
        "requirements.context_tokens",
        {},
    ),
    (
        {"prompt": "a", "requirements": {"tools": [{"name": f"t{i}"} for i in range(513)]}},
        "INVALID_FIELD",
        "requirements.tools",
        {"value": "513 tools", "limit": "512 tools"},
    ),
    (
        {"prompt": "a", "requirements": {"tools": [{"name": "t"}, {"name": "t"}]}},
        "INVALID_FIELD",
        "requirements.tools[1].name",
        {"value": "t"},
    ),
    (
        {"prompt": "a", "requirements": {"tools": [{"name": "é" * 65}]}},
        "INVALID_FIELD",
        "requirements.tools[0].name",
        {"value": "130 bytes", "limit": "128 bytes"},
    ),
    (
        {"prompt": "a", "requirements": {"tools": [{"parameters_json_schema": "x" * 262_145}]}},
        "INVALID_FIELD",
        "requirements.tools",
        {"limit": "262144 bytes of schemas"},
    ),
    (
        {"prompt": "a", "requirements": {"response_format": {"json_schema": {"name": "n" * 65}}}},
        "INVALID_FIELD",
        "requirements.response_format.json_schema.name",
        {"limit": "64 bytes"},
    ),
    (
        {"prompt": "a", "requirements": {"response_format": {"json_schema": {"schema_json": "n" * 262_145}}}},
        "INVALID_FIELD",
        "requirements.response_format.json_schema.schema_json",
        {"limit": "262144 bytes"},
    ),
    (
        {"prompt": "a", "caller": {"tenant": "x" * 257}},
        "INVALID_FIELD",
        "caller.tenant",
        {"value": "257 bytes", "limit": "256 bytes"},
    ),
    ({"prompt": "a", "caller": {"user_tier": "x" * 257}}, "INVALID_FIELD", "caller.user_tier", {}),
    ({"prompt": "a", "caller": {"feature": "x" * 257}}, "INVALID_FIELD", "caller.feature", {}),
    ({"prompt": "a", "caller": {"session_id": "x" * 257}}, "INVALID_FIELD", "caller.session_id", {}),
    (
        {"prompt": "a", "caller": {"labels": {f"k{i}": "v" for i in range(33)}}},
        "INVALID_FIELD",
        "caller.labels",
        {"value": "33 labels", "limit": "32 labels"},
    ),
    ({"prompt": "a", "caller": {"labels": {"k": "v" * 257}}}, "INVALID_FIELD", "caller.labels", {}),
    (
        {"messages": [{"content": "a"}, {"content": "b", "name": "n" * 65}]},
        "INVALID_FIELD",
        "messages[1].name",
        {"limit": "64 bytes"},
    ),
    ({"messages": [{"tool_call_id": "n" * 129}]}, "INVALID_FIELD", "messages[0].tool_call_id", {}),
    ({"messages": [{"tool_calls": [{}] * 129}]}, "INVALID_FIELD", "messages[0].tool_calls", {}),
    (
        {"messages": [{"tool_calls": [{}, {"id": "n" * 129}]}]},
        "INVALID_FIELD",
        "messages[0].tool_calls[1].id",
        {},
    ),
    (
        {"messages": [{"tool_calls": [{"name": "n" * 129}]}]},
        "INVALID_FIELD",
        "messages[0].tool_calls[0].name",
        {},
    ),
    ({"messages": [{"parts": [{"text": "t"}] * 1025}]}, "INVALID_FIELD", "messages[0].parts", {}),
    (
        {"messages": [{"parts": [{"text": "t"}, {"image": {"uri": "http://a/b.png"}}]}]},
        "INVALID_FIELD",
        "messages[0].parts[1].image.uri",
        {"limit": "an https address"},
    ),
    (
        {"messages": [{"parts": [{"audio": {"uri": "https://" + "a" * 4096}}]}]},
        "INVALID_FIELD",
        "messages[0].parts[0].audio.uri",
        {"limit": "4096 bytes"},
    ),
    (
        {"messages": [{"parts": [{"file": {"media_type": "a" * 129}}]}]},
        "INVALID_FIELD",
        "messages[0].parts[0].file.media_type",
        {"limit": "128 bytes"},
    ),
    (
        {"messages": [{"content": "a"}] * 16_385},
        "INVALID_FIELD",
        "messages",
        {"value": "16385 messages", "limit": "16384 messages"},
    ),
    (
        {"prompt": "x" * 5_000_000},
        "INVALID_FIELD",
        "prompt",
        {"value": "5000000 bytes", "limit": "4194304 bytes"},
    ),
    ({"messages": [{"content": "x" * 2_500_000}] * 2}, "INVALID_FIELD", "messages", {}),
]


@pytest.mark.parametrize(
    ("wire", "reason", "field", "metadata"),
    BAD_REQUESTS,
    ids=[f"{reason}-{field}-{i}" for i, (_, reason, field, _) in enumerate(BAD_REQUESTS)],
)
async def test_a_bad_request_names_its_field(
    running: Running, wire: dict[str, Any], reason: str, field: str, metadata: dict[str, str]
) -> None:
    request = request_of(wire)
    rich = await failure_of(running.stub.Route(request))
    assert (rich.code, rich.reason, rich.domain) == (INVALID, reason, "turnout.v1")
    assert rich.fields == [field]
    assert rich.metadata["field"] == field
    assert metadata.items() <= rich.metadata.items()
    assert field in rich.message
    # As an item of a batch, it is the same.
    good = RouteRequest(prompt="hello")
    batch = await running.stub.RouteBatch(RouteBatchRequest(requests=[good, request, good]))
    kinds = [result.WhichOneof("result") for result in batch.results]
    assert kinds == ["response", "error", "response"]
    error = batch.results[1].error
    assert error.code == INVALID.value[0]
    assert error_reason_pb2.ErrorReason.Name(error.reason) == f"ERROR_REASON_{reason}"
    assert (error.field, error.message) == (field, rich.message)


@pytest.mark.parametrize(
    ("constraints", "constraint"),
    [
        ({"max_tier": "small", "max_cost_usd": 1e-9}, "cost"),
        ({"max_tier": "small", "allowed_deployments": ["mid-us"]}, "deployment"),
    ],
)
async def test_constraints_that_leave_nothing(
    running: Running, constraints: dict[str, Any], constraint: str
) -> None:
    request = request_of({"prompt": "a", "constraints": constraints})
    rich = await failure_of(running.stub.Route(request))
    assert (rich.code, rich.reason) == (StatusCode.FAILED_PRECONDITION, "NO_CANDIDATE")
    assert rich.metadata == {"constraint": constraint}
    assert rich.fields == []


# On the wire, prompt is field 1 of a request and messages 2; content is field 2 of a message and parts 3.
BROKEN_BYTES: list[tuple[bytes, str]] = [
    (b"\x0a\x02\xff\xfe", "prompt"),
    (b"\x0a\x03\xed\xa0\x80", "prompt"),
    (b"\x12\x00\x12\x04\x12\x02\xc3\x28", "messages[1].content"),
    (b"\x12\x06\x1a\x04\x0a\x02\xff\xff", "messages[0].parts[0].text"),
    (b"\x22\x04\x0a\x02\x80\x80", "caller.tenant"),
    (b"\x22\x0a\x2a\x08\x0a\x01k\x12\x03\xf0\x28\x8c", "caller.labels"),
    (b"\x2a\x04\x1a\x02\xff\xff", "constraints.allowed_deployments[0]"),
    (b"\x32\x01\xff", "policy"),
    (b"\x0a\x7fshort", "prompt"),
    (b"\x12\x05\x12\x09abc", "messages[0].content"),
    (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ""),
    (b"\x0a", "prompt"),
]


@pytest.mark.parametrize(("data", "field"), BROKEN_BYTES, ids=[data.hex() for data, _ in BROKEN_BYTES])
async def test_bytes_that_do_not_parse_name_the_field(running: Running, data: bytes, field: str) -> None:
    rich = await failure_of(running.raw("Route")(data))
    assert (rich.code, rich.reason) == (INVALID, "MALFORMED_REQUEST")
    assert rich.metadata == {"field": field}
    assert rich.fields == ([field] if field else [])


async def test_a_malformed_item_of_a_batch_fails_alone(running: Running) -> None:
    good = RouteRequest(prompt="hello").SerializeToString()
    bad = b"\x12\x04\x12\x02\xff\xff"
    items = [good, bad, good]
    data = b"".join(b"\x0a" + bytes([len(item)]) + item for item in items)
    reply = routing_pb2.RouteBatchResponse.FromString(await running.raw("RouteBatch")(data))
    assert [result.WhichOneof("result") for result in reply.results] == ["response", "error", "response"]
    error = reply.results[1].error
    assert (error.code, error.field) == (INVALID.value[0], "messages[0].content")
    assert error.reason == error_reason_pb2.ERROR_REASON_MALFORMED_REQUEST


async def test_a_batch_that_is_no_batch_fails_as_a_whole(running: Running) -> None:
    rich = await failure_of(running.raw("RouteBatch")(b"\x0a\x7f"))
    assert (rich.code, rich.reason, rich.fields) == (INVALID, "MALFORMED_REQUEST", ["requests[0]"])


async def test_a_batch_has_a_size(settings: Settings) -> None:
    async with started(dataclasses.replace(settings, max_batch=3)) as running:
        for n in (0, 4):
            request = RouteBatchRequest(requests=[RouteRequest(prompt="a")] * n)
            rich = await failure_of(running.stub.RouteBatch(request))
            assert (rich.code, rich.reason, rich.fields) == (INVALID, "INVALID_FIELD", ["requests"])
            assert rich.metadata["limit"] == "1 to 3 requests"


async def test_the_operators_text_limit(settings: Settings) -> None:
    async with started(dataclasses.replace(settings, max_text_bytes=10)) as running:
        await running.stub.Route(RouteRequest(prompt="é" * 5))
        rich = await failure_of(running.stub.Route(RouteRequest(prompt="é" * 6)))
        assert (rich.reason, rich.fields) == ("INVALID_FIELD", ["prompt"])
        messages = [{"content": "123456"}, {"parts": [{"text": "12345"}]}]
        rich = await failure_of(running.stub.Route(request_of({"messages": messages})))
        assert (rich.reason, rich.fields) == ("INVALID_FIELD", ["messages"])


async def test_a_message_beyond_the_limit_is_refused_unread(settings: Settings) -> None:
    async with started(dataclasses.replace(settings, max_message_bytes=2000)) as running:
        rich = await failure_of(running.stub.Route(RouteRequest(prompt="x" * 2001)))
        assert rich.code == StatusCode.RESOURCE_EXHAUSTED


async def test_errors_of_a_stream_stand_in_their_items_place(running: Running) -> None:
    raw = running.raw_stream("RouteStream")
    long = "c" * 129
    good = RouteStreamRequest(correlation_id="good", request=RouteRequest(prompt="hello"))
    bulky = RouteStreamRequest(correlation_id="bulky", request=RouteRequest(prompt="hello " * 20_000))
    items = [
        good.SerializeToString(),
        RouteStreamRequest(correlation_id="none").SerializeToString(),
        # request.messages[0].content is not UTF-8.
        b"\x0a\x03bad\x12\x06\x12\x04\x12\x02\xff\xff",
        # The correlation itself is not UTF-8.
        b"\x0a\x02\xff\xff",
        RouteStreamRequest(correlation_id=long).SerializeToString(),
        bulky.SerializeToString(),
        good.SerializeToString(),
    ]
    replies = [RouteStreamResponse.FromString(data) async for data in raw(_iterate(items))]
    assert [reply.correlation_id for reply in replies] == ["good", "none", "bad", "", "", "bulky", "good"]
    fields = [
        reply.result.error.field if reply.result.WhichOneof("result") == "error" else None
        for reply in replies
    ]
    assert fields == [
        None,
        "prompt",
        "messages[0].content",
        "correlation_id",
        "correlation_id",
        None,
        None,
    ]
    reasons = [reply.result.error.reason for reply in replies]
    assert reasons == [0, 3, 2, 2, 1, 0, 0]


async def _iterate(items: Iterable[bytes]) -> AsyncIterator[bytes]:
    for item in items:
        yield item


async def test_an_unexpected_error_says_nothing_but_its_incident(
    running: Running, log: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: object) -> None:
        raise RuntimeError("the prompt was: my secret")

    monkeypatch.setattr(running.service.router, "decide_uncounted", fail)
    rich = await failure_of(running.stub.Route(RouteRequest(prompt="my secret")))
    assert (rich.code, rich.reason) == (StatusCode.INTERNAL, "INTERNAL")
    assert rich.metadata.keys() == {"incident"}
    assert "secret" not in rich.message
    (event,) = [line for line in read_log(log) if line["event"] == "request_failed"]
    assert event["incident"] == rich.metadata["incident"]
    assert event["error"] == "RuntimeError"
    assert event["frames"][-1].endswith(" fail")
    assert "secret" not in json.dumps(event)
    batch = await running.stub.RouteBatch(RouteBatchRequest(requests=[RouteRequest(prompt="my secret")]))
    assert batch.results[0].error.code == StatusCode.INTERNAL.value[0]
    assert "secret" not in log.buffer.getvalue().decode()  # type: ignore[attr-defined]


async def test_an_unknown_method(running: Running) -> None:
    rich = await failure_of(running.raw("Guess")(b""))
    assert rich.code == StatusCode.UNIMPLEMENTED


async def test_long_names_fit_into_the_trailers(
    settings: Settings, document: dict[str, Any], policy: Path
) -> None:
    names = [f"{i}-" + "é%\N{SNOWMAN}" * 20 for i in range(200)]
    document["policies"] |= {name: document["policies"]["default"] for name in names}
    policy.write_text(json.dumps(document, ensure_ascii=False))
    async with started(settings) as running:
        rich = await failure_of(running.stub.Route(RouteRequest(prompt="a", policy="\N{SNOWMAN}" * 80)))
    assert (rich.code, rich.reason, rich.fields) == (INVALID, "UNKNOWN_POLICY", ["policy"])
    assert rich.metadata["known"].endswith("...")


@pytest.mark.parametrize(
    ("error", "code", "reason", "metadata"),
    [
        (errors.DeadlineExceededError(), StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", {}),
        (errors.OverloadedError(7, 0.1), StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", {"limit": "7"}),
        (errors.NotServingError(0.1), StatusCode.UNAVAILABLE, "NOT_SERVING", {}),
        (errors.MalformedRequestError("a"), INVALID, "MALFORMED_REQUEST", {"field": "a"}),
        (RouteError(Reason.INTERNAL, ""), StatusCode.INTERNAL, "INTERNAL", {"incident": "i-1"}),
        (ValueError("x"), StatusCode.INTERNAL, "INTERNAL", {"incident": "i-1"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_table(error: Exception, code: grpc.StatusCode, reason: str, metadata: dict[str, str]) -> None:
    failure = errors.describe_failure(error, lambda: "i-1")
    assert (failure.code.name, failure.reason_name, failure.metadata) == (code.name, reason, metadata)


def test_the_codes_are_grpcs() -> None:
    assert {code.name: code.value for code in status_code.StatusCode} == {
        code.name: code.value[0] for code in StatusCode
    }


def test_the_table_is_the_contracts() -> None:
    """Each reason's status code is the one that error_reason.proto states in its comment."""
    assert set(errors.STATUS_CODES) == set(error_reason_pb2.ErrorReason.values()) - {0}
    source = Path(__file__).parents[2] / "proto/turnout/v1/error_reason.proto"
    lines = source.read_text().splitlines()
    blocks = itertools.groupby(lines, key=lambda line: line.lstrip().startswith("//"))
    comment = ""
    stated = {}
    for is_comment, block in blocks:
        text = list(block)
        if is_comment:
            comment = text[0].strip().removeprefix("// ")
        elif "ERROR_REASON_" in text[0] and ":" in comment:
            stated[text[0].split("=")[0].strip()] = comment.split(":")[0]
    for reason, code in errors.STATUS_CODES.items():
        assert stated[error_reason_pb2.ErrorReason.Name(reason)] == code.name


def test_every_engine_reason_is_in_the_table() -> None:
    for reason in Reason:
        number = cast("error_reason_pb2.ErrorReason.ValueType", int(reason))
        assert error_reason_pb2.ErrorReason.Name(number) == f"ERROR_REASON_{reason.name}"
        assert number in errors.STATUS_CODES
