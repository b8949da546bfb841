"""Outcomes as they are read back: everything of a decision, each decision once, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest
from sqlalchemy import Connection
from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.quality.store.outcomes import read_outcome, read_outcomes
from turnout_server.quality.store.place import Place, make_engine
from turnout_server.quality.store.records import ScoreRecord
from turnout_server.quality.store.store import OutcomeStore

from tests.server.quality.store.examples import (
    NOON_MS,
    PRICE,
    attempt,
    comparison,
    cost,
    decision,
    gates,
    score,
)

OpenStore = Callable[..., OutcomeStore]


@contextmanager
def opened(place: Place) -> Iterator[Connection]:
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_all_of_a_decision_comes_back(place: Place, open_store: OpenStore) -> None:
    store = open_store(place)
    made = decision(
        "d1", p_sufficient={"small": 0.9}, features=b"\x00\x00\x80?", propensity=0.25, task="math"
    )
    store.record_decision(made)
    store.record_attempt(attempt("a1", "d1", result=AttemptResult.SERVED, fault=None))
    store.record_cost(cost("a1", "d1"), PRICE)
    store.record_attempt(attempt("a2", "d1", begun_ms=NOON_MS + 1, purpose=Purpose.SHADOW))
    store.record_gates(gates("a1", "d1"))
    given = [
        score("j1", "d1"),
        ScoreRecord(
            "d1",
            "a2",
            NOON_MS + 9,
            Purpose.SHADOW,
            "small",
            0.5,
            0.5,
            0.05,
            "usual",
            "frontier",
            "judge-us",
            "m-7",
        ),
    ]
    for one in given:
        store.record_score(one)
    store.record_comparison(comparison("a2", "d1"))
    store.record_decision(decision("d2"))
    assert store.flush(10)
    with opened(place) as connection:
        found = read_outcome(connection, "d1")
        bare = read_outcome(connection, "d2")
        assert read_outcome(connection, "d3") is None
    assert found is not None
    assert found.decision == made
    assert [(one.attempt_id, one.tier, one.purpose) for one in found.attempts] == [
        ("a1", "small", Purpose.SERVE),
        ("a2", "", Purpose.SHADOW),
    ]
    assert found.attempts[0].verdicts == gates("a1", "d1").verdicts
    assert found.scores == tuple(given)
    assert found.comparisons == (comparison("a2", "d1"),)
    assert bare is not None
    assert (bare.attempts, bare.scores, bare.comparisons) == ((), (), ())


@pytest.mark.parametrize("page", [1, 3, 500])
def test_pages_leave_nothing_out_and_repeat_nothing(page: int, place: Place, open_store: OpenStore) -> None:
    random = Random(page)
    store = open_store(place)
    told = {f"d{i:02d}": (random.randrange(5), random.choice(["one", "two"])) for i in range(40)}
    for name, (minute, policy) in told.items():
        store.record_decision(decision(name, at_ms=NOON_MS + minute, policy=policy))
        for i in range(random.randrange(3)):
            store.record_score(score(f"{name}-{i}", name))
    assert store.flush(10)
    with opened(place) as connection:
        everything = list(read_outcomes(connection, page=page))
        some = list(
            read_outcomes(connection, since_ms=NOON_MS + 1, until_ms=NOON_MS + 4, policy="two", page=page)
        )
    assert [one.decision.decision_id for one in everything] == sorted(
        told, key=lambda name: (told[name][0], name)
    )
    assert all(s.decision_id == one.decision.decision_id for one in everything for s in one.scores)
    wanted = {name for name, (minute, policy) in told.items() if 1 <= minute < 4 and policy == "two"}
    assert {one.decision.decision_id for one in some} == wanted
