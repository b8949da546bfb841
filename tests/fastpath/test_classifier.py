"""The C API gives what onnxruntime's Python API gives; what is wrong with a model shows at load."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.classifier import Classifier, ClassifierError

from tests.fastpath.synthetic import FloatArray, constant_classifier, random_classifier

N_INPUTS, N_OUTPUTS = 40, 9
MODEL = random_classifier(N_INPUTS, N_OUTPUTS, seed=3)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(MODEL, N_INPUTS, N_OUTPUTS)


@pytest.fixture(scope="module")
def reference() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


def random_rows(n: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((n, N_INPUTS)).astype(np.float32)


@given(n=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_score_equals_onnxruntime(
    classifier: Classifier, reference: onnxruntime.InferenceSession, n: int, seed: int
) -> None:
    rows = random_rows(n, seed)
    (expected,) = reference.run(["scores"], {"x": rows})
    assert classifier.score(rows) == pytest.approx(expected, abs=1e-6)


@given(n=st.integers(2, 20), seed=st.integers(0, 2**32))
def test_a_batch_gives_what_single_rows_give(classifier: Classifier, n: int, seed: int) -> None:
    rows = random_rows(n, seed)
    batch = classifier.score(rows)
    for i in range(n):
        assert batch[i].tobytes() == classifier.score(rows[i : i + 1])[0].tobytes()


def test_score_takes_other_number_types(classifier: Classifier) -> None:
    rows = [[i % 3 for i in range(N_INPUTS)]]
    assert classifier.score(rows).tobytes() == classifier.score(np.array(rows, np.float32)).tobytes()


def test_score_of_no_rows_is_empty(classifier: Classifier) -> None:
    assert classifier.score(np.zeros((0, N_INPUTS))).shape == (0, N_OUTPUTS)


def test_classifier_says_its_shape(classifier: Classifier) -> None:
    assert (classifier.n_inputs, classifier.n_outputs) == (N_INPUTS, N_OUTPUTS)


@pytest.mark.parametrize("shape", [(N_INPUTS,), (1, N_INPUTS - 1), (1, N_INPUTS + 1), (1, 1, N_INPUTS)])
def test_rows_of_another_shape_are_refused(classifier: Classifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"rows have shape \({shape[0]},.*needed: \(n, {N_INPUTS}\)"):
        classifier.score(np.zeros(shape))


@pytest.mark.parametrize(
    ("n_inputs", "n_outputs"),
    [
        (N_INPUTS - 1, N_OUTPUTS),
        (N_INPUTS + 1, N_OUTPUTS),
        (N_INPUTS, N_OUTPUTS - 1),
        (N_INPUTS, N_OUTPUTS + 1),
    ],
)
def test_model_of_another_shape_than_promised_is_refused(n_inputs: int, n_outputs: int) -> None:
    with pytest.raises(ClassifierError, match=f"running the classifier on 1 x {n_inputs}: "):
        Classifier(MODEL, n_inputs, n_outputs)


@pytest.mark.parametrize("names", [("y", "scores"), ("x", "logits")])
def test_model_with_other_names_is_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ClassifierError, match=r"Invalid (input|output) name"):
        Classifier(MODEL, N_INPUTS, N_OUTPUTS, input_name=names[0], output_name=names[1])


@pytest.mark.parametrize("model", [b"", b"no model", MODEL[: len(MODEL) // 2], b"\0" * 1000])
def test_bytes_that_are_no_model_are_refused(model: bytes) -> None:
    with pytest.raises(ClassifierError, match="loading the classifier: "):
        Classifier(model, N_INPUTS, N_OUTPUTS)


def test_threads_share_a_classifier(classifier: Classifier) -> None:
    rows = [random_rows(1, seed) for seed in range(4)]
    expected = [classifier.score(row).tobytes() for row in rows]
    wrong: list[int] = []

    def run(i: int) -> None:
        wrong.extend(i for _ in range(300) if classifier.score(rows[i]).tobytes() != expected[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_classifier_outlives_the_callers_bytes() -> None:
    model = bytearray(constant_classifier(3, [1.5, 2.5]))
    kept = Classifier(bytes(model), 3, 2)
    model[:] = b"\0" * len(model)
    assert kept.score(np.zeros((1, 3))).tolist() == [[1.5, 2.5]]


def load_in_a_process(setup: str, path: Sequence[Path] = ()) -> str:
    """Standard output of a process that runs `setup` and then loads a classifier, printing what it raises."""
    script = f"""
import sys
{setup}
from turnout_fastpath.classifier import Classifier, ClassifierError
try:
    Classifier(b"", 1, 1)
except ClassifierError as error:
    print(error)
"""
    search = os.pathsep.join([*map(str, path), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_missing_package_says_what_to_install() -> None:
    said = load_in_a_process("sys.modules['onnxruntime'] = None")
    assert said == "the package onnxruntime is not installed; the extra turnout[engine] brings it\n"


def test_package_without_its_library_says_where_it_should_be(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").touch()
    said = load_in_a_process("", [tmp_path])
    assert said == f"no ONNX Runtime library at {tmp_path}/onnxruntime/capi/libonnxruntime.so*\n"


def test_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    library = tmp_path / "onnxruntime/capi/libonnxruntime.so.1"
    library.parent.mkdir(parents=True)
    (tmp_path / "onnxruntime/__init__.py").touch()
    library.write_bytes(b"no library")
    assert load_in_a_process("", [tmp_path]).startswith(f"{library}: ")
