"""Baselines: what they may know."""

from __future__ import annotations

import numpy as np
import pytest
from turnout_fastpath.training.evaluation.baselines import category_means, length_wish, trust_by_rank


def test_a_row_is_not_told_its_own_group() -> None:
    """Values that only the group shares: the mean of others says nothing of them."""
    groups = np.repeat(np.arange(50), 4).astype(str)
    values = np.repeat(np.random.default_rng(0).normal(size=50), 4)
    categories = np.array(["one"] * 200)
    means = category_means(values, categories, groups, np.ones(200))
    for group in range(50):
        assert len(np.unique(means[groups == str(group)])) == 1
    changed = values.copy()
    changed[groups == "7"] += 100
    again = category_means(changed, categories, groups, np.ones(200))
    assert again[groups == "7"] == pytest.approx(means[groups == "7"])


def test_categories_with_many_rows_get_their_own_mean() -> None:
    categories = np.array(["easy", "hard"] * 2000)
    values = np.where(categories == "hard", 1.0, 0.0)
    means = category_means(values, categories, np.arange(4000).astype(str), np.ones(4000))
    assert means[categories == "hard"].min() > 0.99
    assert means[categories == "easy"].max() < 0.01


def test_length_is_of_characters() -> None:
    assert length_wish(["né", "", "four"]).tolist() == [2, 0, 4]


def test_rank_keeps_the_order_in_every_tier() -> None:
    trust = trust_by_rank(np.array([5.0, 1.0, 3.0]), np.array([0.4, 0.8]))
    assert (np.diff(trust[[1, 2, 0]], axis=0) < 0).all()
    assert (trust[:, 1] > trust[:, 0]).all()
