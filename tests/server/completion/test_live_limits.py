"""How often a worker reads what was spent before, and of which day."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from turnout_fastpath import StateBlock
from turnout_server.budget_records import BudgetRecords
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


class Passing(FakeClock):
    """A second passes from one look to the next."""

    def unix_s(self) -> float:
        self.advance(1.0)
        return super().unix_s()


def test_what_is_read_of_a_day_that_ends_meanwhile_is_read_again(
    bundle: Path, policy: Path, document: dict[str, Any], log: object
) -> None:
    policy.write_text(json.dumps(document | {"budgets": {"tenants": {"acme": {"day_usd": 1}}}}))
    snapshot = Source(policy, bundle).compile(StateBlock())
    limits = LiveLimits(snapshot, FakeClock(), Random(), Metrics(), place=WorkerPlace(0, 2))
    records = BudgetRecords(limits, None, None, Passing(unix_s=20_000 * 86_400 - 1.5))
    assert not records.restore_now()
    assert limits.readings_due
    assert records.restore_now()
    # Without a store there is nothing to read again.
    assert not limits.readings_due
