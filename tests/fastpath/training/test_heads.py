"""What is chosen for a head: nothing where labels teach nothing, a correction where they do."""

from __future__ import annotations

import numpy as np
import pytest
from turnout_fastpath.training.head_candidates import LEAST_SLOPE, Change, Columns, Target
from turnout_fastpath.training.heads import Head, fit_head
from turnout_fastpath.training.linear_fits import logistic


def columns_of(n: int, seed: int) -> tuple[Columns, np.random.Generator]:
    """An own logit, an own gain, and twenty inputs of which ten are features."""
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((n, 20))
    return Columns(own=random.standard_normal((n, 2)), inputs=inputs, n_features=10, length=0), random


def fit(columns: Columns, labels: np.ndarray, target: Target, base: int | None) -> Head:
    n = len(labels)
    return fit_head(columns, base, labels, np.ones(n), [str(i) for i in range(n)], target)


@pytest.mark.parametrize("seed", range(5))
def test_a_right_output_stays_as_it_is(seed: int) -> None:
    columns, random = columns_of(300, seed)
    labels = (random.random(300) < logistic(columns.own[:, 0])).astype(float)
    head = fit(columns, labels, Target.SHARE, 0)
    assert head.candidate.change in (Change.NONE, Change.RECALIBRATED)
    gains = columns.own[:, 1] + random.standard_normal(300)
    head = fit(columns, gains, Target.GAIN, 1)
    assert head.candidate.change in (Change.NONE, Change.RECALIBRATED)


def test_a_correction_is_made_where_it_helps() -> None:
    columns, random = columns_of(400, 1)
    truth = columns.own[:, 0] + 2 * columns.inputs[:, 15]
    head = fit(columns, (random.random(400) < logistic(truth)).astype(float), Target.SHARE, 0)
    assert head.candidate.change is Change.CORRECTED and head.candidate.columns == "inputs"
    assert head.loss < head.loss_before - head.standard_error
    others, random = columns_of(3000, 2)
    truth = others.own[:, 0] + 2 * others.inputs[:, 15]
    assert np.corrcoef(head.apply(others), truth)[0, 1] > 0.9
    assert head.own[0] == pytest.approx(1, abs=0.4)


def test_a_correction_is_never_much_worse_on_new_rows() -> None:
    """Over many draws of few labels, with and without something to learn."""
    gaps = []
    for seed in range(30):
        columns, random = columns_of(200, seed)
        effect = 0.0 if seed % 2 else 0.6
        gains = 0.5 * columns.own[:, 1] + effect * columns.inputs[:, 3] + random.standard_normal(200)
        head = fit(columns, gains, Target.GAIN, 1)
        others, random = columns_of(2000, 1000 + seed)
        truth = 0.5 * others.own[:, 1] + effect * others.inputs[:, 3]
        gaps.append(np.mean((head.apply(others) - truth) ** 2) - np.mean((others.own[:, 1] - truth) ** 2))
    assert np.mean(gaps) < 0 and np.max(gaps) < 0.05


def test_recalibration_keeps_the_order() -> None:
    columns, random = columns_of(300, 3)
    labels = (random.random(300) < logistic(-2 * columns.own[:, 0])).astype(float)
    flat = Columns(own=columns.own, inputs=np.zeros((300, 20)), n_features=10, length=0)
    head = fit(flat, labels, Target.SHARE, 0)
    # The inputs say nothing; own outputs may be turned around only by a correction, not by a recalibration.
    assert head.candidate.change is Change.CORRECTED or head.own[0] == LEAST_SLOPE


def test_a_head_from_nothing_learns_and_knows_what_it_cannot() -> None:
    columns, random = columns_of(500, 4)
    bare = Columns(own=np.zeros((500, 0)), inputs=columns.inputs, n_features=10, length=0)
    head = fit(
        bare, (random.random(500) < logistic(2 * columns.inputs[:, 2])).astype(float), Target.SHARE, None
    )
    assert head.candidate.change is Change.CORRECTED
    assert np.argmax(np.abs(head.inputs)) == 2
    assert np.isnan(head.loss_before)


def test_rows_without_labels_do_not_count() -> None:
    columns, random = columns_of(400, 5)
    labels = columns.inputs[:, 0] + 0.1 * random.standard_normal(400)
    labels[::2] = np.nan
    head = fit(columns, labels, Target.GAIN, 1)
    assert np.isnan(head.predictions[::2]).all() and np.isfinite(head.predictions[1::2]).all()


def test_one_group_alone_is_no_failure() -> None:
    columns, random = columns_of(60, 6)
    labels = random.random(60)
    head = fit_head(columns, 1, labels, np.ones(60), ["one"] * 60, Target.GAIN)
    assert np.isfinite(head.predictions).all()
