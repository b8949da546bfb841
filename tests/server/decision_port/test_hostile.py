"""A short run of `python -m tests.server.decision_port.hostile`, which runs as long as one likes."""

from __future__ import annotations

from random import Random

from turnout_server.settings import Settings

from tests.server.decision_port.hostile import be_hostile_to_a_new_port
from tests.server.decision_port.hostile_frames import HostileConnection


async def test_hostile_frames_leave_memory_descriptors_and_others_alone(
    port_settings: Settings, log: object
) -> None:
    tally = await be_hostile_to_a_new_port(port_settings, 4.0, seed=1)
    assert not tally.defects()
    assert tally.frames > 1000
    assert tally.answered > 100


def test_equal_seeds_are_equally_hostile() -> None:
    drawn = []
    for _ in range(2):
        hostile = HostileConnection(Random(7))
        drawn.append((hostile.opening(), hostile.frames(200)))
    assert drawn[0] == drawn[1]
