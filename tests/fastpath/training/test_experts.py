"""Experts on recorded scores: means of kinds, and linear fits within families, against small reference solutions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from turnout_fastpath.training.experts import (
    FAMILY_MIN_ROWS,
    PENALTIES,
    PENALTY_FOLDS,
    Experts,
    choose_penalty,
    fit_experts,
    fit_linear,
    fit_logistic,
    kind_means,
    softmax,
)

Floats = npt.NDArray[np.float64]


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    family_of=st.lists(st.integers(0, 2), min_size=1, max_size=6).map(sorted),
)
@settings(max_examples=50)
def test_means_of_kinds_lie_between_the_kinds_own_and_the_familys(
    seed: int, n: int, family_of: list[int]
) -> None:
    source = np.random.default_rng(seed)
    families = np.unique(family_of, return_inverse=True)[1]
    kinds = source.integers(0, len(families), n)
    labels, weights = source.random(n), source.uniform(0.1, 3, n)
    found = kind_means(labels, kinds, weights, families)
    assert ((found > 0) & (found < 1)).all()
    for kind, family in enumerate(families):
        own, of_family = kinds == kind, families[kinds] == family
        least = min([*labels[of_family], np.clip(np.average(labels, weights=weights), 0.01, 0.99)])
        most = max([*labels[of_family], np.clip(np.average(labels, weights=weights), 0.01, 0.99)])
        assert least - 1e-9 <= found[kind] <= most + 1e-9
        if own.all() and own.sum() > 1:
            assert found[kind] == pytest.approx(np.average(labels, weights=weights), abs=0.02)


def test_a_kind_with_many_rows_has_its_own_mean_and_one_with_none_its_familys() -> None:
    kinds = np.repeat([0, 2], 10_000)
    labels = np.repeat([0.2, 0.8], 10_000)
    found = kind_means(labels, kinds, np.ones(20_000), np.array([0, 0, 1]))
    assert found == pytest.approx([0.2, 0.2, 0.8], abs=0.01)


def test_linear_fits_are_ridges() -> None:
    source = np.random.default_rng(1)
    z, weights = source.normal(size=(80, 5)), source.uniform(0.2, 2, 80)
    values = z @ source.normal(size=5) + 3 + source.normal(size=80)
    coefficients, intercept = fit_linear(z, values, weights, np.full(5, 7.0))
    reference = Ridge(alpha=7.0).fit(z, values, sample_weight=weights)
    assert coefficients == pytest.approx(reference.coef_)
    assert intercept == pytest.approx(reference.intercept_)


def test_logistic_fits_are_penalised_logistic_regressions() -> None:
    source = np.random.default_rng(2)
    z = source.normal(size=(300, 4))
    labels = (source.random(300) < 1 / (1 + np.exp(-z @ [1, -1, 0.5, 0]))).astype(float)
    coefficients, intercept = fit_logistic(z, labels, np.zeros(300), np.ones(300), np.full(4, 2.0))
    reference = LogisticRegression(C=1 / 2.0, tol=1e-8).fit(z, labels)
    assert coefficients == pytest.approx(reference.coef_[0], abs=1e-4)
    assert intercept == pytest.approx(float(reference.intercept_[0]), abs=1e-4)


def test_an_offset_is_what_is_known_already() -> None:
    """With the true logits as offset, hardly anything is left to fit."""
    source = np.random.default_rng(3)
    z = source.normal(size=(5000, 3))
    truth = z @ [1.5, -1.0, 0.5] + 0.7
    labels = (source.random(5000) < 1 / (1 + np.exp(-truth))).astype(float)
    coefficients, intercept = fit_logistic(z, labels, truth, np.ones(5000), np.ones(3))
    assert np.abs([*coefficients, intercept]).max() < 0.15


@pytest.mark.parametrize(("noise", "expected"), [(0.01, PENALTIES[:1]), (1000.0, PENALTIES[-2:])])
def test_signal_asks_for_a_weak_penalty_and_noise_for_a_strong_one(
    noise: float, expected: tuple[float, ...]
) -> None:
    source = np.random.default_rng(4)
    z = source.normal(size=(3000, 30))
    values = z @ source.normal(size=30) + noise * source.normal(size=3000)
    folds = np.arange(3000) % PENALTY_FOLDS
    assert choose_penalty(z, values, np.ones(3000), np.ones(30), folds) in expected


def test_the_parts_of_an_output_are_weighed_by_the_probabilities_of_kinds() -> None:
    source = np.random.default_rng(5)
    family_of = np.array([0, 0, 1])
    experts = Experts(
        means=source.normal(size=(3, 4)),
        family_of=family_of,
        linear=source.normal(size=(2, 6, 4)),
        bias=source.normal(size=(2, 4)),
    )
    z, kinds = source.normal(size=(9, 6)), softmax(source.normal(size=(9, 3)))
    means, local = experts.parts(z, kinds)
    for row in range(9):
        assert means[row] == pytest.approx(sum(kinds[row, k] * experts.means[k] for k in range(3)), abs=1e-5)
        expected = sum(
            kinds[row, k] * (z[row] @ experts.linear[family_of[k]] + experts.bias[family_of[k]])
            for k in range(3)
        )
        assert local[row] == pytest.approx(expected, abs=1e-5)


def test_each_family_learns_its_own_slope_and_a_small_one_has_means_alone() -> None:
    source = np.random.default_rng(6)
    sizes = [4000, 4000, FAMILY_MIN_ROWS - 1]
    kinds = np.repeat([0, 1, 2], sizes)
    n = len(kinds)
    z = source.normal(size=(n, 2))
    gains = np.select([kinds == 0, kinds == 1], [z[:, 0], -z[:, 0]], 0.5)[:, None]
    suffices = np.full((n, 1), np.nan)
    experts = fit_experts(
        z,
        np.eye(3)[kinds],
        kinds,
        np.array([0, 1, 2]),
        suffices,
        gains,
        np.ones(n),
        [[], [], []],
        np.arange(n) % PENALTY_FOLDS,
    )
    assert experts.linear[0, 0, 1] > 0.8 and experts.linear[1, 0, 1] < -0.8
    assert not experts.linear[2].any() and not experts.bias[2].any()
    # Nothing is known of what suffices.
    assert not experts.means[:, 0].any()
    # Means of kinds with few rows are pulled towards that of all.
    assert 0.3 < experts.means[2, 1] < 0.5
