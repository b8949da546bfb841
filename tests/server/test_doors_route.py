"""Decisions over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from turnout.v1 import chat_pb2, routing_pb2
from turnout.v1.routing_pb2 import RouteBatchRequest, RouteRequest, RouteResponse, RouteStreamRequest
from turnout_fastpath import Decision
from turnout_server.doors.wire import BULKY_BYTES

from tests.server.conftest import Running, request_of

PROMPT = "write a python function that sorts a list"


def in_process(running: Running, *args: Any, **fields: Any) -> Decision:
    return running.service.router._engine.route(*args, **fields)


async def test_a_decision_is_the_engines(running: Running) -> None:
    response = await running.stub.Route(RouteRequest(prompt=PROMPT))
    decision = in_process(running, PROMPT, decision_id=response.decision_id)
    assert response.digest == decision.digest
    assert response.status == decision.status == 1
    assert (response.tier, response.deployment) == (decision.tier, decision.deployment)
    assert list(response.fallback_deployments) == decision.fallback_deployments
    assert response.strategy == decision.strategy
    assert routing_pb2.Task.Name(response.task) == f"TASK_{(decision.task or '').upper()}"
    assert response.task_probability == decision.task_probability
    assert [
        (c.tier, c.p_sufficient, c.gain, c.estimated_cost_usd, c.eligible) for c in response.candidates
    ] == [tuple(candidate) for candidate in decision.candidates]
    assert [(r.kind, r.id, r.score) for r in response.reasons] == [tuple(r) for r in decision.reasons]
    assert (response.tokens_read, response.tokens_total) == (decision.tokens_read, decision.tokens_total)
    assert not response.truncated
    assert response.propensity == 1
    assert response.policy == "default"
    revisions = response.revisions
    assert revisions.policy == decision.policy_revision
    assert revisions.bundle == decision.bundle_revision
    assert revisions.features == decision.features_revision
    assert response.decision_ns > 0
    assert not response.HasField("explanation")


# Each changes the digest or the decision, so that a field that were dropped would show.
@pytest.mark.parametrize(
    ("wire", "fields"),
    [
        ({"policy": "hasty"}, {"policy": "hasty"}),
        ({"caller": {"tenant": "acme"}}, {"tenant": "acme"}),
        ({"caller": {"user_tier": "pro"}}, {"user_tier": "pro"}),
        ({"caller": {"feature": "search"}}, {"feature": "search"}),
        ({"caller": {"session_id": "s-1"}}, {"session_id": "s-1"}),
        ({"caller": {"labels": {"b": "2", "a": "1"}}}, {"labels": {"a": "1", "b": "2"}}),
        ({"constraints": {"min_tier": "mid"}}, {"min_tier": "mid"}),
        ({"constraints": {"max_tier": "mid"}}, {"max_tier": "mid"}),
        (
            {"constraints": {"allowed_deployments": ["mid-eu", "mid-us"]}},
            {"allowed_deployments": ["mid-eu", "mid-us"]},
        ),
        ({"constraints": {"allowed_regions": ["eu"]}}, {"allowed_regions": ["eu"]}),
        ({"constraints": {"max_cost_usd": 0.001}}, {"max_cost_usd": 0.001}),
        ({"constraints": {"quality_bar": 0.0}}, {"quality_bar": 0.0}),
        ({"requirements": {"expected_output_tokens": 9}}, {"expected_output_tokens": 9}),
        ({"requirements": {"context_tokens": 90_000}}, {"context_tokens": 90_000}),
        ({"requirements": {"answer_use": "ANSWER_USE_ACTION"}}, {"answer_use": "action"}),
        ({"requirements": {"response_format": {"json_object": {}}}}, {"needs": ["json"]}),
        (
            {"requirements": {"response_format": {"json_schema": {"schema_json": "{}"}}}},
            {"needs": ["json_schema"]},
        ),
        (
            {
                "requirements": {
                    "tools": [
                        {"name": "a", "description": "bc"},
                        {"name": "d", "parameters_json_schema": "{}"},
                    ]
                }
            },
            {"n_tools": 2, "tool_schema_bytes": 6},
        ),
    ],
    ids=json.dumps,
)
async def test_every_field_reaches_the_engine(
    running: Running, wire: dict[str, Any], fields: dict[str, Any]
) -> None:
    response = await running.stub.Route(request_of({"prompt": PROMPT, **wire}))
    plain = await running.stub.Route(RouteRequest(prompt=PROMPT))
    decision = in_process(running, PROMPT, **fields)
    assert response.digest == decision.digest
    assert response.tier == decision.tier
    assert response.digest != plain.digest


async def test_messages_are_the_engines(running: Running) -> None:
    request = request_of(
        {
            "messages": [
                {"role": "ROLE_SYSTEM", "content": "Be brief."},
                {"role": "ROLE_USER", "content": "hello"},
                {"role": "ROLE_ASSISTANT", "content": "hi", "tool_calls": [{"id": "1", "name": "f"}]},
                {"role": "ROLE_TOOL", "content": "42", "tool_call_id": "1"},
                {
                    "role": "ROLE_USER",
                    "content": "what is this",
                    "parts": [
                        {"text": "and this"},
                        {"image": {"data": "MTIzNDU=", "media_type": "image/png"}},
                        {"cache_marker": True},
                    ],
                    "name": "ann",
                },
            ]
        }
    )
    response = await running.stub.Route(request)
    decision = in_process(
        running,
        messages=[
            ("system", "Be brief."),
            ("user", "hello"),
            ("assistant", "hi"),
            ("tool", "42"),
            ("user", "what is this\nand this"),
        ],
        needs=["image"],
        media_bytes=5,
    )
    assert response.digest == decision.digest
    # The only tier of the shipped policy that sees pictures.
    assert response.tier == "frontier"


async def test_a_prompt_is_one_user_message(running: Running) -> None:
    bare = await running.stub.Route(RouteRequest(prompt=PROMPT))
    message = chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content=PROMPT)
    listed = await running.stub.Route(RouteRequest(messages=[message]))
    assert bare.digest == listed.digest


async def test_all_methods_decide_alike(running: Running) -> None:
    prompts = [
        PROMPT,
        "hello",
        "",
        "prove the theorem",
        "why is the sky blue " * 300,
        "héllo wörld \N{SNOWMAN}",
    ]
    requests = [RouteRequest(prompt=prompt, explain=i == 1) for i, prompt in enumerate(prompts)]
    single = [await running.stub.Route(request) for request in requests]
    batch = await running.stub.RouteBatch(RouteBatchRequest(requests=requests))

    async def items() -> AsyncIterator[RouteStreamRequest]:
        for i, request in enumerate(requests):
            yield RouteStreamRequest(correlation_id=f"c{i}", request=request)

    stream = [item async for item in running.stub.RouteStream(items())]
    assert [item.correlation_id for item in stream] == [f"c{i}" for i in range(len(prompts))]
    batched = [result.response for result in batch.results]
    streamed = [item.result.response for item in stream]
    local = running.service.router._engine.route_many(prompts)
    for a, b, c, d in zip(single, batched, streamed, local, strict=True):
        assert isinstance(d, Decision)
        assert a.digest == b.digest == c.digest == d.digest
        for other in (b, c):
            assert comparable(a) == comparable(other)


def comparable(response: RouteResponse) -> RouteResponse:
    copy = RouteResponse()
    copy.CopyFrom(response)
    copy.ClearField("decision_id")
    copy.ClearField("decision_ns")
    return copy


async def test_a_decision_is_replayed_under_its_own_identifier(running: Running) -> None:
    given = "0123456789abcdef0123456789abcdef"
    response = await running.stub.Route(RouteRequest(prompt=PROMPT, decision_id=given))
    assert response.decision_id == given


async def test_explain(running: Running) -> None:
    response = await running.stub.Route(RouteRequest(prompt=PROMPT, explain=True))
    decision = in_process(running, PROMPT, explain=True)
    explanation = decision.explanation
    assert explanation is not None
    assert [(f.name, f.value, f.contribution) for f in response.explanation.features] == [
        tuple(feature) for feature in explanation.features
    ]
    assert list(response.explanation.task_probabilities) == list(explanation.task_probabilities.values())
    assert {b.bucket: b.similarity for b in response.explanation.buckets} == explanation.buckets
    assert response.explanation.HasField("state")


async def test_an_empty_prompt_is_decided(running: Running) -> None:
    response = await running.stub.Route(RouteRequest(prompt=""))
    assert response.status == routing_pb2.DECISION_STATUS_ABSTAINED
    assert response.tier


@pytest.mark.parametrize("prompt", ["\0", "a\0b" * 1000, "\ufeff\u202e", "\U0010ffff" * 100])
async def test_strange_text_is_decided(running: Running, prompt: str) -> None:
    response = await running.stub.Route(RouteRequest(prompt=prompt))
    assert response.tier


async def test_many_messages(running: Running) -> None:
    roles = (chat_pb2.ROLE_USER, chat_pb2.ROLE_ASSISTANT)
    turns = [chat_pb2.ChatMessage(role=roles[i % 2], content=f"turn {i}") for i in range(9_999)]
    turns.append(chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content=PROMPT))
    request = RouteRequest(messages=turns)
    response = await running.stub.Route(request)
    texts = [("user" if i % 2 == 0 else "assistant", f"turn {i}") for i in range(9_999)]
    assert response.digest == in_process(running, messages=[*texts, ("user", PROMPT)]).digest


@pytest.mark.parametrize("size", [BULKY_BYTES + 1, 1 << 20, 4 << 20])
async def test_long_text_is_decided_and_said_to_be_truncated(running: Running, size: int) -> None:
    prompt = ("why is the sky blue and not green? " * (size // 35 + 1))[:size]
    response = await running.stub.Route(RouteRequest(prompt=prompt))
    assert response.truncated
    assert response.tokens_total > response.tokens_read > 0
    assert response.digest == in_process(running, prompt).digest


async def test_little_time_leaves_rules_only(running: Running) -> None:
    request = RouteRequest(prompt=PROMPT, policy="hasty")
    # The policy wants 60 s; 30 are left.
    response = await running.stub.Route(request, timeout=30)
    assert response.status == routing_pb2.DECISION_STATUS_DEFAULTED
    assert response.reasons[-1].kind == routing_pb2.REASON_KIND_DEFAULT
    assert response.task == routing_pb2.TASK_UNSPECIFIED
    assert not response.candidates[0].HasField("p_sufficient")
    batch = await running.stub.RouteBatch(RouteBatchRequest(requests=[request]), timeout=30)
    assert batch.results[0].response.status == routing_pb2.DECISION_STATUS_DEFAULTED
    unhurried = await running.stub.Route(request)
    assert unhurried.status == routing_pb2.DECISION_STATUS_DECIDED
    ample = await running.stub.Route(request, timeout=120)
    assert ample.status == routing_pb2.DECISION_STATUS_DECIDED


async def test_a_large_batch_keeps_its_order(running: Running) -> None:
    prompts = [f"question {i} of many" for i in range(1024)]
    requests = [RouteRequest(prompt=prompt) for prompt in prompts]
    response = await running.stub.RouteBatch(RouteBatchRequest(requests=requests))
    local = running.service.router._engine.route_many(prompts)
    assert [result.response.digest for result in response.results] == [
        decision.digest for decision in local if isinstance(decision, Decision)
    ]


async def test_a_bulky_batch_keeps_its_order(running: Running) -> None:
    prompts = [f"question {i} of many " * 100 for i in range(100)]
    requests = [RouteRequest(prompt=prompt) for prompt in prompts]
    response = await running.stub.RouteBatch(RouteBatchRequest(requests=requests))
    local = running.service.router._engine.route_many(prompts)
    assert [result.response.digest for result in response.results] == [
        decision.digest for decision in local if isinstance(decision, Decision)
    ]
