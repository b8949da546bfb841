"""Envoy's streams on the decision port: which processor a stream has, from its first message to its end."""

from __future__ import annotations

import random

from turnout_server.doors.admission import RETRY_AFTER_S
from turnout_server.doors.errors import OverloadedError
from turnout_server.doors.ext_proc.models import Models
from turnout_server.doors.ext_proc.outcomes import Outcomes
from turnout_server.doors.ext_proc.processor import Processor, Setting
from turnout_server.observability.metrics import COVERAGE, GATEWAY_STREAMS, Metrics
from turnout_server.routing import Router


class Streams:
    """Called by one thread at a time."""

    def __init__(self, router: Router, metrics: Metrics, outcomes: Outcomes, limit: int) -> None:
        """Decides by `router`; `limit` is told to callers that are refused."""
        self._router = router
        self._limit = limit
        self._shed = metrics.count(COVERAGE, "shed")
        self._processors: dict[int, Processor] = {}
        self._is_full = False
        metrics.watch(GATEWAY_STREAMS, lambda: ((), len(self._processors)))
        self._setting = Setting(Models(router), self._refuse, outcomes.note)

    def process(self, stream: int, message: bytes, is_full: bool) -> bytes:
        """The answer to one message of a stream.

        Raises:
            MalformedRequestError: the bytes are no ProcessingRequest.
        """
        processor = self._processors.get(stream)
        if processor is None:
            processor = self._processors[stream] = Processor(self._setting)
        self._is_full = is_full
        answer = processor.process(message)
        if (decision := processor.take_decision()) is not None:
            self._router.count(decision)
        return answer

    def awaits_decision(self, stream: int) -> bool:
        """Whether a request has begun on the stream that is not decided yet."""
        processor = self._processors.get(stream)
        return processor is not None and processor.awaits_decision

    def end(self, stream: int) -> None:
        """The stream has ended; of one that is not known nothing is to be done."""
        processor = self._processors.pop(stream, None)
        if processor is not None:
            processor.close()

    def _refuse(self) -> Exception | None:
        if not self._is_full:
            return None
        self._shed.add()
        return OverloadedError(self._limit, random.uniform(*RETRY_AFTER_S))
