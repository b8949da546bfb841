"""A RoutingService that answers as a test says, on a real loopback port."""

# googleapis-common-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2_grpc
from turnout.v1 import routing_pb2, routing_pb2_grpc

# Longer than any step of a passing test takes: what ends a test that would hang.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class SeenCall:
    """What the service saw of one attempt."""

    method: str
    metadata: Mapping[str, str | bytes]
    remaining_s: float
    peer: str


@dataclass
class FakeRouting(routing_pb2_grpc.RoutingServiceServicer):
    """Answers with `on_route`, for each request of a batch or stream too, and keeps what it saw."""

    on_route: Callable[[routing_pb2.RouteRequest, Any], routing_pb2.RouteResponse]
    on_batch: Callable[..., routing_pb2.RouteBatchResponse] | None = None
    on_stream: Callable[[Iterator[Any], Any], Iterator[routing_pb2.RouteStreamResponse]] | None = None
    calls: list[SeenCall] = field(default_factory=list)
    requests: list[routing_pb2.RouteRequest] = field(default_factory=list)
    target: str = ""
    port: int = 0
    health: health.HealthServicer = field(default_factory=health.HealthServicer)

    def Route(self, request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        """See the class."""
        self._see("Route", context)
        self.requests.append(request)
        return self.on_route(request, context)

    def RouteBatch(
        self, request: routing_pb2.RouteBatchRequest, context: Any
    ) -> routing_pb2.RouteBatchResponse:
        """See the class."""
        self._see("RouteBatch", context)
        self.requests.extend(request.requests)
        if self.on_batch is not None:
            return self.on_batch(request, context)
        return routing_pb2.RouteBatchResponse(
            results=[self._result(item, context) for item in request.requests]
        )

    def RouteStream(self, request_iterator: Any, context: Any) -> Iterator[routing_pb2.RouteStreamResponse]:
        """See the class."""
        self._see("RouteStream", context)
        if self.on_stream is not None:
            yield from self.on_stream(request_iterator, context)
            return
        for message in request_iterator:
            self.requests.append(message.request)
            yield routing_pb2.RouteStreamResponse(result=self._result(message.request, context))

    def _see(self, method: str, context: Any) -> None:
        metadata = {item.key: item.value for item in context.invocation_metadata()}
        self.calls.append(SeenCall(method, metadata, context.time_remaining(), context.peer()))

    def _result(self, request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResult:
        try:
            return routing_pb2.RouteResult(response=self.on_route(request, context))
        except ItemError as error:
            return routing_pb2.RouteResult(error=error.message)


class ItemError(Exception):
    """Raised by `on_route` to fail one item of a batch or stream."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.message = routing_pb2.RouteError(**fields)


@contextmanager
def serving(
    on_route: Callable[[routing_pb2.RouteRequest, Any], routing_pb2.RouteResponse],
    *,
    credentials: grpc.ServerCredentials | None = None,
    options: tuple[tuple[str, Any], ...] = (),
) -> Iterator[FakeRouting]:
    """A fake that serves, with the standard health service beside it."""
    fake = FakeRouting(on_route)
    with ThreadPoolExecutor(16, thread_name_prefix="fake") as threads:
        server = grpc.server(threads, options=options)
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(fake, server)
        health_pb2_grpc.add_HealthServicer_to_server(fake.health, server)
        if credentials is None:
            fake.port = server.add_insecure_port("127.0.0.1:0")
        else:
            fake.port = server.add_secure_port("127.0.0.1:0", credentials)
        fake.target = f"127.0.0.1:{fake.port}"
        server.start()
        try:
            yield fake
        finally:
            assert server.stop(None).wait(PATIENCE_S)


def fail(
    context: Any,
    code: grpc.StatusCode,
    *details: Message | AnyMessage,
    message: str = "for people",
    trailers: tuple[tuple[str, str | bytes], ...] = (),
) -> Any:
    """Ends a call as the service does: with google.rpc.Status in its trailers."""
    number = code.value[0]
    status = Status(code=number, message=message)
    for detail in details:
        if isinstance(detail, AnyMessage):
            status.details.append(detail)
        else:
            status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()), *trailers))
    context.abort(code, message)


def wait_until_cancelled(context: Any) -> None:
    """Returns when the caller has gone, by its deadline or by cancelling."""
    gone = threading.Event()
    if context.add_callback(gone.set):
        assert gone.wait(PATIENCE_S)


def full_response(request: routing_pb2.RouteRequest, _: Any = None) -> routing_pb2.RouteResponse:
    """A response with every field set; its policy is the prompt, so that results can be told apart."""
    return routing_pb2.RouteResponse(
        decision_id="0123456789abcdef0123456789abcdef",
        status=routing_pb2.DECISION_STATUS_DECIDED,
        tier="mid",
        deployment="mid-a",
        fallback_deployments=["mid-b", "mid-c"],
        strategy=routing_pb2.STRATEGY_CASCADE,
        task=routing_pb2.TASK_CODE,
        task_probability=0.75,
        candidates=[
            routing_pb2.Candidate(
                tier="small", p_sufficient=0.25, gain=0.5, estimated_cost_usd=0.125, eligible=True
            ),
            routing_pb2.Candidate(tier="mid", p_sufficient=0.0),
            routing_pb2.Candidate(tier="frontier"),
        ],
        reasons=[
            routing_pb2.Reason(kind=routing_pb2.REASON_KIND_RULE, id="long-prompts"),
            routing_pb2.Reason(kind=routing_pb2.REASON_KIND_BAR, id="mid", score=0.5),
        ],
        tokens_read=384,
        tokens_total=500,
        truncated=True,
        propensity=0.5,
        revisions=routing_pb2.Revisions(policy="p" * 16, bundle="b" * 16, features="f" * 16),
        digest="d" * 32,
        decision_ns=15_000,
        explanation=routing_pb2.Explanation(
            features=[routing_pb2.FeatureContribution(name="bytes", value=12.0, contribution=-0.25)],
            task_probabilities=[0.5, 0.25],
            buckets=[routing_pb2.BucketSimilarity(bucket="proofs", similarity=0.875)],
            state=routing_pb2.LiveState(
                closed_deployments=["mid-z"], session_tier="small", budget_spent=True
            ),
        ),
        policy=request.prompt,
    )
