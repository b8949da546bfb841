"""What the main port's services have in common: their methods' counts, and admission before each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeAlias

import grpc

from turnout_server.doors.admission import Admission
from turnout_server.doors.errors import Failure, OverloadedError, abort, describe_failure
from turnout_server.observability.metrics import COVERAGE, ERRORS, HANDLED, HANDLING, STARTED, Metrics

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

# The stubs of grpc lack it.
EOF: object = grpc.aio.EOF  # type: ignore[attr-defined]


class Method:
    """One RPC method: its name, and what is counted of its calls."""

    def __init__(self, name: str, metrics: Metrics, *, service: str, kind: str = "unary") -> None:
        self.path = f"/{service}/{name}"
        self._metrics = metrics
        self._labels = (kind, service, name)
        self.started = metrics.count(STARTED, *self._labels)
        self.succeeded = metrics.count(HANDLED, *self._labels, "OK")
        self.seconds = metrics.timing(HANDLING, *self._labels)

    def count_ended(self, code: str) -> None:
        """Counts a call that ended with another code than OK."""
        self._metrics.count(HANDLED, *self._labels, code).add()


class AdmittedDoor(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """A service whose methods are each behind one admission."""

    def __init__(self, metrics: Metrics, admission: Admission) -> None:
        """Has no methods yet: the service adds its own."""
        self._metrics = metrics
        self._admission = admission
        self._handlers: dict[str, Handler] = {}
        self._refusals: dict[str, Handler] = {}

    @property
    def paths(self) -> Collection[str]:
        """The methods, each counted by the admission while it is in flight."""
        return self._handlers.keys()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a call, by its method; runs in the call's own task, before its message comes."""
        handler = self._handlers.get(handler_call_details.method)
        if handler is None or self._admission.admit():
            return handler
        return self._refusals[handler_call_details.method]

    def _add(
        self,
        method: Method,
        make_handler: Callable[..., Handler],
        answer: Callable[..., Awaitable[Any]],
        read: Callable[[bytes], Any] | None = None,
        write: Callable[[Any], bytes] | None = None,
    ) -> None:
        """Serves a method; without `read` and `write` it takes and gives bytes."""
        self._handlers[method.path] = make_handler(answer, read, write)
        # Without `read`: what is refused is not parsed.
        self._refusals[method.path] = make_handler(self._refuser(method))

    def _refuser(self, method: Method) -> Callable[[Any, Context], Awaitable[None]]:
        shed = self._metrics.count(COVERAGE, "shed")

        async def refuse(_: object, context: Context) -> None:
            method.started.add()
            error = self._admission.refusal()
            if isinstance(error, OverloadedError):
                shed.add()
            failure = describe_failure(error)
            self._count_failure(method, failure)
            await abort(context, failure)

        return refuse

    def _count_failure(self, method: Method, failure: Failure) -> None:
        method.count_ended(failure.code.name)
        self._metrics.count(ERRORS, failure.reason_name).add()
