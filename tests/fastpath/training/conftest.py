"""A bundle of random tables to start from, and data to learn."""

from __future__ import annotations

import pytest
from turnout_fastpath import Bundle
from turnout_fastpath.training.labelled_data import LabelledData, read_labelled_data

from tests.fastpath.conftest import BundleMaker
from tests.fastpath.training.labels import write_labels

TIERS = ("small", "mid", "frontier")


@pytest.fixture(scope="session")
def base(make_bundle: BundleMaker) -> Bundle:
    """A bundle that knows nothing: random tables and a random model with the heads small and mid."""
    return make_bundle(seed=3)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    """Six hundred rows of the made-up truth."""
    path = write_labels(tmp_path_factory.mktemp("labels") / "labels.jsonl", 600, TIERS, missing=0.1)
    return read_labelled_data(path)
