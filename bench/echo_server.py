"""The baseline of the RPC figures: a grpcio aio server of the same messages that decides nothing.

It parses the RouteRequest and returns one fixed RouteResponse, serialised anew each time, on uvloop as our server.
`python -m bench.echo_server --response FILE` prints its port as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
from pathlib import Path
from typing import Any

import grpc
import uvloop
from turnout.v1 import routing_pb2, routing_pb2_grpc

ROUTE = "/turnout.v1.RoutingService/Route"


class Echo(routing_pb2_grpc.RoutingServiceServicer):
    """Answers every request with one response, as the generated code has it."""

    def __init__(self, response: routing_pb2.RouteResponse) -> None:
        self._response = response

    async def Route(self, request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        """Returns the response."""
        return self._response


class LeanEcho(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """The same behind a generic handler, the way our server answers: grpc.aio spends less on these."""

    def __init__(self, response: routing_pb2.RouteResponse) -> None:
        self._response = response
        self._handler = grpc.unary_unary_rpc_method_handler(
            self.route, routing_pb2.RouteRequest.FromString, routing_pb2.RouteResponse.SerializeToString
        )

    async def route(self, request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        """Returns the response."""
        return self._response

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of the one method there is."""
        return self._handler if handler_call_details.method == ROUTE else None


async def serve(response: routing_pb2.RouteResponse, *, lean: bool) -> None:
    """Serves on a free loopback port until SIGTERM.

    Args:
        response: the answer to everything.
        lean: a generic handler, and garbage collection as rare as in our server; else what grpcio does untold.
    """
    server = grpc.aio.server()
    if lean:
        server.add_generic_rpc_handlers((LeanEcho(response),))
    else:
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(Echo(response), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    if lean:
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 50, 50)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"port": port}), flush=True)
    await stop.wait()
    await server.stop(1)


def main(*, lean: bool = False) -> None:
    """Reads the command line and serves; `lean` as for `serve`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--response", type=Path, required=True, help="a serialised RouteResponse")
    options = parser.parse_args()
    response = routing_pb2.RouteResponse.FromString(options.response.read_bytes())
    uvloop.run(serve(response, lean=lean))


if __name__ == "__main__":
    main()
