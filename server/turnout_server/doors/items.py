"""One request from message to response, alike for a unary call and an item of a batch or stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import NamedTuple, Protocol, TypeAlias

from turnout.v1.chat_pb2 import ROLE_USER
from turnout.v1.routing_pb2 import (
    RouteBatchRequest,
    RouteRequest,
    RouteResponse,
    RouteResult,
    RouteStreamRequest,
    RouteStreamResponse,
)
from turnout_fastpath import Decision, Reason, Request, RouteError

from turnout_server.doors.codec import MAX_TEXT_BYTES, read_request, write_response
from turnout_server.doors.compiled import codec as compiled
from turnout_server.doors.errors import (
    DeadlineExceededError,
    Failure,
    MalformedRequestError,
    describe_failure,
)
from turnout_server.doors.wire import Bulky, Malformed, parser, salvage_payloads
from turnout_server.observability.decision_log import DecisionLog
from turnout_server.observability.metrics import ERRORS, STAGE, Metrics
from turnout_server.routing import Router

MAX_CORRELATION_BYTES = 128

Received: TypeAlias = "RouteRequest | Bulky[RouteRequest] | Malformed"
ReceivedBatch: TypeAlias = "RouteBatchRequest | Bulky[RouteBatchRequest] | Malformed"
ReceivedItem: TypeAlias = "RouteStreamRequest | Bulky[RouteStreamRequest] | Malformed"

parse_any_request = parser(RouteRequest)


class Deadline:
    """When the caller will wait no longer, on the clock that the decision's thread reads too."""

    def __init__(self, remaining_s: float | None) -> None:
        """Passes in `remaining_s` seconds; None means never."""
        self._at = None if remaining_s is None else perf_counter() + remaining_s

    def remaining_s(self) -> float | None:
        """Seconds left, 0 or less when it has passed; None if there is no deadline."""
        return None if self._at is None else self._at - perf_counter()


class RecordsRoutes(Protocol):
    """Whoever stores decisions. Any thread may call it; it neither raises nor waits."""

    def count(self, decision: Decision) -> bool:
        """Counts a decision; True: its detail is to be kept too."""

    def keep(self, decision: Decision, request: Request, tenant: str, question: str) -> None:
        """Keeps the detail; of the last user turn, `question`, only if the policy says so."""


class Judged(NamedTuple):
    """A decision, and the message that it is for, as it came and as it was read."""

    decision: Decision
    message: RouteRequest
    request: Request


class JudgedItem(NamedTuple):
    """What became of one item of a stream."""

    correlation_id: str
    result: Judged | Failure


class ItemDecider:
    """Decides messages and writes the results.

    `judge` and `judge_all` may run on any thread; what counts or logs runs on the event loop's.
    """

    def __init__(
        self,
        router: Router,
        metrics: Metrics,
        log: DecisionLog,
        *,
        max_text_bytes: int = MAX_TEXT_BYTES,
        recorder: RecordsRoutes | None = None,
    ) -> None:
        """Decides by `router`; a request holds at most `max_text_bytes` of text, UTF-8; `recorder` stores, if it is there."""
        self._recorder = recorder
        self._router = router
        self._metrics = metrics
        self._log = log
        self._max_text_bytes = max_text_bytes
        self._writer = compiled.ResponseWriter()
        self._stages = [metrics.timing(STAGE, stage) for stage in ("read", "decide", "write")]

    def decide(self, data: bytes, remaining_s: float | None) -> bytes:
        """The path of nearly every call: read, decided, counted and written at once, by compiled code.

        What that leaves to the protobuf library, what is short of time and what is drawn for the log goes the longer way.

        Raises:
            RouteError: the request cannot be decided.
            DeadlineExceededError: no time is left.
            MalformedRequestError: the bytes are no RouteRequest.
        """
        if self._log.draws():
            return self._decide_observed(parse_request(data), remaining_s).SerializeToString()
        if remaining_s is None or not self._router.may_be_short_of_time(remaining_s):
            request = compiled.read_request(data, self._max_text_bytes)
            if request is not None:
                decision = self._router.decide(request)
                if self._recorder is not None and self._recorder.count(decision):
                    self._keep(decision, request, parse_request(data))
                return self._writer.write(decision)
        message = parse_request(data)
        request = self._read(message, remaining_s)
        decision = self._router.decide(request)
        self._record(decision, request, message)
        return write_response(decision, RouteResponse()).SerializeToString()

    def judge(self, message: RouteRequest, deadline: Deadline) -> Judged:
        """A decision that is not counted yet; raises as `decide` does."""
        request = self._read(message, deadline.remaining_s())
        return Judged(self._router.decide_uncounted(request), message, request)

    def judge_all(self, messages: Iterable[Received], deadline: Deadline) -> list[Judged | Failure]:
        """Decisions, or why there is none, in order; a passed deadline ends all.

        Raises:
            DeadlineExceededError: no time is left.
        """
        results: list[Judged | Failure] = []
        for message in messages:
            try:
                if isinstance(message, Malformed):
                    raise MalformedRequestError(message.field)
                results.append(
                    self.judge(message.message if isinstance(message, Bulky) else message, deadline)
                )
            except DeadlineExceededError:
                raise
            except Exception as error:
                results.append(describe_failure(error))
        return results

    def judge_item(self, message: ReceivedItem, deadline: Deadline) -> JudgedItem:
        """What becomes of one item of a stream; a passed deadline ends the stream.

        Raises:
            DeadlineExceededError: no time is left.
        """
        if isinstance(message, Malformed):
            # Paths of an item are those of its request, as in a unary call.
            error: Exception = MalformedRequestError(message.field.removeprefix("request."))
            return JudgedItem(_salvage_correlation(message), describe_failure(error))
        item = message.message if isinstance(message, Bulky) else message
        size = len(item.correlation_id.encode())
        if size > MAX_CORRELATION_BYTES:
            limit = f"{MAX_CORRELATION_BYTES} bytes"
            error = RouteError(Reason.INVALID_FIELD, "correlation_id", value=f"{size} bytes", limit=limit)
            return JudgedItem("", describe_failure(error))
        [result] = self.judge_all([item.request], deadline)
        return JudgedItem(item.correlation_id, result)

    def write_item(self, item: JudgedItem) -> RouteStreamResponse:
        """Writes one result of a stream."""
        response = RouteStreamResponse(correlation_id=item.correlation_id)
        self.write_result(item.result, response.result)
        return response

    def write(self, judged: Judged, response: RouteResponse) -> RouteResponse:
        """Counts a decision, fills an empty response with it, and logs it if it is drawn."""
        self._router.count(judged.decision)
        self._record(judged.decision, judged.request, judged.message)
        write_response(judged.decision, response)
        if self._log.draws():
            self._log.write(judged.decision, _texts(judged.message))
        return response

    def write_result(self, result: Judged | Failure, item: RouteResult) -> None:
        """Writes one result of a batch or stream."""
        if isinstance(result, Failure):
            self._metrics.count(ERRORS, result.reason_name).add()
            item.error.CopyFrom(result.to_item())
        else:
            self.write(result, item.response)

    def _read(self, message: RouteRequest, remaining_s: float | None) -> Request:
        rules_only = False
        if remaining_s is not None:
            if remaining_s <= 0:
                raise DeadlineExceededError
            rules_only = self._router.is_short_of_time(message.policy, remaining_s)
        return read_request(message, rules_only=rules_only, max_text_bytes=self._max_text_bytes)

    def _decide_observed(self, message: RouteRequest, remaining_s: float | None) -> RouteResponse:
        """Decides a sampled request: its parts are timed, its decision is logged."""
        began = perf_counter()
        request = self._read(message, remaining_s)
        was_read = perf_counter()
        decision = self._router.decide(request)
        decided = perf_counter()
        response = write_response(decision, RouteResponse())
        written = perf_counter()
        for stage, seconds in zip(
            self._stages, (was_read - began, decided - was_read, written - decided), strict=True
        ):
            stage.observe(seconds)
        self._log.write(decision, _texts(message))
        self._record(decision, request, message)
        return response

    def _record(self, decision: Decision, request: Request, message: RouteRequest) -> None:
        if self._recorder is not None and self._recorder.count(decision):
            self._keep(decision, request, message)

    def _keep(self, decision: Decision, request: Request, message: RouteRequest) -> None:
        assert self._recorder is not None
        self._recorder.keep(decision, request, message.caller.tenant, _last_question(message))


def read_batch(message: ReceivedBatch, limit: int) -> list[Received]:
    """The requests of a batch; of one that does not parse as a whole, only those at fault are malformed.

    Raises:
        RouteError: there are none, or more than `limit`.
        MalformedRequestError: no request can be told from the others.
    """
    if isinstance(message, Malformed):
        payloads = salvage_payloads(message.data, RouteBatchRequest.REQUESTS_FIELD_NUMBER)
        requests = [parse_any_request(payload) for payload in payloads]
        if not any(isinstance(request, Malformed) for request in requests):
            raise MalformedRequestError(message.field)
    else:
        requests = list((message.message if isinstance(message, Bulky) else message).requests)
    if not 1 <= len(requests) <= limit:
        given = f"{len(requests)} requests"
        raise RouteError(Reason.INVALID_FIELD, "requests", value=given, limit=f"1 to {limit} requests")
    return requests


def _salvage_correlation(malformed: Malformed) -> str:
    """The correlation of a stream's item that does not parse as a whole; empty if it cannot be read."""
    payloads = salvage_payloads(malformed.data, RouteStreamRequest.CORRELATION_ID_FIELD_NUMBER)
    if not payloads or len(payloads[-1]) > MAX_CORRELATION_BYTES:
        return ""
    try:
        return payloads[-1].decode()
    except UnicodeDecodeError:
        return ""


def parse_request(data: bytes) -> RouteRequest:
    """The message.

    Raises:
        MalformedRequestError: the bytes are none.
    """
    message = parse_any_request(data)
    if isinstance(message, Malformed):
        raise MalformedRequestError(message.field)
    return message.message if isinstance(message, Bulky) else message


def _texts(message: RouteRequest) -> Iterator[str]:
    yield message.prompt
    for turn in message.messages:
        yield turn.content
        for part in turn.parts:
            yield part.text


def _last_question(message: RouteRequest) -> str:
    """The text of the last user turn; empty: there is none."""
    for turn in reversed(message.messages):
        if turn.role == ROLE_USER:
            return turn.content or "\n".join(part.text for part in turn.parts if part.text)
    return message.prompt
