"""A client generated from the committed baseline descriptor works against the service, and against a newer one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from tests.clients.fake_routing import PATIENCE_S
from tests.conformance.services import Services, running

BASELINE = Path(__file__).parents[2] / "proto" / "baseline.binpb"


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def baseline() -> DescriptorPool:
    """The contract as it was published, apart from what this process was built with."""
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(BASELINE.read_bytes()).file:
        pool.Add(file)
    return pool


def call(channel: grpc.Channel, method: MethodDescriptor, requests: list[dict[str, Any]]) -> list[Any]:
    """The answers of a method that is called by nothing but its descriptor."""
    asked = message_factory.GetMessageClass(method.input_type)
    answer = message_factory.GetMessageClass(method.output_type)
    streams = method.client_streaming, method.server_streaming
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    path = f"/{method.containing_service.full_name}/{method.name}"
    stub = kinds[streams](path, asked.SerializeToString, answer.FromString)
    messages = [asked(**request) for request in requests]
    found = stub(iter(messages) if method.client_streaming else messages[0], timeout=PATIENCE_S)
    return list(found) if method.server_streaming else [found]


PROMPT = {"prompt": "What are your business hours?"}


@pytest.mark.parametrize("service", ["main", "decision"])
def test_every_method_of_the_baseline_answers(
    service: str, services: Services, baseline: DescriptorPool
) -> None:
    routing = baseline.FindServiceByName("turnout.v1.RoutingService")
    with grpc.insecure_channel(services.addresses[service]) as channel:
        (routed,) = call(channel, routing.methods_by_name["Route"], [PROMPT])
        (batch,) = call(channel, routing.methods_by_name["RouteBatch"], [{"requests": [PROMPT, {}]}])
        streamed = call(channel, routing.methods_by_name["RouteStream"], [{"request": PROMPT}] * 2)
    assert (routed.tier, routed.deployment, len(routed.digest)) == ("small", "small-us", 32)
    assert batch.results[0].response.digest == routed.digest
    assert batch.results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert [one.result.response.digest for one in streamed] == [routed.digest] * 2


def test_unknown_fields_and_enums_do_not_break_it(services: Services, baseline: DescriptorPool) -> None:
    route = baseline.FindServiceByName("turnout.v1.RoutingService").methods_by_name["Route"]
    with grpc.insecure_channel(services.addresses["scripted"]) as channel:
        (routed,) = call(channel, route, [{"prompt": "p", "policy": "newer"}])
    assert (routed.tier, routed.status) == ("mid", 99)
