"""What a bundle carries besides: the sample of unrelated prompts, and what it was trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from turnout_fastpath import Engine, load_bundle
from turnout_fastpath.bundle import DEFAULT_BUNDLE
from turnout_fastpath.training.background import background_levels, unrelated_texts
from turnout_fastpath.training.evaluation.seen_rows import find_seen
from turnout_fastpath.training.everyday_rows import load_everyday
from turnout_fastpath.training.everyday_sample import write_sample
from turnout_fastpath.training.labelled_data import read_labelled_data
from turnout_fastpath.training.supplement import supplement


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "supplemented"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    supplement(folder, None)
    return folder


def test_the_classifier_is_the_same_and_old_bundles_still_load(bundle: Path) -> None:
    before, after = load_bundle(DEFAULT_BUNDLE), load_bundle(bundle)
    assert before.classifier == after.classifier
    assert before.revision != after.revision
    prompt = "What is the capital of France?"
    old, new = (Engine.load(path).route(prompt) for path in (DEFAULT_BUNDLE, bundle))
    assert [one.p_sufficient for one in old.candidates] == [one.p_sufficient for one in new.candidates]


def test_single_exemplars_recall_most_paraphrases_and_little_else(bundle: Path) -> None:
    """On paraphrases and prompts that fitted nothing; the limit of unrelated matches is the design's."""
    figures = json.loads((bundle / "manifest.json").read_text())["metrics"]["exemplar_scale"]
    assert figures["by_size"]["1"]["paraphrase_recall"] >= 0.75
    assert all(size["unrelated_matches"] <= 0.005 for size in figures["by_size"].values())


def test_what_was_trained_on_is_told_apart(bundle: Path, tmp_path: Path) -> None:
    loaded = load_bundle(bundle)
    for set_apart, share in ((False, 1.0), (True, 0.0)):
        path = tmp_path / f"{set_apart}.jsonl"
        write_sample(path, part=0, of=1, set_apart=set_apart)
        seen = find_seen(loaded, read_labelled_data(path))
        assert seen.known
        assert seen.seen.mean() == pytest.approx(share, abs=0.01)


def test_the_sample_is_of_other_rows_than_it_is_measured_on() -> None:
    sample, apart = (set(unrelated_texts(None, set_apart=which)) for which in (False, True))
    frontier = {row.last_user_turn for row in load_everyday() if row.tier == "frontier"}
    assert len(sample & apart) <= 0.01 * len(apart)
    assert not sample & frontier - {row.last_user_turn for row in load_everyday() if row.tier != "frontier"}


def test_zero_vectors_are_no_sample() -> None:
    vectors = np.zeros((10, 16), np.float32)
    vectors[:4, 0] = 1
    assert background_levels(vectors).shape == (4, 16)
    assert background_levels(vectors, rows=2).shape == (2, 16)
