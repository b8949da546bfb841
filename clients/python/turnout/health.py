"""The standard health check, grpc.health.v1.Health/Check, without the package grpcio-health-checking.

Both messages have one field, number 1, and so the wire form of a wrapper type: HealthCheckRequest.service
that of StringValue, HealthCheckResponse.status that of Int32Value.
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from turnout.open_enum import OpenIntEnum

CHECK_METHOD = "/grpc.health.v1.Health/Check"


class HealthStatus(OpenIntEnum):
    """What a service says of itself; numbers of grpc.health.v1.HealthCheckResponse.ServingStatus."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def encode_check(service: str) -> bytes:
    """A HealthCheckRequest; the empty service means the whole server."""
    return StringValue(value=service).SerializeToString()


def decode_check(message: bytes) -> HealthStatus:
    """The status in a HealthCheckResponse."""
    return HealthStatus(Int32Value.FromString(message).value)
