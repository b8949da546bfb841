"""`envoy.service.ext_proc.v3.ExternalProcessor` over grpc.aio, on the main port."""

from __future__ import annotations

import asyncio
import random
from time import perf_counter
from typing import Any, NoReturn

import grpc

from turnout_server.doors.admission import RETRY_AFTER_S, Admission
from turnout_server.doors.door import EOF, Context, Method
from turnout_server.doors.errors import OverloadedError, abort, describe_failure
from turnout_server.doors.ext_proc.models import Models
from turnout_server.doors.ext_proc.outcomes import Outcomes
from turnout_server.doors.ext_proc.processor import Processor, Setting
from turnout_server.doors.wire import BULKY_BYTES
from turnout_server.observability.metrics import COVERAGE, GATEWAY_STREAMS, Metrics
from turnout_server.routing import Router

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"


class ExtProcDoor(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """The service's one method.

    A stream lives as long as its HTTP request, upstream and all, so that admission counts only those that wait for a
    decision: from their first message until it is made.
    """

    def __init__(self, router: Router, metrics: Metrics, admission: Admission, outcomes: Outcomes) -> None:
        """Decides by `router`; sheds beyond the limit of `admission`."""
        self._router = router
        self._admission = admission
        self._shed = metrics.count(COVERAGE, "shed")
        self._method = Method("Process", metrics, kind="bidi_stream", service=SERVICE)
        self._waiting = 0
        self._streams: set[asyncio.Task[object]] = set()
        self._lets_go = False
        metrics.watch(GATEWAY_STREAMS, lambda: ((), len(self._streams)))
        self._setting = Setting(Models(router), self._refuse, outcomes.note)
        # Bytes both ways: read and written by compiled code.
        self._handler = grpc.stream_stream_rpc_method_handler(self.process)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call, by its method."""
        return self._handler if handler_call_details.method == self._method.path else None

    async def process(self, _: object, context: Context) -> None:
        """One HTTP request from its headers to the end of its response."""
        began = perf_counter()
        method = self._method
        method.started.add()
        if not self._admission.is_open:
            # The gateway does what it is told to do without a processor.
            await self._fail(context, self._admission.refusal())
        processor = Processor(self._setting)
        waits = False
        # A message of the gateway's has no answer yet.
        owes = False
        self._follow(asyncio.current_task())
        try:
            while (message := await context.read()) is not EOF:
                owes = True
                if len(message) > BULKY_BYTES:
                    response = await asyncio.to_thread(processor.process, message)
                else:
                    response = processor.process(message)
                if (decision := processor.take_decision()) is not None:
                    self._router.count(decision)
                if processor.awaits_decision is not waits:
                    waits = not waits
                    self._waiting += 1 if waits else -1
                await context.write(response)
                owes = False
        except (asyncio.CancelledError, grpc.aio.BaseError):
            if not self._lets_go or owes or processor.awaits_decision:
                # The gateway needs no more: the usual end.
                method.count_ended("CANCELLED")
                raise
        except Exception as error:
            await self._fail(context, error)
        finally:
            self._waiting -= waits
            processor.close()
        method.succeeded.add()
        method.seconds.observe(perf_counter() - began)

    async def drain(self, patience_s: float) -> None:
        """Waits for the requests that are open, at most `patience_s` seconds; admission must be closed.

        Then those that are decided and answered are let go: their streams end as a success, after which Envoy carries on
        without.
        """
        if self._streams:
            await asyncio.wait(self._streams, timeout=patience_s)
        self._lets_go = True
        for stream in list(self._streams):
            stream.cancel()

    def _follow(self, stream: asyncio.Task[object] | None) -> None:
        if stream is not None:
            self._streams.add(stream)
            # Not in the handler's own `finally`: what follows there is the stream's too.
            stream.add_done_callback(self._streams.discard)

    async def _fail(self, context: Context, error: Exception) -> NoReturn:
        failure = describe_failure(error)
        self._method.count_ended(failure.code.name)
        await abort(context, failure)

    def _refuse(self) -> Exception | None:
        # A drain finishes what was let in.
        limit = self._admission.limit
        if self._waiting <= limit:
            return None
        self._shed.add()
        return OverloadedError(limit, random.uniform(*RETRY_AFTER_S))
