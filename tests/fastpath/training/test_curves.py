"""Calibration curves: each recovers what it can express, and held-out loss chooses among them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from turnout_fastpath.training.calibrating import apply_curves, calibrate_head, reliability
from turnout_fastpath.training.curves import MAX_KNOTS, Curve, Method, choose_curve, fit_curve, shrunk_line
from turnout_fastpath.training.linear_fits import Reals, logistic

FITTED = [Method.PLATT, Method.BETA, Method.ISOTONIC]


def draw(n: int, curve: Curve, seed: int) -> tuple[Reals, Reals, Reals]:
    """Logits, labels drawn from a true curve, and equal weights."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, n)
    return logits, (random.random(n) < logistic(curve.apply(logits))).astype(float), np.ones(n)


def names(n: int) -> npt.NDArray[np.str_]:
    """Groups of one row each."""
    return np.array([str(i) for i in range(n)])


@pytest.mark.parametrize("method", FITTED)
def test_a_line_is_recovered(method: Method) -> None:
    truth = Curve(0.5, -0.8)
    curve = fit_curve(method, *draw(8000, truth, 1))
    x = np.linspace(-3, 3, 30)
    assert np.abs(logistic(curve.apply(x)) - logistic(truth.apply(x))).max() < 0.06


@pytest.mark.parametrize("method", FITTED)
def test_curves_rise_and_fit_the_engines_limit(method: Method) -> None:
    for n in (2, 15, 40, 3000):
        for seed in range(4):
            logits, labels, weights = draw(n, Curve(-1.0, 0.0), seed)
            curve = fit_curve(method, logits, labels, weights)
            assert np.diff(curve.apply(np.linspace(-9, 9, 200))).min() >= -1e-9
            assert len(curve.raw) <= MAX_KNOTS
            assert list(curve.raw) == sorted(set(curve.raw))
            assert Curve.of(curve.entry()).apply(logits) == pytest.approx(curve.apply(logits), abs=1e-4)


def test_held_out_loss_chooses() -> None:
    straight = draw(3000, Curve(0.6, 0.4), 2)
    assert choose_curve(*straight, names(3000))[0] is Method.PLATT
    stairs = Curve(raw=(-6.0, -0.6, -0.5, 0.5, 0.6, 6.0), calibrated=(-2.5, -2.5, 0.0, 0.0, 2.5, 2.5))
    method, losses = choose_curve(*draw(6000, stairs, 3), names(6000))
    assert method is Method.ISOTONIC
    assert set(losses) == {"platt", "beta", "isotonic"}


def test_what_is_good_is_kept_and_what_is_wrong_is_not() -> None:
    logits, labels, weights = draw(1500, Curve(0.6, 0.4), 4)
    groups, tasks = names(1500), np.zeros(1500, np.intp)
    right = calibrate_head(logits, labels, weights, groups, tasks, 1, kept=[Curve(0.6, 0.4)])
    assert right.method is Method.KEPT and right.by_task == (Curve(0.6, 0.4),)
    wrong = calibrate_head(logits, labels, weights, groups, tasks, 1, kept=[Curve(2.0, -1.0)])
    assert wrong.method is Method.ADJUSTED
    before, after = reliability(logistic(2 * logits - 1), labels), reliability(wrong.held_out, labels)
    assert before.ece > before.bound and after.ece < after.bound


def test_a_task_with_few_rows_keeps_the_pooled_curve() -> None:
    logits, labels, weights = draw(3000, Curve(1.0, 0.0), 5)
    tasks = np.where(np.arange(3000) < 2000, 0, np.where(np.arange(3000) < 2990, 1, 2))
    other = tasks == 1
    labels[other] = (np.random.default_rng(0).random(other.sum()) < logistic(logits[other] + 2)).astype(float)
    found = calibrate_head(logits, labels, weights, names(3000), tasks, 4)
    assert found.by_task[2] == found.pooled and found.by_task[3] == found.pooled
    assert found.rows_by_task == (2000, 990, 10, 0)
    by_task = reliability(apply_curves(found.by_task, logits, tasks)[other], labels[other])
    pooled = reliability(apply_curves([found.pooled] * 4, logits, tasks)[other], labels[other])
    assert by_task.ece < pooled.ece / 2


def test_few_rows_are_shrunk_towards_no_change() -> None:
    logits, labels, weights = draw(2000, Curve(1.0, 1.5), 6)
    intercepts = [shrunk_line(logits[:n], labels[:n], weights[:n], 200.0)[1] for n in (20, 200, 2000)]
    assert 0 <= abs(intercepts[0]) < intercepts[1] < intercepts[2] < 1.6


def test_the_bound_is_what_perfect_calibration_keeps_to() -> None:
    random = np.random.default_rng(7)
    inside = 0
    for _ in range(60):
        p = random.random(400)
        one = reliability(p, (random.random(400) < p).astype(float))
        inside += one.ece <= one.bound
    assert 50 <= inside <= 60
    # The mean of a bin of m rows is off by sqrt(2 / pi) standard errors on average; the bound lies a little above.
    average = np.sqrt(2 / np.pi) * np.sqrt(0.6 * 0.4 / 100)
    assert average < reliability(np.full(1500, 0.6), np.zeros(1500)).bound < 1.6 * average


def test_reliability_without_labels() -> None:
    assert reliability(np.array([0.5]), np.array([np.nan])).rows == 0
