"""Cases over faults and wires, for tests of this room."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.asking import Response
from tests.faults.fault import Fault
from tests.faults.reading import Reading, read_stream, read_unary
from tests.faults.wire import Wire


def ways(*faults: Fault) -> list[Any]:
    """Every fault on every wire that speaks it, unary and streaming."""
    return [
        pytest.param(fault, wire, stream, id=f"{fault}-{wire}-{'stream' if stream else 'unary'}")
        for fault in faults
        for wire in sorted(fault.wires)
        for stream in ((False, True) if fault.unary else (True,))
    ]


def read(wire: Wire, response: Response, *, stream: bool) -> Reading:
    """What a response says."""
    return read_stream(wire, response.body) if stream else read_unary(wire, response.body)
