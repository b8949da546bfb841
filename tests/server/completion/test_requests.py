"""Every limit of the request, by its path; and that the decision is `Route`'s own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from turnout.v1 import completion_pb2 as contract
from turnout.v1 import routing_pb2
from turnout.v1.completion_pb2 import CompleteRequest, CompleteStreamRequest
from turnout.v1.routing_pb2 import RouteRequest
from turnout_server.doors.completion_codec import route_request_of

from tests.server.conftest import Running
from tests.server.rich_errors import failure_of


def asked(**fields: Any) -> CompleteRequest:
    return CompleteRequest(prompt="Where?", **fields)


def changed(change: Callable[[CompleteRequest], object]) -> CompleteRequest:
    request = asked()
    change(request)
    return request


def with_markers(request: CompleteRequest) -> None:
    request.ClearField("prompt")
    for _ in range(5):
        request.messages.add(role=1, content="a", cache_marker=True)


def with_part(request: CompleteRequest) -> None:
    request.ClearField("prompt")
    request.messages.add(role=1).parts.add()


def with_media(request: CompleteRequest) -> None:
    request.ClearField("prompt")
    request.messages.add(role=1).parts.add().image.media_type = "image/png"


def with_tool(schema: str) -> CompleteRequest:
    return changed(lambda request: request.tools.add(name="a", parameters_json_schema=schema))


DEEP = '{"$ref":"https://example.com/schema.json"}'
REFUSED = [
    (CompleteRequest(), "prompt"),
    (asked(messages=[{"role": 1, "content": "a"}]), "prompt"),
    (asked(temperature=2.1), "temperature"),
    (asked(temperature=float("nan")), "temperature"),
    (asked(top_p=0.0), "top_p"),
    (asked(top_p=1.01), "top_p"),
    (asked(max_output_tokens=0), "max_output_tokens"),
    (asked(max_output_tokens=1_000_001), "max_output_tokens"),
    (asked(stop=["a"] * 5), "stop"),
    (asked(stop=["a", ""]), "stop[1]"),
    (asked(stop=["a" * 257]), "stop[0]"),
    (asked(top_logprobs=21), "top_logprobs"),
    (asked(reasoning_effort=99), "reasoning_effort"),
    (asked(cache={"key": "a" * 65}), "cache.key"),
    (asked(cache={"lifetime": 9}), "cache.lifetime"),
    (changed(with_markers), "cache"),
    (asked(metadata={str(i): "" for i in range(17)}), "metadata"),
    (asked(metadata={"a" * 65: ""}), "metadata"),
    (asked(metadata={"a": "b" * 513}), "metadata"),
    (asked(idempotency_key="a" * 129), "idempotency_key"),
    (asked(strategy=9), "strategy"),
    (asked(tool_choice={"mode": 3}), "tool_choice.mode"),
    (asked(tool_choice={"mode": 9}), "tool_choice.mode"),
    (asked(tool_choice={"mode": 4, "tool_name": "a"}), "tool_choice.tool_name"),
    (asked(tool_choice={"tool_name": "a"}), "tool_choice.tool_name"),
    (changed(with_part), "messages[0].parts[0]"),
    (changed(with_media), "messages[0].parts[0].image"),
    (asked(gates={"skip": [0]}), "gates.skip[0]"),
    (asked(gates={"forms": [0]}), "gates.forms[0]"),
    (asked(gates={"forms": [1] * 9}), "gates.forms"),
    (asked(gates={"keywords": ["a"] * 65}), "gates.keywords"),
    (asked(gates={"forbidden": ["a", "b" * 257]}), "gates.forbidden[1]"),
    (asked(gates={"pattern": "a" * 1025}), "gates.pattern"),
    (asked(gates={"pattern": "(a"}), "gates.pattern"),
    (asked(gates={"min_chars": 1_000_001}), "gates.min_chars"),
    (asked(gates={"min_confidence": 0.0}), "gates.min_confidence"),
    (with_tool("{"), "tools[0].parameters_json_schema"),
    (with_tool(DEEP), "tools[0].parameters_json_schema"),
    (
        asked(response_format={"json_schema": {"schema_json": DEEP}}),
        "response_format.json_schema.schema_json",
    ),
    (asked(expected_output_tokens=1_000_001), "expected_output_tokens"),
    (asked(response_format={"json_schema": {"name": "a" * 65}}), "response_format.json_schema.name"),
    (asked(constraints={"min_tier": "no-such"}), "constraints.min_tier"),
]


@pytest.mark.parametrize(("request_", "field"), REFUSED, ids=[f"{i}-{f}" for i, (_, f) in enumerate(REFUSED)])
async def test_a_limit_is_told_by_its_path(request_: CompleteRequest, field: str, running: Running) -> None:
    for call in (
        running.completions.Complete(request_),
        running.completions.CompleteStream(CompleteStreamRequest(request=request_)).read(),
    ):
        error = await failure_of(call)
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
        assert error.fields == [field]
        assert error.metadata["field"] == field


SAME = [
    {"prompt": "write a python function that sorts a list"},
    {"prompt": "hello", "policy": "hasty"},
    {"prompt": "hello", "caller": {"tenant": "acme", "session_id": "s", "labels": {"a": "b"}}},
    {"prompt": "hello", "constraints": {"min_tier": "mid", "max_cost_usd": 1.0}},
    {"prompt": "hello", "response_format": {"json_object": {}}, "expected_output_tokens": 9},
    {"prompt": "hello", "tools": [{"name": "a", "description": "b"}], "context_tokens": 40_000},
    {"prompt": "hello", "answer_use": routing_pb2.ANSWER_USE_ACTION},
    {"messages": [{"role": 3, "content": "be brief"}, {"role": 1, "content": "why"}]},
]


@pytest.mark.parametrize("fields", SAME, ids=str)
async def test_the_decision_is_routes_own(fields: dict[str, Any], running: Running) -> None:
    request = CompleteRequest(**fields)
    # Before the completion, which notes the session's tier.
    routed = await running.stub.Route(route_request_of(request))
    request.decision_id = routed.decision_id
    response = await running.completions.Complete(request)
    response.decision.ClearField("decision_ns")
    routed.ClearField("decision_ns")
    assert response.decision == routed


async def test_an_answer_keeps_its_sessions_tier(running: Running) -> None:
    request = asked(caller={"session_id": "s"}, constraints={"min_tier": "frontier"})
    assert (await running.completions.Complete(request)).tier == "frontier"
    again = await running.stub.Route(RouteRequest(prompt="hi", caller={"session_id": "s"}))  # type: ignore[arg-type]
    assert again.tier == "frontier"
    assert routing_pb2.REASON_KIND_SESSION in {reason.kind for reason in again.reasons}


async def test_equal_requests_with_one_key_are_one_request(running: Running) -> None:
    request = asked(idempotency_key="k", caller={"tenant": "acme"})
    first = await running.completions.Complete(request)
    second = await running.completions.Complete(request)
    assert (first.replayed, second.replayed) == (False, True)
    second.replayed = False
    assert first == second
    request.prompt = "another"
    error = await failure_of(running.completions.Complete(request))
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT")
    other = asked(idempotency_key="k", caller={"tenant": "globex"})
    assert not (await running.completions.Complete(other)).replayed


async def test_the_shipped_policy_completes_without_a_key(running: Running) -> None:
    response = await running.completions.Complete(asked())
    assert response.message.content
    assert response.finish_reason == contract.FINISH_REASON_STOP
    assert response.cost.complete
    assert response.model_version.startswith("sim-")


async def test_completions_are_refused_beyond_their_own_limit_and_decisions_are_not(
    running: Running,
) -> None:
    running.service.port.completions.limit = 0
    error = await failure_of(running.completions.Complete(asked()))
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert error.retry_s is not None
    assert (await running.stub.Route(RouteRequest(prompt="hello"))).tier
