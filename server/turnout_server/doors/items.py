"""One request from message to response, alike for a unary call and an item of a batch or stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import NamedTuple

from turnout.v1.routing_pb2 import RouteRequest, RouteResponse, RouteResult
from turnout_fastpath import Decision

from turnout_server.doors.codec import MAX_TEXT_BYTES, read_request, write_response
from turnout_server.doors.errors import (
    DeadlineExceededError,
    Failure,
    MalformedRequestError,
    describe_failure,
)
from turnout_server.doors.wire import Bulky, Malformed
from turnout_server.observability.decision_log import DecisionLog
from turnout_server.observability.metrics import ERRORS, STAGE, Metrics
from turnout_server.routing import Router


class Deadline:
    """When the caller will wait no longer, on the clock that the decision's thread reads too."""

    def __init__(self, remaining_s: float | None) -> None:
        """Passes in `remaining_s` seconds; None means never."""
        self._at = None if remaining_s is None else perf_counter() + remaining_s

    def remaining_s(self) -> float | None:
        """Seconds left, 0 or less when it has passed; None if there is no deadline."""
        return None if self._at is None else self._at - perf_counter()


class Judged(NamedTuple):
    """A decision and the message that it is for."""

    decision: Decision
    message: RouteRequest


class ItemDecider:
    """Decides messages and writes the results.

    `judge` and `judge_all` may run on any thread; what counts or logs runs on the event loop's.
    """

    def __init__(
        self, router: Router, metrics: Metrics, log: DecisionLog, *, max_text_bytes: int = MAX_TEXT_BYTES
    ) -> None:
        """Decides by `router`; a request holds at most `max_text_bytes` of text, UTF-8."""
        self._router = router
        self._metrics = metrics
        self._log = log
        self._max_text_bytes = max_text_bytes
        self._stages = [metrics.timing(STAGE, stage) for stage in ("read", "decide", "write")]

    def decide(self, message: RouteRequest, remaining_s: float | None) -> RouteResponse:
        """The path of nearly every call: read, decided, counted and written at once.

        Raises:
            RouteError: the request cannot be decided.
            DeadlineExceededError: no time is left.
        """
        if self._log.share and self._log.draws():
            return self._decide_observed(message, remaining_s)
        rules_only = remaining_s is not None and self._is_rules_only(message, remaining_s)
        request = read_request(message, rules_only=rules_only, max_text_bytes=self._max_text_bytes)
        return write_response(self._router.decide(request), RouteResponse())

    def judge(self, message: RouteRequest, deadline: Deadline) -> Judged:
        """A decision that is not counted yet; raises as `decide` does."""
        remaining_s = deadline.remaining_s()
        rules_only = remaining_s is not None and self._is_rules_only(message, remaining_s)
        request = read_request(message, rules_only=rules_only, max_text_bytes=self._max_text_bytes)
        decision = self._router.decide_uncounted(request)
        if self._router.challenger is not None:
            self._router.challenger.offer(request, decision)
        return Judged(decision, message)

    def judge_all(
        self, messages: Iterable[RouteRequest | Bulky[RouteRequest] | Malformed], deadline: Deadline
    ) -> list[Judged | Failure]:
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

    def write(self, judged: Judged, response: RouteResponse) -> None:
        """Counts a decision, writes it, and logs it if it is drawn."""
        self._router.count(judged.decision)
        write_response(judged.decision, response)
        if self._log.draws():
            self._log.write(judged.decision, _texts(judged.message))

    def write_result(self, result: Judged | Failure, item: RouteResult) -> None:
        """Writes one result of a batch or stream."""
        if isinstance(result, Failure):
            self._metrics.count(ERRORS, result.reason_name).add()
            item.error.CopyFrom(result.to_item())
        else:
            self.write(result, item.response)

    def _is_rules_only(self, message: RouteRequest, remaining_s: float) -> bool:
        if remaining_s <= 0:
            raise DeadlineExceededError
        return self._router.is_short_of_time(message.policy, remaining_s)

    def _decide_observed(self, message: RouteRequest, remaining_s: float | None) -> RouteResponse:
        """Decides a sampled request: its parts are timed, its decision is logged."""
        began = perf_counter()
        rules_only = remaining_s is not None and self._is_rules_only(message, remaining_s)
        request = read_request(message, rules_only=rules_only, max_text_bytes=self._max_text_bytes)
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
        return response


def _texts(message: RouteRequest) -> Iterator[str]:
    yield message.prompt
    for turn in message.messages:
        yield turn.content
        for part in turn.parts:
            yield part.text
