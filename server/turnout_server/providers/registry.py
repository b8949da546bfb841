"""Every provider that a policy may name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from turnout_server.providers.anthropic import AnthropicWire
from turnout_server.providers.dialects import DIALECTS
from turnout_server.providers.gemini import GeminiWire
from turnout_server.providers.http_provider import HttpProvider
from turnout_server.providers.openai import OpenAiWire
from turnout_server.providers.protocol import Clock, Provider
from turnout_server.providers.simulated import SimulatedProvider
from turnout_server.providers.transport import Transport
from turnout_server.providers.wire import WireFormat

SIMULATED = "simulated"
WIRES: Mapping[str, WireFormat] = {
    **{name: OpenAiWire(dialect) for name, dialect in DIALECTS.items()},
    "anthropic": AnthropicWire(),
    "gemini": GeminiWire(),
}
PROVIDER_NAMES = frozenset({*WIRES, SIMULATED})


def create_providers(
    transport: Transport,
    clock: Clock = time.monotonic,
    wall: Callable[[], float] = time.time,
    simulated: Provider | None = None,
) -> dict[str, Provider]:
    """Providers by the name that a policy's deployments give as `provider`.

    Args:
        transport: of all that speak HTTP.
        clock: monotonic seconds, in which deadlines are.
        wall: seconds since the epoch.
        simulated: the provider without a network; None: the default one.
    """
    providers: dict[str, Provider] = {
        name: HttpProvider(wire, transport, clock, wall) for name, wire in WIRES.items()
    }
    providers[SIMULATED] = simulated or SimulatedProvider(clock=clock)
    return providers
