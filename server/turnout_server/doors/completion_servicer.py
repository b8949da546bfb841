"""`Complete` and `CompleteStream` over grpc.aio."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter, perf_counter_ns
from typing import Any, TypeAlias

import grpc
from turnout.v1 import completion_pb2
from turnout.v1.completion_pb2 import (
    ON_CUT_RESTART,
    STREAM_MODE_RESTART,
    CompleteFailure,
    CompleteRequest,
    CompleteResponse,
    CompleteStarted,
    CompleteStreamRequest,
    CompleteStreamResponse,
    OnCut,
    Restarted,
)
from turnout.v1.routing_pb2 import RouteRequest, RouteResponse
from turnout_fastpath import Reason, RouteError, Strategy

from turnout_server.completion.asked import Asked, StreamMode
from turnout_server.completion.attempts import AttemptLog
from turnout_server.completion.completer import Completed, Completer
from turnout_server.completion.dispatcher import Run
from turnout_server.completion.gates.verdict import Gate
from turnout_server.completion.idempotency import Idempotency
from turnout_server.doors.admission import Admission
from turnout_server.doors.codec import MAX_TEXT_BYTES, write_response
from turnout_server.doors.compiled.codec import ResponseWriter
from turnout_server.doors.completion_codec import (
    pin_tier,
    read_chat,
    read_decision_request,
    read_gates,
    read_strategy,
    route_request_of,
)
from turnout_server.doors.completion_errors import cut_of, describe_completion_failure
from turnout_server.doors.completion_writing import (
    FAULTS,
    GATES,
    write_completed,
    write_event,
    write_failure,
)
from turnout_server.doors.door import AdmittedDoor, Context, Method
from turnout_server.doors.errors import DeadlineExceededError, MalformedRequestError, abort
from turnout_server.doors.wire import Bulky, Malformed, parser
from turnout_server.observability.metrics import Metrics
from turnout_server.providers.chat import StreamEvent, UsageUpdate
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.deadline import Deadline
from turnout_server.routing import Router

SERVICE = "turnout.v1.CompletionService"

Received: TypeAlias = "CompleteRequest | Bulky[CompleteRequest] | Malformed"
ReceivedStream: TypeAlias = "CompleteStreamRequest | Bulky[CompleteStreamRequest] | Malformed"


@dataclass
class _Carried:
    """A decided request on its way."""

    run: Run
    strategy: Strategy
    decision: RouteResponse


class CompletionDoor(AdmittedDoor):
    """The service's methods, behind an admission of their own: decisions do not wait behind completions."""

    def __init__(
        self,
        router: Router,
        completer: Completer,
        metrics: Metrics,
        admission: Admission,
        clock: Clock,
        *,
        max_text_bytes: int = MAX_TEXT_BYTES,
    ) -> None:
        """Decides by `router` and carries out by `completer`.

        Args:
            router: what decides, as for `Route`.
            completer: what answers.
            metrics: what counts.
            admission: how many are let in at once.
            clock: of deadlines.
            max_text_bytes: most bytes of text of one request.
        """
        super().__init__(metrics, admission)
        self._router = router
        self._completer = completer
        self._clock = clock
        self._max_text_bytes = max_text_bytes
        # Of the event loop's thread.
        self._writer = ResponseWriter()
        self._keyed: Idempotency[CompleteResponse] = Idempotency(clock, CompleteResponse.ByteSize)
        self._unary = Method("Complete", metrics, service=SERVICE)
        self._stream = Method("CompleteStream", metrics, service=SERVICE, kind="server_stream")
        unary, streaming = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        self._add(
            self._unary, unary, self.complete, parser(CompleteRequest), CompleteResponse.SerializeToString
        )
        self._add(
            self._stream,
            streaming,
            self.complete_stream,
            parser(CompleteStreamRequest),
            CompleteStreamResponse.SerializeToString,
        )

    async def complete(self, received: Received, context: Context) -> CompleteResponse:
        """Answers one request."""
        message = _open(received)
        carried: list[_Carried] = []

        async def answer() -> CompleteResponse:
            if isinstance(message, Malformed):
                raise MalformedRequestError(message.field)
            if not message.idempotency_key:
                return await self._complete(message, received, context, carried)
            key = (message.caller.tenant, message.idempotency_key)
            response, replayed = await self._keyed.run(
                key, _content(message), lambda: self._complete(message, received, context, carried)
            )
            if not replayed:
                return response
            copy = CompleteResponse()
            copy.CopyFrom(response)
            copy.replayed = True
            return copy

        response: CompleteResponse = await self._guard(self._unary, context, carried, answer, None)
        return response

    async def complete_stream(self, received: ReceivedStream, context: Context) -> None:
        """Answers one request as the answer comes."""
        message = _open(received)
        carried: list[_Carried] = []

        async def answer() -> None:
            if isinstance(message, Malformed):
                raise MalformedRequestError(message.field.removeprefix("request."))
            await self._complete_stream(message, received, context, carried)

        async def fail(failure: CompleteFailure) -> None:
            await context.write(CompleteStreamResponse(failed=failure))

        await self._guard(self._stream, context, carried, answer, fail)

    async def _complete(
        self, message: CompleteRequest, received: object, context: Context, carried: list[_Carried]
    ) -> CompleteResponse:
        one = await self._decide(message, received, context, StreamMode.HOLD, restart_on_cut=True)
        carried.append(one)
        completed = await self._completer.complete(one.run, one.strategy)
        _follow(completed, context)
        return write_completed(completed, one.run.log, one.decision, in_stream=False)

    async def _complete_stream(
        self, message: CompleteStreamRequest, received: object, context: Context, carried: list[_Carried]
    ) -> None:
        if message.mode not in completion_pb2.StreamMode.values():
            raise RouteError(Reason.INVALID_FIELD, "mode", value=message.mode, limit="a mode of StreamMode")
        if message.on_cut not in OnCut.values():
            raise RouteError(Reason.INVALID_FIELD, "on_cut", value=message.on_cut, limit="a value of OnCut")
        if message.request.idempotency_key:
            raise RouteError(
                Reason.INVALID_FIELD, "idempotency_key", value="a key", limit="none in a stream; use Complete"
            )
        mode = StreamMode.RESTART if message.mode == STREAM_MODE_RESTART else StreamMode.HOLD
        one = await self._decide(
            message.request, received, context, mode, restart_on_cut=message.on_cut == ON_CUT_RESTART
        )
        started = CompleteStarted(decision=one.decision, strategy=int(one.strategy))  # type: ignore[arg-type]
        await context.write(CompleteStreamResponse(started=started))
        carried.append(one)
        completed = await self._completer.complete(one.run, one.strategy, _Writer(context))
        _follow(completed, context)
        finished = write_completed(completed, one.run.log, one.decision, in_stream=True)
        await context.write(CompleteStreamResponse(finished=finished))

    async def _decide(
        self,
        message: CompleteRequest,
        received: object,
        context: Context,
        mode: StreamMode,
        *,
        restart_on_cut: bool,
    ) -> _Carried:
        began_ns = perf_counter_ns()
        remaining_s = context.time_remaining()
        deadline = Deadline() if remaining_s is None else Deadline.after(self._clock, remaining_s)
        if remaining_s is not None and remaining_s <= 0:
            raise DeadlineExceededError
        snapshot = self._router.snapshot

        def read() -> Asked:
            return self._read(message, remaining_s, deadline, mode, restart_on_cut)

        # A large message is read in a thread: others shall not wait for it.
        asked = await asyncio.to_thread(read) if isinstance(received, Bulky) else read()
        self._router.count(asked.decision)
        log = AttemptLog(lambda: perf_counter_ns() - began_ns)
        run = self._completer.start(asked, snapshot, log)
        if message.explain:
            response = write_response(asked.decision, RouteResponse())
        else:
            response = RouteResponse.FromString(self._writer.write(asked.decision))
        return _Carried(run, self._completer.strategy_of(run), response)

    def _read(
        self,
        message: CompleteRequest,
        remaining_s: float | None,
        deadline: Deadline,
        mode: StreamMode,
        restart_on_cut: bool,
    ) -> Asked:
        route = route_request_of(message)
        hurried = remaining_s is not None and self._router.is_short_of_time(message.policy, remaining_s)
        request = read_decision_request(route, rules_only=hurried, max_text_bytes=self._max_text_bytes)
        chat = read_chat(message)
        forced = read_strategy(message)
        decision = self._router.decide_uncounted(request)
        context, skip = read_gates(message, chat, decision.task or "")
        options = message.gates
        return Asked(
            chat=chat,
            decision=decision,
            request=request,
            chain_of=lambda tier: self._chain_of(route, tier),
            deadline=deadline,
            gates=context,
            skip=skip,
            min_confidence=options.min_confidence if options.HasField("min_confidence") else None,
            strategy=None if forced is None else Strategy(forced),
            tenant=message.caller.tenant,
            session_id=message.caller.session_id,
            min_tier=message.constraints.min_tier,
            max_tier=message.constraints.max_tier,
            allowed_deployments=tuple(message.constraints.allowed_deployments),
            allowed_regions=tuple(message.constraints.allowed_regions),
            mode=mode,
            restart_on_cut=restart_on_cut,
        )

    def _chain_of(self, route: RouteRequest, tier: str) -> list[str]:
        """The deployments of another tier that the engine finds fit; none where it finds none."""
        try:
            request = read_decision_request(pin_tier(route, tier), max_text_bytes=self._max_text_bytes)
            decision = self._router.decide_aside(request)
        except RouteError:
            return []
        return [decision.deployment, *decision.fallback_deployments]

    async def _guard(
        self,
        method: Method,
        context: Context,
        carried: list[_Carried],
        answer: Callable[[], Awaitable[Any]],
        fail: Callable[[CompleteFailure], Awaitable[None]] | None,
    ) -> Any:
        """Runs a call, counts it, and ends it with what its error means."""
        began = perf_counter()
        method.started.add()
        try:
            result = await answer()
        except (asyncio.CancelledError, grpc.aio.BaseError):
            method.count_ended("CANCELLED")
            raise
        except Exception as error:
            one = carried[0] if carried else None
            log = None if one is None else one.run.log
            failure = describe_completion_failure(error, log, None if one is None else one.decision)
            self._count_failure(method, failure)
            method.seconds.observe(perf_counter() - began)
            if fail is not None and one is not None and one.run.log.attempts:
                cut, _ = cut_of(error)
                await fail(
                    write_failure(one.run.log, one.decision, cut=cut, partial_text="", in_status=False)
                )
            await abort(context, failure)
        method.succeeded.add()
        method.seconds.observe(perf_counter() - began)
        return result


class _Writer:
    """Writes what comes of an answer to the caller.

    Counts wait for what comes next: the last ones, which most providers send alone, are in the event that ends the stream.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counts: UsageUpdate | None = None

    async def content(self, event: StreamEvent) -> None:
        counts, self._counts = self._counts, None
        if isinstance(event, UsageUpdate):
            self._counts = event
            return
        for one in (counts, event):
            if one is not None and (written := write_event(one)) is not None:
                await self._context.write(written)

    async def restarted(
        self, tier: str, deployment: str, rejected_by: Gate | None, fault: FaultKind | None
    ) -> None:
        self._counts = None
        event = Restarted(tier=tier, deployment=deployment)
        if rejected_by is not None:
            event.rejected_by = GATES[rejected_by]
        if fault is not None:
            event.fault = FAULTS[fault]
        await self._context.write(CompleteStreamResponse(restarted=event))


def _follow(completed: Completed, context: Context) -> None:
    """Has the answer judged and shadowed once the call is over, whoever ended it."""
    follow = completed.follow
    if follow is not None:
        context.add_done_callback(lambda _: follow())  # type: ignore[arg-type]


def _open(received: Any) -> Any:
    return received.message if isinstance(received, Bulky) else received


def _content(message: CompleteRequest) -> bytes:
    """A digest of all that the request says."""
    return hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()
