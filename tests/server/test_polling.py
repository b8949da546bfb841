"""The core's way of polling is chosen where it can be, and never against the user."""

from __future__ import annotations

import subprocess
import sys

import pytest
from turnout_server.doors.polling import LAST_RELEASE, SWITCH, VARIABLE, poll_directly

NEWER = f"{LAST_RELEASE[0]}.{LAST_RELEASE[1] + 1}.0"
KNOWN = f"{LAST_RELEASE[0]}.{LAST_RELEASE[1]}.9"

# A server and a call to it, with what the core has to say of its environment.
ANSWERS = """
import asyncio, sys
from turnout_server.doors.polling import poll_directly
poll_directly()
import grpc

async def main():
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await channel.unary_unary("/t.T/Echo")(b"there") == b"there"
    await server.stop(0)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("release", "given", "expected"),
    [
        (KNOWN, None, f"-{SWITCH}"),
        ("1.78.0rc1", "", f"-{SWITCH}"),
        (KNOWN, " tcp_rcv_lowat , ", f"tcp_rcv_lowat,-{SWITCH}"),
        (KNOWN, f"other,{SWITCH}", f"other,{SWITCH}"),
        (KNOWN, f"-{SWITCH}", f"-{SWITCH}"),
        (NEWER, None, None),
        (NEWER, "other", "other"),
    ],
)
def test_the_switch_is_set_where_it_is_known_and_nobody_has_set_it(
    release: str, given: str | None, expected: str | None
) -> None:
    environment = {} if given is None else {VARIABLE: given}
    poll_directly(environment, release)
    assert environment.get(VARIABLE) == expected


def test_the_core_that_is_installed_knows_the_switch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS], capture_output=True, text=True, timeout=60, check=True
    )
    assert "experiment" not in done.stderr.lower()


def test_the_command_line_loads_grpc_no_earlier() -> None:
    program = (
        "import sys, turnout_server.cli; assert not {'grpc', 'grpc._cython'} & set(sys.modules), 'too early'"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
