"""What is counted of a decision."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from turnout_fastpath import Engine, Request
from turnout_server.quality.drift.dimensions import (
    Dimension,
    p_sufficient_category,
    tokens_category,
)
from turnout_server.quality.drift.tally import MixTally, Port
from turnout_server.quality.store.sampling import is_drawn


@pytest.mark.parametrize(
    ("tokens", "category"),
    [
        (0, "0-15"),
        (15, "0-15"),
        (16, "16-31"),
        (31, "16-31"),
        (32, "32-63"),
        (500, "256-511"),
        (32_767, "16384-32767"),
        (32_768, "32768+"),
        (10**9, "32768+"),
    ],
)
def test_lengths(tokens: int, category: str) -> None:
    assert tokens_category(tokens) == category


@pytest.mark.parametrize(
    ("p", "category"),
    [(None, "none"), (0.0, "0.0-0.1"), (0.05, "0.0-0.1"), (0.3, "0.3-0.4"), (1.0, "0.9-1.0")],
)
def test_probabilities(p: float | None, category: str) -> None:
    assert p_sufficient_category(p) == category


def test_every_dimension_counts_each_decision_once(bundle: Path) -> None:
    engine = Engine.load(bundle)
    requests = [Request("what is the capital of france"), Request("hello " * 300)]
    requests.append(Request("why", rules_only=True))
    decisions = [engine.decide(request) for request in requests]
    tally = MixTally(Port.MAIN)
    tally.count(decisions[:2])
    assert sum(count for _, count in tally.read()) == 2 * len(Dimension)
    tally.count(decisions[2:])
    found = {labels: count for labels, count in tally.read()}
    totals = Counter(labels[2] for labels, count in found.items() for _ in range(int(count)))
    assert totals == dict.fromkeys(Dimension, 3)
    assert {labels[:2] for labels in found} == {("default", "main")}
    for one in decisions:
        assert found["default", "main", "tier", one.tier]
        assert found["default", "main", "status", one.status.name.lower()]
        assert found["default", "main", "tokens", tokens_category(one.tokens_total)]
        assert found["default", "main", "p_sufficient", p_sufficient_category(one.candidates[0].p_sufficient)]
    assert found["default", "main", "task", "none"] == 1


def test_a_share_is_drawn_as_the_store_draws(bundle: Path) -> None:
    engine = Engine.load(bundle)
    decisions = [engine.route("hello") for _ in range(200)]
    tally = MixTally(Port.DECISION, 0.25)
    tally.count(decisions)
    counted = sum(count for labels, count in tally.read() if labels[2] == Dimension.STATUS)
    assert counted == sum(is_drawn(one.decision_id, 0.25) for one in decisions)
    assert 0 < counted < 200
