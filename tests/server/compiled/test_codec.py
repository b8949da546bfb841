"""The compiled codec reads and writes what the protobuf library's path does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from turnout.v1.routing_pb2 import RouteRequest, RouteResponse
from turnout_fastpath import Engine, load_policy
from turnout_server.doors import codec
from turnout_server.doors.compiled.codec import ResponseWriter, read_request

from tests.server.compiled.agreement import MAX_TEXT_BYTES, Comparison, draw
from tests.server.compiled.wire_soup import ordinary_request
from tests.server.conftest import request_of

FULL = os.environ.get("TURNOUT_FULL") == "1"


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Engine:
    return Engine.load(bundle)


def test_both_paths_agree_on_any_bytes(engine: Engine) -> None:
    comparison = Comparison(engine)
    seen = Counter(
        comparison.compare(draw(Random(f"any {case}"))) for case in range(1_000_000 if FULL else 15_000)
    )
    # None of the kinds is rare, or little was compared.
    assert min(seen[kind] for kind in ("read", "odd", "refused", "malformed")) > 0.01 * seen.total()


def test_what_generated_code_sends_is_read(engine: Engine) -> None:
    comparison = Comparison(engine)
    seen: Counter[str] = Counter()
    for case in range(3000):
        request = ordinary_request(Random(f"ordinary {case}"))
        seen[comparison.compare(request.SerializeToString())] += 1
    assert not seen["odd"] and not seen["malformed"], seen
    assert seen["read"] > 2000, seen


@pytest.mark.parametrize(
    "wire",
    [
        {"prompt": "x", "explain": True},
        {"prompt": "x", "messages": [{"content": "y"}]},
        {},
        {"prompt": "x" * (MAX_TEXT_BYTES + 1)},
        {"prompt": "x", "caller": {"labels": {str(i): "" for i in range(33)}}},
        {"prompt": "x", "requirements": {"tools": [{"name": "a"}, {"name": "a"}]}},
        {"prompt": "x", "requirements": {"tools": [{"name": str(i)} for i in range(513)]}},
        {"prompt": "x", "constraints": {"allowedDeployments": [""] * 257}},
        {"prompt": "x", "constraints": {"allowedRegions": [""] * 65}},
        {"prompt": "x", "constraints": {"qualityBar": 1.1}},
        {"prompt": "x", "constraints": {"maxCostUsd": 0.0}},
        {"prompt": "x", "decisionId": "abc"},
        {"messages": [{"content": "x"}] * 16_385},
        {"messages": [{"parts": [{"text": ""}] * 1025}]},
        {"messages": [{"content": "x", "name": "n" * 65}]},
        {"messages": [{"content": "x", "toolCalls": [{"id": "1"}] * 129}]},
        {"messages": [{"parts": [{"image": {"uri": "http://a.b"}}]}]},
    ],
    ids=lambda wire: str(wire)[:60],
)
def test_what_needs_the_longer_way_is_left_to_it(wire: dict[str, Any]) -> None:
    assert read_request(request_of(wire).SerializeToString(), MAX_TEXT_BYTES) is None


def test_many_messages_of_many_parts(engine: Engine) -> None:
    request = RouteRequest()
    for i in range(16_384):
        message = request.messages.add(content=str(i))
        message.parts.add(text="and")
        message.parts.add(text="so on")
    data = request.SerializeToString()
    ours = read_request(data, codec.MAX_TEXT_BYTES)
    assert ours is not None
    assert engine.decide(ours).digest == engine.decide(codec.read_request(request)).digest


def test_a_request_outlives_the_message_it_came_in(engine: Engine) -> None:
    texts = [f"what is the capital of number {i}" for i in range(200)]
    requests = [read_request(RouteRequest(prompt=text).SerializeToString(), 1000) for text in texts]
    assert [engine.decide(request).digest for request in requests if request] == [
        engine.route(text).digest for text in texts
    ]


@pytest.mark.parametrize("value", [None, "text", bytearray(b"x")])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        read_request(value, 1000)


def test_the_longest_names_are_written(bundle: Path) -> None:
    document = load_policy()
    for i, tier in enumerate(document["tiers"]):
        tier["chain"] *= 8
        tier["chain"] = [{**d, "name": f"{i}-{j}-" + "n" * 120} for j, d in enumerate(tier["chain"])]
    rules = document["policies"]["default"]["rules"]
    rules[:] = [{**rules[0], "name": f"{i:04}" + "r" * 124} for i in range(60)]
    engine = Engine.load(bundle, document)
    decision = engine.route("hello")
    assert len(decision.fallback_deployments) == 15
    assert len(decision.reasons) > 40
    written = ResponseWriter().write(decision)
    assert written == codec.write_response(decision, RouteResponse()).SerializeToString()


def test_a_new_snapshot_has_its_own_names(bundle: Path) -> None:
    writer = ResponseWriter()
    document = load_policy()
    decisions = [Engine.load(bundle, document).route("hello")]
    document["tiers"][0]["name"] = document["policies"]["default"]["safe_tier"] = "tiny"
    document["policies"]["default"]["bars"]["tiers"] = {}
    decisions.append(Engine.load(bundle, document).route("hello"))
    for decision in decisions * 2:
        tiers = [candidate.tier for candidate in RouteResponse.FromString(writer.write(decision)).candidates]
        assert tiers == [candidate.tier for candidate in decision.candidates]


def places_of_text(message: Descriptor, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Field numbers that lead to each text of a message."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*path, field.number)
        elif field.message_type is not None:
            yield from places_of_text(field.message_type, (*path, field.number))


@pytest.mark.parametrize("path", list(places_of_text(RouteRequest.DESCRIPTOR)))
def test_every_text_of_the_contract_must_be_one(path: tuple[int, ...]) -> None:
    data = b"\xed\xa0\x80"
    for number in reversed(path):
        data = bytes([number << 3 | 2, len(data)]) + data
    with pytest.raises(DecodeError):
        RouteRequest.FromString(data)
    assert read_request(data, 1000) is None
