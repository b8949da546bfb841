"""Results of batches and streams: for each request a decision, or the error that stands in its place."""

from __future__ import annotations

from collections.abc import Sequence

from grpc import StatusCode

from turnout.decision import Decision
from turnout.error_decoding import decode_item_error
from turnout.errors import InternalError, TurnoutError
from turnout.v1 import routing_pb2


def decode_result(result: routing_pb2.RouteResult) -> Decision | TurnoutError:
    """The decision or the error of one request."""
    match result.WhichOneof("result"):
        case "response":
            return Decision.from_response(result.response)
        case "error":
            return decode_item_error(result.error)
        case _:
            # A kind of result that a newer server knows.
            return TurnoutError("a result of an unknown kind", code=StatusCode.UNKNOWN)


def decode_results(results: Sequence[routing_pb2.RouteResult], asked: int) -> list[Decision | TurnoutError]:
    """The results of a batch of `asked` requests.

    Raises:
        InternalError: there are not as many results as requests, so that none can be matched.
    """
    if len(results) != asked:
        message = f"{len(results)} results for {asked} requests"
        raise InternalError(message, code=StatusCode.INTERNAL)
    return [decode_result(result) for result in results]
