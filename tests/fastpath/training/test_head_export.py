"""An extended model says what the map says, once and twice extended."""

from __future__ import annotations

import numpy as np
import pytest
from turnout_fastpath import Bundle
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.training.head_export import ScoreMap, extend_model

from tests.fastpath.synthetic import N_OUTPUTS


@pytest.mark.parametrize("n_heads", [1, 2, 7])
def test_extended_models_apply_the_map(base: Bundle, n_heads: int) -> None:
    random = np.random.default_rng(n_heads)
    width = len(base.manifest["feature_means"])
    model, n_own = base.classifier, N_OUTPUTS
    rows = random.standard_normal((200, width)).astype(np.float32) * 3
    for _ in range(2):
        n_new = 4 + 2 * n_heads + 1
        score_map = ScoreMap(
            mean=random.standard_normal(width),
            # The last column is constant, and far outside: standardisation leaves it out.
            scale=np.append(random.uniform(0.5, 3, width - 1), 0.0),
            carried=random.standard_normal((n_own, n_new)),
            added=random.standard_normal((width, n_new)),
            constants=random.standard_normal(n_new),
        )
        own = Classifier(model, width, n_own).score(rows)
        model = extend_model(model, score_map)
        theirs = Classifier(model, width, n_new).score(rows)
        np.testing.assert_allclose(theirs, score_map.apply(rows, own), rtol=1e-4, atol=1e-4)
        n_own = n_new
