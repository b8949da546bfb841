"""AUC against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.training.evaluation.ranking import Ranking, auc

from tests.fastpath.evaluation import reference

WISHES = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=12)


@given(WISHES)
def test_auc_is_the_share_of_pairs(rows: list[tuple[int, bool]]) -> None:
    wish, positive = [float(w) for w, _ in rows], [p for _, p in rows]
    found = auc(Ranking(np.array(wish)), np.array(positive), np.ones(len(rows)))
    assert found == pytest.approx(reference.auc(wish, positive), nan_ok=True)


@given(WISHES, st.data())
def test_a_weight_is_so_many_equal_rows(rows: list[tuple[int, bool]], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    wish, positive = np.array([float(w) for w, _ in rows]), np.array([p for _, p in rows])
    repeated = np.repeat(np.arange(len(rows)), counts)
    if not len(repeated):
        return
    weighted = auc(Ranking(wish), positive, np.array([counts, counts], np.float64))
    expected = float(auc(Ranking(wish[repeated]), positive[repeated], np.ones(len(repeated))))
    assert weighted == pytest.approx([expected, expected], nan_ok=True)


def test_a_wish_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="the wish of row 1 is not a number"):
        Ranking(np.array([0.0, np.nan]))
