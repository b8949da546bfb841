"""Model versions: what is told, by the counts that processes give."""

from __future__ import annotations

from collections import Counter

from turnout_server.quality.drift.model_versions import AWAY_S, ModelChange, ModelVersions

from tests.server.resilience.fake_clock import FakeClock


class Upstream:
    """Answers of deployments, counted as the processes count them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.versions = ModelVersions(self.clock)

    def answer(self, *versions: str, deployment: str = "d", model: str = "m") -> list[ModelChange]:
        for version in versions:
            self.counts[deployment, model, version] += 1
        self.clock.advance(1)
        return self.versions.take((labels, float(count)) for labels, count in self.counts.items())


def test_a_change_is_told_once() -> None:
    upstream = Upstream()
    assert upstream.answer("v1") == upstream.answer() == upstream.answer("v1") == []
    assert upstream.answer("v2") == [ModelChange("d", "m", "v1", "v2")]
    assert upstream.answer("v2") == []


def test_two_versions_in_turn_are_one_change() -> None:
    upstream = Upstream()
    upstream.answer("v1")
    told = [upstream.answer(version) for version in ("v2", "v1", "v2", "v1", "v1", "v2")]
    assert told == [[ModelChange("d", "m", "v1", "v2")], [], [], [], [], []]


def test_a_version_that_returns_after_long_is_told() -> None:
    upstream = Upstream()
    upstream.answer("v1")
    upstream.answer("v2")
    upstream.clock.advance(AWAY_S - 3)
    assert upstream.answer("v1") == []
    upstream.answer("v2")
    upstream.clock.advance(AWAY_S)
    assert upstream.answer("v1") == [ModelChange("d", "m", "v2", "v1")]


def test_a_deployment_that_is_seldom_asked_has_not_changed() -> None:
    upstream = Upstream()
    for _ in range(3):
        assert upstream.answer("v1") == []
        upstream.clock.advance(2 * AWAY_S)


def test_what_is_seen_first_and_another_model_are_no_change() -> None:
    upstream = Upstream()
    assert upstream.answer("v1", "v2") == []
    assert upstream.answer("w1", model="n") == []
    assert upstream.answer("v9", deployment="e") == []
    assert upstream.answer("w2", model="n") == [ModelChange("d", "n", "w1", "w2")]
