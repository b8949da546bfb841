"""The fault wall through the real server, on three wires, unary and streaming."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import WALL, Fault, Wire
from tests.server.completion.wall_scenarios import SCENARIOS, ways_of

WAYS = [
    pytest.param(fault, wire, stream, id=f"{fault}-{wire}-{'stream' if stream else 'unary'}")
    for fault in WALL
    for wire, stream in ways_of(fault)
]


@pytest.mark.parametrize(("fault", "wire", "stream"), WAYS)
async def test_the_public_faults(
    fault: Fault, wire: Wire, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    await SCENARIOS[fault](tmp_path, bundle, wire, stream)
