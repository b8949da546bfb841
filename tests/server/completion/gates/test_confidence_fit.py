"""Thresholds against a search over every cut."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.completion.gates.confidence_fit import (
    REFUSE_ALL,
    Graded,
    Thresholds,
    fit_thresholds,
    upper_bound,
)

rows = st.lists(
    st.builds(
        Graded, st.sampled_from(["math", "chat"]), st.integers(0, 20).map(lambda n: n / 20), st.booleans()
    ),
    max_size=120,
)


def best(group: list[Graded], max_wrong: float) -> float:
    """The least confidence whose answers keep the target, by trying each."""
    found = REFUSE_ALL
    for cut in {row.confidence for row in group}:
        kept = [row.right for row in group if row.confidence >= cut]
        if upper_bound(kept.count(False), len(kept)) <= max_wrong:
            found = min(found, cut)
    return found


@given(rows, st.floats(0.05, 0.9))
def test_a_threshold_is_the_least_that_keeps_the_target(given_rows: list[Graded], max_wrong: float) -> None:
    fitted = fit_thresholds(given_rows, max_wrong, min_rows=10)
    for task in ("math", "chat"):
        group = [row for row in given_rows if row.task == task]
        assert fitted.tasks.get(task) == (best(group, max_wrong) if len(group) >= 10 else None)
    assert fitted.default == (best(given_rows, max_wrong) if len(given_rows) >= 10 else None)


@given(st.integers(1, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_bound_is_wilsons(counts: tuple[int, int]) -> None:
    wrong, of = counts
    bound = upper_bound(wrong, of)
    share = wrong / of
    assert share - 1e-12 <= bound <= 1
    # By its definition, the bound is a share from which the one seen is z standard errors away.
    if wrong < of:
        assert (bound - share) / math.sqrt(bound * (1 - bound) / of) == pytest.approx(1.6448536, rel=1e-6)


def test_a_task_of_few_rows_takes_the_default() -> None:
    few = [Graded("math", 0.9, True)] * 20
    many = [Graded("chat", 0.9, True)] * 200 + [Graded("chat", 0.2, False)] * 200
    fitted = fit_thresholds([*few, *many], max_wrong=0.05)
    assert fitted == Thresholds(default=0.9, tasks={"chat": 0.9})
    assert fitted.for_task("math") == 0.9
    assert fit_thresholds(few, 0.05) == Thresholds()


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_the_target_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="max_wrong"):
        fit_thresholds([], share)
