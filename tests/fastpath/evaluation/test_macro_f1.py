"""Macro F1 for many weightings at once, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from turnout_fastpath.training.evaluation.macro_f1 import macro_f1


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), classes=st.integers(1, 6))
@settings(max_examples=60)
def test_each_weighting_has_its_own_f1(seed: int, n: int, classes: int) -> None:
    source = np.random.default_rng(seed)
    labels, said = source.integers(0, classes, n), source.integers(0, classes + 1, n)
    weights = source.integers(0, 3, (4, n)).astype(float)
    weights[:, 0] += 1
    found = macro_f1(labels, said, weights)
    for own, value in zip(weights, found, strict=True):
        reference = f1_score(
            labels, said, average="macro", labels=np.unique(labels), sample_weight=own, zero_division=0
        )
        assert value == pytest.approx(reference)
