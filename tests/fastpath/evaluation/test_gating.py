"""The gate: what passes by chance, what needs more rows, what fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from turnout_fastpath.training.evaluation.decided_rows import DecidedRows
from turnout_fastpath.training.evaluation.gating import Verdict, judge, lower_bound, passes
from turnout_fastpath.training.tiers import Tier, TierLabels

Array = npt.NDArray[np.float64]
DELTA = 0.02


def names(n: int) -> npt.NDArray[np.str_]:
    return np.arange(n).astype(str)


@pytest.mark.parametrize(
    ("rows", "losses", "wins"),
    [(60, 0.02, 0), (150, 0.02, 0), (300, 0.02, 0), (300, 0.05, 0.03), (600, 0.1, 0.08)],
)
def test_what_loses_delta_seldom_passes(rows: int, losses: float, wins: float) -> None:
    """True difference exactly -delta: at most 5% pass, and a little for the count of trials."""
    source = np.random.default_rng(rows)
    passed = 0
    for _ in range(300):
        drawn = source.random(rows)
        differences = np.where(drawn < losses, -1.0, np.where(drawn > 1 - wins, 1.0, 0.0))
        passed += lower_bound(differences, names(rows), np.ones(rows), replicates=400) >= -DELTA
    assert passed <= 0.05 * 300 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_lossless_rows_bound_the_loss_by_three_over_n() -> None:
    for rows in (50, 150, 1000):
        bound = lower_bound(np.zeros(rows), names(rows), np.ones(rows))
        assert bound == pytest.approx(-3 / (rows + 1), rel=0.35)


def test_copies_of_a_question_are_one_question() -> None:
    differences = np.zeros(400)
    lone = lower_bound(differences, names(400), np.ones(400))
    copied = lower_bound(differences, np.repeat(names(20), 20), np.ones(400))
    assert copied < 5 * lone


def decided(at: list[int]) -> DecidedRows:
    n = len(at)
    nothing: Any = np.zeros((n, 1))
    flags = np.zeros(n, np.bool_)
    return DecidedRows(
        ("small", "top"), np.array(at, np.intp), nothing, nothing, np.zeros((n, 2)), names(n), flags, flags
    )


def labels(small: Array, top: Array) -> TierLabels:
    scores = np.stack([small, top], axis=1)
    gain = (top - small)[:, None]
    tiers = (Tier("small", ("small",)), Tier("top", ("top",)))
    costs = np.tile([1.0, 10.0], (len(small), 1))
    return TierLabels(tiers, scores, costs, (gain <= 0).astype(np.float64), gain)


def judged(small: Array, top: Array, at: list[int], reference: list[int] | None = None) -> Any:
    n = len(at)
    tasks = np.array(["chat"] * n)
    other = None if reference is None else decided(reference)
    return judge(
        labels(small, top), decided(at), other, tasks, names(n), np.ones(n), delta=DELTA, replicates=1000
    )


def test_enough_equal_rows_pass() -> None:
    (cell,) = judged(np.ones(400), np.ones(400), [0] * 400)
    assert cell.verdict is Verdict.PASSED
    assert cell.saved == pytest.approx(0.9)
    assert passes([cell], allow_undecided=False)


def test_few_rows_are_undecided_and_fail_unless_allowed() -> None:
    (cell,) = judged(np.ones(20), np.ones(20), [0] * 20)
    assert cell.verdict is Verdict.UNDECIDED
    assert "more rows are needed" in cell.reason
    assert not passes([cell], allow_undecided=False)
    assert passes([cell], allow_undecided=True)


def test_a_tier_that_loses_fails_however_few_the_rows() -> None:
    small = np.ones(20)
    small[:3] = 0
    (cell,) = judged(small, np.ones(20), [0] * 20)
    assert (cell.verdict, cell.difference) == (Verdict.FAILED, pytest.approx(-0.15))
    assert not passes([cell], allow_undecided=True)


def test_only_what_goes_to_the_cheaper_tier_is_judged() -> None:
    """A thousand rows at the top do not hide what a hundred at the cheaper tier lose."""
    small = np.concatenate([np.zeros(10), np.ones(90), np.zeros(1000)])
    (cell,) = judged(small, np.ones(1100), [0] * 100 + [1] * 1000)
    assert (cell.rows, cell.verdict) == (100, Verdict.FAILED)


def test_against_a_bundle_that_decides_alike_nothing_is_lost() -> None:
    small = np.zeros(400)
    (cell,) = judged(small, np.ones(400), [0] * 400, reference=[0] * 400)
    assert (cell.difference, cell.verdict) == (0, Verdict.PASSED)


def test_nothing_below_the_top_is_no_pass() -> None:
    assert judged(np.ones(50), np.ones(50), [1] * 50) == []
    assert not passes([], allow_undecided=True)


def test_rows_without_the_scores_are_left_out() -> None:
    small = np.ones(400)
    small[:200] = np.nan
    (cell,) = judged(small, np.ones(400), [0] * 400)
    assert cell.rows == 200
