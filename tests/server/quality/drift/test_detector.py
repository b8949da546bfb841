"""A stream's alarms: against a detector that keeps every decision, and by the clauses of what must hold."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, fisher_exact
from turnout_server.quality.drift.detector import (
    BLOCKS,
    END_SHARE,
    FALSE_ALARM,
    Change,
    Detector,
    DriftRules,
    Mix,
)
from turnout_server.quality.drift.dimensions import Dimension

RULES = DriftRules(reference=1000, recent=300, threshold=0.2)
USUAL = {"small": 70.0, "mid": 20.0, "frontier": 10.0}
SHIFTED = {"small": 30.0, "mid": 20.0, "frontier": 50.0}


def mix_of(tiers: list[str]) -> Mix:
    """Decisions that differ in their tier alone."""
    mix: dict[Dimension, dict[str, float]] = {one: {"same": len(tiers)} for one in Dimension}
    return mix | {Dimension.TIER: Counter(tiers)}


def draw(random: Random, shares: dict[str, float], n: int) -> list[str]:
    return random.choices(list(shares), list(shares.values()), k=n)


def feed(
    detector: Detector, random: Random, shares: dict[str, float], n: int, *, step: int = 10
) -> list[Change]:
    """Gives the detector `n` decisions, `step` at a time."""
    changes = []
    for _ in range(n // step):
        changes += detector.add(mix_of(draw(random, shares, step)))
    return changes


class Keeper:
    """The same by other means: keeps every batch, and works everything out anew each time."""

    def __init__(self, rules: DriftRules) -> None:
        self.rules = rules
        self.batches: list[list[str]] = []
        self.looks = 0
        self.alarmed = False

    def add(self, batch: list[str]) -> bool | None:
        """Whether an alarm begins (True) or ends (False)."""
        self.batches.append(batch)
        reference: list[str] = []
        blocks: list[list[str]] = [[]]
        for one in self.batches:
            if len(reference) < self.rules.reference:
                reference += one
                continue
            if len(blocks[-1]) >= self.rules.recent / BLOCKS:
                blocks.append([])
            blocks[-1] += one
        is_complete = bool(blocks[-1]) and len(blocks[-1]) >= self.rules.recent / BLOCKS
        if not is_complete or sum(map(len, blocks)) < self.rules.recent:
            return None
        recent: list[str] = []
        while len(recent) < self.rules.recent:
            recent += blocks.pop()
        self.looks += 1
        return self._judge(Counter(reference), Counter(recent))

    def _judge(self, before: Counter[str], after: Counter[str]) -> bool | None:
        names = sorted(before | after)
        least = 5 * (before.total() + after.total()) / min(before.total(), after.total())
        columns = [(before[name], after[name]) for name in names]
        commonest = max(columns, key=sum)
        columns.remove(commonest)
        rare = [one for one in columns if sum(one) < least]
        columns = [one for one in columns if sum(one) >= least]
        if rare:
            rest = (sum(a for a, _ in rare), sum(b for _, b in rare))
            if sum(rest) < least and columns:
                smallest = min(reversed(columns), key=sum)
                columns.remove(smallest)
                rest = (rest[0] + smallest[0], rest[1] + smallest[1])
            columns.append(rest)
        columns.append(commonest)
        if len(columns) < 2:
            index, chance = 0.0, 1.0
        else:
            table = list(zip(*columns, strict=True))
            if min(map(sum, columns)) < least:
                chance = fisher_exact(table).pvalue
            else:
                chance = chi2_contingency(table, False, "log-likelihood").pvalue
            p, q = ([x + 0.5 for x in row] for row in zip(*columns, strict=True))
            pairs = [(a / sum(p), b / sum(q)) for a, b in zip(p, q, strict=True)]
            index = sum((b - a) * math.log(b / a) for a, b in pairs)
        level = FALSE_ALARM / (len(Dimension) * self.looks * (self.looks + 1))
        if self.alarmed and index < END_SHARE * self.rules.threshold:
            self.alarmed = False
            return False
        if not self.alarmed and index >= self.rules.threshold and chance <= level:
            self.alarmed = True
            return True
        return None


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.builds(DriftRules, reference=st.integers(20, 120), recent=st.integers(10, 80), threshold=st.just(0.2)),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_it_says_what_one_that_keeps_everything_says(
    seed: int, rules: DriftRules, batches: list[tuple[int, int]]
) -> None:
    random = Random(seed)
    kinds = (USUAL, USUAL, SHIFTED, {"frontier": 80.0, "small": 15.0, "odd": 5.0})
    detector, keeper = Detector(rules), Keeper(rules)
    for kind, size in batches:
        batch = draw(random, kinds[kind], size)
        changes = detector.add(mix_of(batch))
        expected = keeper.add(batch)
        assert [one.began for one in changes] == ([] if expected is None else [expected])
        assert (Dimension.TIER in detector.alarmed) == keeper.alarmed
        assert all(one.dimension is Dimension.TIER for one in changes)


def test_a_shift_alarms_once_and_says_what_moved() -> None:
    random, detector = Random(3), Detector(RULES)
    assert feed(detector, random, USUAL, 3000) == []
    [change] = feed(detector, random, SHIFTED, 1000)
    assert (change.dimension, change.began) == (Dimension.TIER, True)
    assert change.stability_index >= RULES.threshold
    by_category = {one.category: one for one in change.moved}
    assert [one.category for one in change.moved][-1] == "mid"
    assert by_category["small"].before == pytest.approx(0.7, abs=0.05)
    assert by_category["small"].after < by_category["small"].before - 0.1
    assert by_category["frontier"].after > by_category["frontier"].before + 0.1
    assert detector.alarmed == {Dimension.TIER}


def test_few_decisions_never_alarm_however_other_they_are() -> None:
    random, detector = Random(4), Detector(RULES)
    feed(detector, random, USUAL, 1000)
    assert feed(detector, random, {"frontier": 1.0}, RULES.recent - 10, step=1) == []
    assert detector.indexes == {}
    assert feed(detector, random, {"frontier": 1.0}, 30) != []


def test_a_large_index_of_small_windows_is_not_enough() -> None:
    """Where windows are so small that the index of an equal mix passes the threshold, the test stops it."""
    rules = DriftRules(reference=100, recent=50, threshold=0.02)
    shares = {name: 10.0 for name in "abcdefghij"}
    large = alarms = 0
    for seed in range(100):
        random, detector = Random(seed), Detector(rules)
        alarms += bool(feed(detector, random, shares, 400, step=5))
        large += detector.indexes[Dimension.TIER] >= rules.threshold
    assert large > 70
    assert alarms == 0


def test_the_same_mix_is_no_alarm_by_the_test_alone() -> None:
    """The bound is FALSE_ALARM for a stream's life: of 300 streams 0.03, and 2 have a chance of 1 in 2,000."""
    rules = DriftRules(reference=400, recent=150, threshold=0.0)
    shares = {"a": 40.0, "b": 25.0, "c": 15.0, "d": 10.0, "e": 6.0, "f": 4.0}
    alarms = 0
    for seed in range(300):
        random, detector = Random(seed), Detector(rules)
        alarms += bool(feed(detector, random, shares, 1300, step=15))
    assert alarms < 2


def test_an_alarm_ends_below_half_of_the_threshold_and_not_before() -> None:
    random, detector = Random(5), Detector(RULES)
    feed(detector, random, USUAL, 1000)
    assert [one.began for one in feed(detector, random, SHIFTED, 600)] == [True]
    # Between half and the whole: neither an end, nor a second alarm.
    between = {"small": 56.0, "mid": 20.0, "frontier": 24.0}
    assert feed(detector, random, between, 600) == []
    assert RULES.threshold * END_SHARE < detector.indexes[Dimension.TIER] < RULES.threshold
    assert [one.began for one in feed(detector, random, USUAL, 600)] == [False]
    assert detector.alarmed == set()
    assert [one.began for one in feed(detector, random, SHIFTED, 600)] == [True]


def test_what_comes_together_is_one_step() -> None:
    detector = Detector(RULES)
    assert detector.add(mix_of(["small"] * 5000)) == []
    assert detector.reference_decisions == 5000
    [change] = detector.add(mix_of(["frontier"] * 5000))
    assert change.moved[0].before + change.moved[0].after == 1
    assert detector.recent_decisions == 5000
