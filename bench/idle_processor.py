"""An external processor of Envoy's that changes nothing: what grpcio itself costs. Prints its port as a line of JSON."""

# xds-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import grpc
import uvloop
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    HeadersResponse,
    ProcessingRequest,
    ProcessingResponse,
)

METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
EOF: object = grpc.aio.EOF  # type: ignore[attr-defined]


class IdleProcessor(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers each message with nothing to change."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call, by its method."""
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(
            self.process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString
        )

    async def process(self, _: object, context: Any) -> None:
        """One HTTP request."""
        while (message := await context.read()) is not EOF:
            kind = message.WhichOneof("request")
            if kind == "request_body":
                answer = ProcessingResponse(request_body=BodyResponse())
            elif kind == "request_headers":
                answer = ProcessingResponse(request_headers=HeadersResponse())
            else:
                answer = ProcessingResponse(response_headers=HeadersResponse())
            await context.write(answer)


async def serve() -> None:
    """Serves until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((IdleProcessor(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port}), flush=True)
    await stopped.wait()
    await server.stop(0.1)


if __name__ == "__main__":
    uvloop.run(serve())
