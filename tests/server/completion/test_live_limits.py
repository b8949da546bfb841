"""How often a worker reads what was spent before."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from turnout_fastpath import StateBlock
from turnout_server.completion.live_limits import LiveLimits
from turnout_server.completion.stated_limits import WorkerPlace
from turnout_server.observability.metrics import Metrics
from turnout_server.reloading import Source

from tests.server.resilience.fake_clock import FakeClock


def test_records_are_read_once_or_by_one_of_several_workers_thrice_and_for_the_policy_in_force(
    bundle: Path, policy: Path, document: dict[str, Any]
) -> None:
    state = StateBlock()
    snapshots = []
    for budgets in ({}, {"tenants": {"acme": {"day_usd": 1}}}, {"tenants": {"acme": {"day_usd": 2}}}):
        policy.write_text(json.dumps(document | {"budgets": budgets}))
        snapshots.append(Source(policy, bundle).compile(state))
    for workers, readings in ((1, 1), (2, 3)):
        place = WorkerPlace(0, workers)
        limits = LiveLimits(snapshots[0], FakeClock(), Random(), Metrics(), place=place)
        assert limits.readings_due == 0
        limits.follow(snapshots[1])
        assert limits.readings_due == readings
        # A new policy came while the store was read.
        before = limits.book
        limits.follow(snapshots[2])
        limits.restore({}, before)
        assert limits.readings_due == readings
        for left in reversed(range(readings)):
            limits.restore({}, limits.book)
            assert limits.readings_due == left
        # The same limits under another revision.
        limits.follow(Source(policy, bundle).compile(state))
        assert limits.readings_due == 0
