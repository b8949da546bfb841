"""Deadlines: every call has one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from turnout.service_config import load_service_config

_ROUTING = "turnout.v1.RoutingService"
_COMPLETION = "turnout.v1.CompletionService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Deadlines of calls that are given none, in seconds."""

    route_s: float
    route_or_s: float
    batch_s: float
    stream_s: float
    complete_s: float
    complete_stream_s: float
    health_s: float


def plan_timeouts(timeout_s: float | None, route_or_timeout_s: float) -> Timeouts:
    """The client's deadlines.

    Args:
        timeout_s: of `route`, `route_batch` and `check_health`, instead of the service config's.
        route_or_timeout_s: of `route_or`.

    Raises:
        ValueError: a deadline that is no positive number.
    """
    for name, value in (("timeout_s", timeout_s), ("route_or_timeout_s", route_or_timeout_s)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name}: {value} breaks the limit: more than 0 seconds, finite")
    defaults_s = load_service_config().timeouts_s
    return Timeouts(
        route_s=timeout_s or defaults_s[f"{_ROUTING}/Route"],
        route_or_s=route_or_timeout_s,
        batch_s=timeout_s or defaults_s[f"{_ROUTING}/RouteBatch"],
        stream_s=defaults_s[f"{_ROUTING}/RouteStream"],
        complete_s=defaults_s[f"{_COMPLETION}/Complete"],
        complete_stream_s=defaults_s[f"{_COMPLETION}/CompleteStream"],
        health_s=timeout_s or defaults_s["grpc.health.v1.Health/Check"],
    )
