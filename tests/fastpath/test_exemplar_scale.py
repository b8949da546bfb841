"""Each exemplar's own scale: the share of unrelated prompts that match, and what the engine makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from turnout_fastpath import Engine, load_bundle
from turnout_fastpath.bundle import BundleError, write_bundle
from turnout_fastpath.exemplar_scale import MATCH, SAME, UNRELATED_MATCHES, fit_bucket

from tests.fastpath.documents import bucket, document
from tests.fastpath.synthetic import write_synthetic

Array = npt.NDArray[np.float64]


def unit(rows: Array) -> Array:
    result: Array = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return result


@given(
    st.integers(1, 12),
    st.integers(1, 900),
    hnp.arrays(np.float64, 8, elements=st.floats(-2, 2)),
    st.integers(0, 1000),
)
def test_no_more_unrelated_rows_match_than_allowed(k: int, n: int, shift: Array, seed: int) -> None:
    source = np.random.default_rng(seed)
    exemplars, background = unit(source.normal(size=(k, 8)) + shift), unit(source.normal(size=(n, 8)) + shift)
    scale = fit_bucket(exemplars, background)
    cosines = background.astype(np.float32) @ exemplars.astype(np.float32).T
    unrelated = cosines[(cosines < SAME).all(axis=1)]
    if len(unrelated):
        matching = (unrelated >= scale.match).any(axis=1).mean()
        assert matching <= UNRELATED_MATCHES or (scale.match.max() >= 0.97 and matching < 0.5)
    assert scale.median < 0
    assert (scale.match < 1).all()


def test_an_exemplar_near_everything_asks_for_more() -> None:
    """One exemplar lies amid the unrelated prompts, the other apart: the nearer one has the higher match cosine."""
    source = np.random.default_rng(0)
    background = unit(source.normal(size=(4000, 16)) * 0.3 + np.eye(16)[0])
    scale = fit_bucket(np.eye(16)[:2], background)
    assert scale.match[0] > scale.match[1] + 0.1


def test_its_own_wording_always_matches() -> None:
    exemplar = unit(np.arange(1.0, 9.0)[None])
    everything_alike = np.repeat(exemplar, 50, axis=0)
    assert fit_bucket(exemplar, everything_alike).match[0] < 1


def with_background(folder: Path, rows: npt.NDArray[np.int8]) -> Path:
    """The synthetic bundle with a sample of unrelated prompts."""
    bundle = load_bundle(write_synthetic(folder))
    manifest: dict[str, Any] = {k: v for k, v in bundle.manifest.items() if k not in ("format", "files")}
    arrays = {name: np.array(array) for name, array in bundle.arrays.items()} | {"background": rows}
    write_bundle(
        folder,
        manifest,
        vocabulary=bundle.vocabulary,
        arrays=arrays,
        exemplars=bundle.exemplars,
        classifier=bundle.classifier,
    )
    return folder


def test_the_engine_uses_the_scale_of_each_exemplar(tmp_path: Path) -> None:
    """What the engine explains is the greatest of the exemplars' own scales, against NumPy."""
    dim = load_bundle(write_synthetic(tmp_path / "plain")).arrays["embedding"].shape[1]
    rows = np.random.default_rng(5).integers(-127, 128, (500, dim), np.int8)
    folder = with_background(tmp_path / "bundle", rows)
    texts = ["write a poem", "the capital of france", "poem"]
    engine = Engine.load(folder, document(buckets=[bucket("b", texts, floor="mid")]))
    background = unit(rows.astype(np.float64))
    embed = engine.snapshot.embed
    levels = np.stack([embed(text) for text in texts]).astype(np.float64)
    levels = np.rint(levels / np.abs(levels).max(axis=1, keepdims=True) * 127)
    scale = fit_bucket(unit(levels), background)
    for prompt in ("poem", "write the poem", "capital", "of", "hello world"):
        cosines = unit(levels) @ embed(prompt).astype(np.float64)
        raw = ((cosines - scale.match) / (1 - scale.match)).max()
        knots = [min(2 * scale.median, -2.0), scale.median, 0.0, 1.0]
        expected = float(np.interp(raw, knots, [-1.0, 0.5, MATCH, 1.0]))
        explanation = engine.route(prompt, explain=True).explanation
        assert explanation is not None
        assert explanation.buckets["b"] == pytest.approx(expected, abs=2e-3), prompt


def test_a_sample_of_another_width_is_refused(tmp_path: Path) -> None:
    folder = with_background(tmp_path / "bundle", np.ones((3, 5), np.int8))
    with pytest.raises(BundleError, match=r"background\.npy is 5 wide"):
        Engine.load(folder, document())


def test_a_damaged_sample_is_refused(tmp_path: Path) -> None:
    folder = with_background(tmp_path / "bundle", np.ones((3, 16), np.int8))
    (folder / "background.npy").write_bytes(b"x" * (folder / "background.npy").stat().st_size)
    with pytest.raises(BundleError, match=r"background\.npy: sha256"):
        load_bundle(folder)
