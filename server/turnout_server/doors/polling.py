"""How gRPC's core waits for its sockets.

Since event engines came to Python, a thread of the core reads a server's sockets and hands each event to the thread that
Python polls with. Polled by that thread itself, as before, a `Route` costs a quarter less CPU where one call is under way at
a time, and a tenth less at 64 of them; it comes a tenth of a millisecond sooner. The core keeps both ways, and chooses by an
environment variable that it reads once: https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from importlib.metadata import version

VARIABLE = "GRPC_EXPERIMENTS"
SWITCH = "event_engine_listener"
# The last release that is known to have the switch. A core that has it no more complains of it.
LAST_RELEASE = (1, 85)


def poll_directly(environment: MutableMapping[str, str] = os.environ, release: str | None = None) -> None:
    """Has the servers of this process, and of those that it starts, poll their sockets themselves.

    To be called before grpc is imported, which is when the core reads it. What the variable says of the switch already
    stands.

    Args:
        environment: of the process.
        release: of grpcio; None: the one that is installed.
    """
    major, minor = (release or version("grpcio")).split(".")[:2]
    given = [name.strip() for name in environment.get(VARIABLE, "").split(",") if name.strip()]
    if (int(major), int(minor)) > LAST_RELEASE or any(name.removeprefix("-") == SWITCH for name in given):
        return
    environment[VARIABLE] = ",".join([*given, f"-{SWITCH}"])
