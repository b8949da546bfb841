"""What the compiled listener leaves to Python: messages that are odd, wrong, to be explained or to be logged."""

from __future__ import annotations

import base64
import threading
from enum import IntEnum
from typing import Protocol
from urllib.parse import quote_from_bytes

from turnout.v1.routing_pb2 import RouteBatchRequest, RouteBatchResponse, RouteResult, RouteStreamRequest

from turnout_server.doors.errors import (
    DETAILS_KEY,
    PUSHBACK_KEY,
    Failure,
    describe_failure,
)
from turnout_server.doors.items import Deadline, ItemDecider, parse_any_request, read_batch
from turnout_server.doors.wire import parser
from turnout_server.observability.metrics import ERRORS, Metrics

# Of gRPC's status message, what HTTP/2's header may hold as it is (gRPC over HTTP2, "Percent-Encoding").
_PLAIN = bytes(code for code in range(0x20, 0x7F) if code != ord("%")).decode()

WordedFailure = tuple[int, bytes, bytes, bytes]


def word_failure(failure: Failure) -> WordedFailure:
    """A failure as the listener sends it: code, message, details and pushback, the last two empty where there is none."""
    trailers = dict(failure.to_trailers())
    details = trailers[DETAILS_KEY]
    assert isinstance(details, bytes)
    pushback = str(trailers.get(PUSHBACK_KEY, "")).encode()
    message = quote_from_bytes(failure.message.encode(), safe=_PLAIN).encode()
    return int(failure.code), message, base64.b64encode(details).rstrip(b"="), pushback


class Call(IntEnum):
    """What is asked; the numbers are CALL_ in model.pxd."""

    ROUTE = 1
    BATCH = 2
    STREAM = 3
    PROCESS = 6
    ITEM = 7


class Processing(Protocol):
    """Answers Envoy's messages, each stream's in their order."""

    def process(self, stream: int, message: bytes, is_full: bool) -> bytes:
        """The answer to one message of a stream."""
        ...

    def awaits_decision(self, stream: int) -> bool:
        """Whether a request has begun on the stream that is not decided yet."""
        ...

    def end(self, stream: int) -> None:
        """The stream has ended."""
        ...


class LongerWay:
    """Decides, or says why not. Called by the listener's threads; one call at a time."""

    def __init__(
        self,
        decider: ItemDecider,
        logging_decider: ItemDecider,
        metrics: Metrics,
        *,
        max_batch: int,
        processing: Processing | None = None,
    ) -> None:
        """Takes what decides.

        Args:
            decider: of what is not to be logged.
            logging_decider: of what was drawn for the log.
            metrics: what counts.
            max_batch: most requests of a batch.
            processing: of Envoy's messages; None: none come.
        """
        self._processing = processing
        self._decider = decider
        self._logging_decider = logging_decider
        self._metrics = metrics
        self._max_batch = max_batch
        self._parse_batch = parser(RouteBatchRequest)
        self._parse_item = parser(RouteStreamRequest)
        self._lock = threading.Lock()
        self._answers = {
            Call.ROUTE: self._route,
            Call.BATCH: self._batch,
            Call.STREAM: self._stream_item,
            Call.ITEM: self._item,
        }

    def __call__(
        self, call: int, is_drawn: bool, message: bytes, remaining_s: float | None
    ) -> bytes | WordedFailure:
        """The answer's bytes, or how the call fails.

        Args:
            call: a Call.
            is_drawn: whether the decision is to be logged.
            message: the request's bytes; of a stream or a batch, one item's or all of it, as the call says.
            remaining_s: seconds until the deadline; None without one.
        """
        try:
            with self._lock:
                decider = self._logging_decider if is_drawn else self._decider
                return self._answers[Call(call)](decider, message, remaining_s)
        except Exception as error:
            failure = describe_failure(error)
            self._metrics.count(ERRORS, failure.reason_name).add()
            return word_failure(failure)

    def process(self, stream: int, message: bytes, is_full: bool) -> bytes:
        """The answer to one message of Envoy's; `is_full`: it should be refused if it asks for a decision.

        Raises:
            Exception: the bytes are no message.
        """
        assert self._processing is not None
        with self._lock:
            return self._processing.process(stream, message, is_full)

    def awaits_decision(self, stream: int) -> bool:
        """Whether Envoy waits for a decision on the stream."""
        assert self._processing is not None
        with self._lock:
            return self._processing.awaits_decision(stream)

    def end_process(self, stream: int) -> None:
        """Envoy has no more to say of a request."""
        assert self._processing is not None
        with self._lock:
            self._processing.end(stream)

    def _route(self, decider: ItemDecider, message: bytes, remaining_s: float | None) -> bytes:
        return decider.decide(message, remaining_s)

    def _item(self, decider: ItemDecider, message: bytes, remaining_s: float | None) -> bytes:
        result = RouteResult()
        [judged] = decider.judge_all([parse_any_request(message)], Deadline(remaining_s))
        decider.write_result(judged, result)
        data: bytes = result.SerializeToString()
        return data

    def _batch(self, decider: ItemDecider, message: bytes, remaining_s: float | None) -> bytes:
        requests = read_batch(self._parse_batch(message), self._max_batch)
        response = RouteBatchResponse()
        for result in decider.judge_all(requests, Deadline(remaining_s)):
            decider.write_result(result, response.results.add())
        data: bytes = response.SerializeToString()
        return data

    def _stream_item(self, decider: ItemDecider, message: bytes, remaining_s: float | None) -> bytes:
        judged = decider.judge_item(self._parse_item(message), Deadline(remaining_s))
        data: bytes = decider.write_item(judged).SerializeToString()
        return data


def unworded(code: int, message: str) -> WordedFailure:
    """A failure of gRPC's own, which the contract has no reason for."""
    return code, quote_from_bytes(message.encode(), safe=_PLAIN).encode(), b"", b""
