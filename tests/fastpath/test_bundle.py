"""A damaged bundle is refused with an error that names file and both values; writing is all or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turnout_fastpath import Bundle, BundleError, Engine, load_bundle
from turnout_fastpath.bundle import FIELDS, FILES, inputs_revision
from turnout_fastpath.classifier import ClassifierError
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES, FEATURES_REVISION

from tests.fastpath.conftest import BundleMaker
from tests.fastpath.documents import bucket, document
from tests.fastpath.synthetic import (
    EXEMPLARS,
    HEADS,
    INPUTS,
    TASKS,
    constant_classifier,
    scores_of,
    toy_vocabulary,
    write_synthetic,
)

PIECES = len(toy_vocabulary())
N_FEATURES = len(ALL_FEATURE_NAMES)
ARRAYS = [name for name, kind in FILES.items() if kind]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound bundle."""
    return write_synthetic(tmp_path / "bundle")


def error_of(path: Path) -> str:
    """What loading and compiling a bundle fails with, behind the file's path."""
    with pytest.raises(BundleError) as caught:
        Engine.load(path, document())
    return str(caught.value).removeprefix(f"{path}/")


def edit_manifest(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    file = path / "manifest.json"
    manifest = json.loads(file.read_bytes())
    edit(manifest)
    file.write_text(json.dumps(manifest))


def forge(path: Path, name: str, data: bytes) -> None:
    """Replaces a file, and its size and hash in the manifest."""
    (path / name).write_bytes(data)
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit_manifest(path, lambda manifest: manifest["files"][name].update(entry))


def test_bundle_has_what_was_written(path: Path) -> None:
    bundle = load_bundle(path)
    assert bundle.vocabulary == toy_vocabulary()
    assert (bundle.tasks, bundle.heads, bundle.exemplars) == (list(TASKS), list(HEADS), EXEMPLARS)
    assert {name: array.dtype.name for name, array in bundle.arrays.items()} == {
        name.removesuffix(".npy"): kind[0] for name, kind in FILES.items() if kind
    }
    assert bundle.revision == hashlib.blake2b((path / "manifest.json").read_bytes(), digest_size=8).digest()
    assert Engine.load(path, document()).route("hello").bundle_revision == bundle.revision.hex()


def test_arrays_are_mapped_and_read_only(path: Path) -> None:
    for array in load_bundle(path).arrays.values():
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_description_is_for_people(path: Path) -> None:
    description = load_bundle(path).describe()
    assert description["name"] == "synthetic"
    assert description["path"] == str(path)
    assert not {"files", "feature_means", "similarity"} & set(description)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file(path: Path, name: str) -> None:
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[:-1])
    assert error_of(path) == f"{name}: {len(data) - 1} bytes, the manifest says {len(data)}"


@pytest.mark.parametrize("name", FILES)
def test_changed_file(path: Path, name: str) -> None:
    data = bytearray((path / name).read_bytes())
    before = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    assert error_of(path) == f"{name}: sha256 {hashlib.sha256(data).hexdigest()}, the manifest says {before}"


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_missing_file(path: Path, name: str) -> None:
    (path / name).unlink()
    assert error_of(path) == f"{name}: No such file or directory"


def test_missing_folder(tmp_path: Path) -> None:
    assert error_of(tmp_path / "nowhere") == "manifest.json: No such file or directory"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"format": 1,'])
def test_manifest_that_is_no_json(path: Path, data: bytes) -> None:
    (path / "manifest.json").write_bytes(data)
    assert error_of(path).startswith("manifest.json: no JSON: ")


@pytest.mark.parametrize(
    ("text", "found"), [('{"format": 2}', "2"), ("{}", "None"), ("[]", "'list'"), ('{"format": "1"}', "'1'")]
)
def test_manifest_of_another_format(path: Path, text: str, found: str) -> None:
    (path / "manifest.json").write_text(text)
    assert error_of(path) == f"manifest.json: format {found}, needed: 1"


@pytest.mark.parametrize("field", FIELDS)
def test_manifest_without_a_field(path: Path, field: str) -> None:
    edit_manifest(path, lambda manifest: manifest.pop(field))
    assert error_of(path) == f"manifest.json: no {field}"


@pytest.mark.parametrize("field", ["tasks", "heads"])
def test_manifest_with_nothing_in_a_field(path: Path, field: str) -> None:
    edit_manifest(path, lambda manifest: manifest.update({field: []}))
    assert error_of(path) == f"manifest.json: no {field}"


@pytest.mark.parametrize(
    "edit",
    [
        lambda files: files.pop("vocab.txt"),
        lambda files: files.update({"more.txt": {}}),
        lambda files: files.clear(),
    ],
    ids=["one less", "one more", "none"],
)
def test_manifest_that_lists_other_files(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    edit_manifest(path, lambda manifest: edit(manifest["files"]))
    files = json.loads((path / "manifest.json").read_bytes())["files"]
    assert error_of(path) == f"manifest.json: files {sorted(files)}, needed: {sorted(FILES)}"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda manifest: manifest["similarity"].pop("raw"), "manifest.json: no 'raw'"),
        (lambda manifest: manifest["abstain"].pop("unknown_share"), "manifest.json: no 'unknown_share'"),
        (lambda manifest: manifest["output_tokens"].pop("math"), "manifest.json: no 'math'"),
        (lambda manifest: manifest["heads"][1].pop("calibration"), "manifest.json: no 'calibration'"),
        (
            lambda manifest: manifest["heads"][1].update(calibration={"tasks": {}}),
            "manifest.json: no 'default'",
        ),
        (
            lambda manifest: manifest["heads"][1]["calibration"].update(
                tasks={"math": {"raw": [0.0], "calibrated": [0.0]}}
            ),
            "manifest.json: heads[1].calibration of math has 1 and 1 knots, needed: 2 to 16 pairs",
        ),
        (
            lambda manifest: manifest["heads"][0]["calibration"].update(
                tasks={"chat": {"raw": [0.0, 1.0], "calibrated": [0.5, 0.4]}}
            ),
            "manifest.json: heads[0].calibration of chat: knots [0.0, 1.0] to [0.5, 0.4] do not rise",
        ),
        (
            lambda manifest: manifest["similarity"].update(raw=[0, 0.5, 1]),
            "manifest.json: similarity has 3 and 2 knots, needed: 2 to 32 pairs",
        ),
        (
            lambda manifest: manifest["inputs"][2].update(feature="colour"),
            "manifest.json: inputs[2]: no feature 'colour'",
        ),
        (
            lambda manifest: manifest["inputs"][2].update(transform="cube"),
            "manifest.json: inputs[2]: no transform 'cube'; known: identity, log1p, sqrt",
        ),
        (
            lambda manifest: manifest["inputs"].extend(manifest["inputs"][:1] * N_FEATURES),
            f"manifest.json: inputs has {len(INPUTS) + N_FEATURES} entries, limit: {N_FEATURES}",
        ),
    ],
)
def test_manifest_with_a_defect(path: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    edit_manifest(path, edit)
    assert error_of(path) == message


def test_features_of_other_kernels(path: Path) -> None:
    edit_manifest(path, lambda manifest: manifest.update(features_revision="00" * 8))
    with pytest.raises(BundleError) as caught:
        Engine.load(path, document())
    found = f"features revision {'00' * 8}, these kernels have {FEATURES_REVISION.hex()}"
    assert str(caught.value) == f"{path}: {found}; train the bundle anew"


def test_another_number_of_feature_means(path: Path) -> None:
    width = len(load_bundle(path).manifest["feature_means"])
    edit_manifest(path, lambda manifest: manifest["feature_means"].pop())
    with pytest.raises(BundleError) as caught:
        Engine.load(path, document())
    assert str(caught.value) == f"{path}: feature_means has shape ({width - 1},), needed: ({width},)"


@pytest.mark.parametrize("name", ARRAYS)
def test_array_of_another_type(tmp_path: Path, name: str) -> None:
    path = write_synthetic(tmp_path / "b")
    stem = name.removesuffix(".npy")
    array = load_bundle(path).arrays[stem]
    write_synthetic(path, arrays={stem: array.astype(np.float64)})
    kind = FILES[name]
    assert kind
    assert error_of(path) == f"{name}: {array.ndim} dimensions of float64, needed: {kind[1]} of {kind[0]}"


@pytest.mark.parametrize("name", ARRAYS)
def test_array_of_another_number_of_dimensions(tmp_path: Path, name: str) -> None:
    path = write_synthetic(tmp_path / "b")
    stem = name.removesuffix(".npy")
    array = load_bundle(path).arrays[stem]
    write_synthetic(path, arrays={stem: array[None]})
    assert error_of(path).startswith(
        f"{name}: {array.ndim + 1} dimensions of {array.dtype}, needed: {array.ndim} of "
    )


@pytest.mark.parametrize("name", ARRAYS)
def test_array_of_another_shape_than_the_manifest_says(path: Path, name: str) -> None:
    shape = list(load_bundle(path).arrays[name.removesuffix(".npy")].shape)
    wanted = [shape[0] + 1, *shape[1:]]
    edit_manifest(path, lambda manifest: manifest["files"][name].update(shape=wanted))
    assert error_of(path) == f"{name}: shape {shape}, the manifest says {wanted}"


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"no array at all"], ids=["empty", "cut", "other"])
def test_array_in_no_format(path: Path, name: str, data: bytes) -> None:
    forge(path, name, data)
    assert error_of(path).startswith(f"{name}: ")


def test_array_that_holds_objects_is_not_unpickled(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([object], dtype=object), allow_pickle=True)
    forge(path, "clusters.npy", (tmp_path / "objects.npy").read_bytes())
    assert error_of(path).startswith("clusters.npy: ")


@pytest.mark.parametrize(
    ("stem", "array", "message"),
    [
        ("clusters", np.ones((5, 32), np.int8), "clusters.npy is 32 wide, embedding.npy 16"),
        ("clusters", np.zeros((5, 16), np.int8), "clusters.npy: vector 0 is zero"),
        ("embedding", np.ones((9, 16), np.int8), f"embedding.npy: {PIECES} weights for 9 rows"),
        (
            "embedding",
            np.ones((PIECES, 24), np.int8),
            "embedding.npy: rows are 24 wide, needed: a multiple of 16 up to 256",
        ),
        (
            "embedding_weights",
            np.full(PIECES, 20000, np.uint16),
            "embedding.npy: weight 20000 of row 0 exceeds 16383",
        ),
        (
            "ngrams",
            np.ones((1000, 16), np.int8),
            "ngrams.npy: the table has 1000 rows, needed: a power of two",
        ),
        ("ngram_scales", np.ones(8, np.float32), "ngrams.npy: 8 scales for 16 columns"),
    ],
)
def test_arrays_that_do_not_fit_together(
    tmp_path: Path, stem: str, array: np.ndarray[Any, Any], message: str
) -> None:
    assert message in error_of(write_synthetic(tmp_path / "b", arrays={stem: array}))


def test_another_number_of_pieces_than_rows(tmp_path: Path) -> None:
    tables: dict[str, np.ndarray[Any, Any]] = {
        "embedding": np.ones((7, 16), np.int8),
        "embedding_weights": np.ones(7, np.uint16),
    }
    path = write_synthetic(tmp_path / "b", arrays=tables)
    with pytest.raises(BundleError) as caught:
        Engine.load(path, document())
    assert str(caught.value) == f"{path}: embedding.npy has 7 rows for {PIECES} pieces of vocab.txt"


def test_vocabulary_without_unknown(tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "b", vocabulary=["a", "b"])
    assert error_of(path) == "vocab.txt: the vocabulary of 2 pieces has no [UNK]"


def test_classifier_of_another_shape(tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "b", classifier=constant_classifier(7, [0.0] * 9))
    with pytest.raises(ClassifierError, match=r"(?s)running the classifier on 1 x 41: .*Got: 41 Expected: 7"):
        Engine.load(path, document())


def test_classifier_that_is_no_model(tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "b", classifier=b"no model")
    with pytest.raises(ClassifierError, match="loading the classifier: "):
        Engine.load(path, document())


def test_exemplar_without_a_word(path: Path) -> None:
    with pytest.raises(BundleError, match="bucket 'hard': the exemplar ' ' has no known word piece"):
        Engine.load(path, document(buckets=[bucket("hard", ["hello", " "], floor="mid")]))


def names_beside(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_written_bundle_takes_the_place_of_the_old_one(path: Path) -> None:
    before = load_bundle(path)
    engine = Engine.load(path, document())
    expected = engine.route("hello").digest
    write_synthetic(path, seed=1)
    assert load_bundle(path).revision != before.revision
    assert names_beside(path) == ["bundle"]
    # The old files are mapped still.
    assert engine.route("hello").digest == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"arrays": {"ngrams": None}},
        {"vocabulary": ["[UNK]", "\ud800"]},
        {"exemplars": {"x": object()}},
        {"name": object()},
        {"classifier": "text"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_failed_write_leaves_the_old_bundle(path: Path, fields: dict[str, Any]) -> None:
    before = load_bundle(path).revision
    with pytest.raises((TypeError, ValueError, AttributeError)):
        write_synthetic(path, **fields)
    assert load_bundle(path).revision == before
    assert names_beside(path) == ["bundle"]


def test_first_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_synthetic(tmp_path / "bundle", name=object())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", ["bundle.partial", "bundle.retired"])
def test_what_a_killed_writer_left_is_no_obstacle(path: Path, left: str) -> None:
    (path.parent / left).mkdir()
    (path.parent / left / "vocab.txt").write_text("half")
    write_synthetic(path, seed=1)
    assert isinstance(load_bundle(path), Bundle)
    assert names_beside(path) == ["bundle"]


def test_inputs_revision_is_of_what_the_classifier_reads(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(seed=1)
    revision = inputs_revision(bundle)
    same = make_bundle(seed=1, scores=scores_of(), exemplars={"known_hard": ["write a poem"]}, name="other")
    assert inputs_revision(same) == revision
    assert len(revision) == 16
    others = [
        make_bundle(seed=1, arrays={"ngram_scales": np.full(16, 0.5, np.float32)}),
        make_bundle(seed=2),
        make_bundle(seed=1, inputs=bundle.manifest["inputs"][::-1]),
    ]
    assert len({revision, *map(inputs_revision, others)}) == 4
