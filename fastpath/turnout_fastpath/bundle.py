"""The learned artefact: a folder of files under a manifest, verified at load and mapped into memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 1
DEFAULT_BUNDLE = Path(__file__).parent / "bundles" / "default"

# What every bundle holds: file name, element type and number of dimensions of an array, or None for other content.
FILES: Mapping[str, tuple[str, int] | None] = {
    "vocab.txt": None,
    "embedding.npy": ("int8", 2),
    "embedding_weights.npy": ("uint16", 1),
    "ngrams.npy": ("int8", 2),
    "ngram_scales.npy": ("float32", 1),
    "clusters.npy": ("int8", 2),
    "exemplars.json": None,
    "classifier.onnx": None,
}
# What a bundle may hold besides: vectors of unrelated prompts, by which each exemplar gets a scale of its own.
OPTIONAL_FILES: Mapping[str, tuple[str, int] | None] = {"background.npy": ("int8", 2)}
# The files that the classifier's inputs are made with.
INPUT_FILES = (
    "vocab.txt",
    "embedding.npy",
    "embedding_weights.npy",
    "ngrams.npy",
    "ngram_scales.npy",
    "clusters.npy",
)
# What the kernels read of the manifest besides the files.
FIELDS = (
    "features_revision",
    "tasks",
    "heads",
    "inputs",
    "feature_means",
    "output_tokens",
    "abstain",
    "similarity",
)


class BundleError(ValueError):
    """The bundle is missing, damaged, of another format, or does not fit these kernels."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: the folder.
        manifest: the parsed manifest; see `docs/bundle.md` for its fields.
        revision: 8 bytes of a BLAKE2b hash of the manifest, which holds the hash of every other file.
        vocabulary: word pieces; the index is the piece's id.
        arrays: the .npy files by stem, read-only and memory-mapped.
        exemplars: example texts by set.
        classifier: the ONNX model, serialised.
    """

    path: Path
    manifest: Mapping[str, Any]
    revision: bytes
    vocabulary: list[str]
    arrays: Mapping[str, npt.NDArray[Any]]
    exemplars: Mapping[str, list[str]]
    classifier: bytes

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order of the classifier's outputs."""
        return list(self.manifest["tasks"])

    @property
    def heads(self) -> list[str]:
        """Names of the heads, cheapest first."""
        return [head["name"] for head in self.manifest["heads"]]

    def describe(self) -> dict[str, Any]:
        """The manifest without its numeric tables, for people."""
        hidden = {"feature_means", "similarity", "files"}
        return {key: value for key, value in self.manifest.items() if key not in hidden} | {
            "path": str(self.path),
            "revision": self.revision.hex(),
        }


def load_bundle(path: str | Path | None = None) -> Bundle:
    """Reads and verifies a bundle.

    Args:
        path: the bundle's folder; None means the one that ships with the package.

    Raises:
        BundleError: names the file, what it holds and what the manifest or the format asks for.
    """
    folder = DEFAULT_BUNDLE if path is None else Path(path)
    if folder.is_symlink():
        # All files of one bundle, even if the link is renamed meanwhile.
        folder = folder.resolve()
    manifest_path = folder / "manifest.json"
    try:
        raw = manifest_path.read_bytes()
    except OSError as error:
        raise BundleError(f"{manifest_path}: {error.strerror}") from error
    try:
        manifest = json.loads(raw)
    except ValueError as error:
        raise BundleError(f"{manifest_path}: no JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise BundleError(f"{manifest_path}: format {found!r}, needed: {FORMAT}")
    for field in FIELDS:
        if not manifest.get(field):
            raise BundleError(f"{manifest_path}: no {field}")
    listed = manifest.get("files")
    if not isinstance(listed, dict) or set(listed) - set(OPTIONAL_FILES) != set(FILES):
        raise BundleError(f"{manifest_path}: files {sorted(listed or ())}, needed: {sorted(FILES)}")

    for name, entry in listed.items():
        _verify(folder / name, entry)
    arrays = {
        name.removesuffix(".npy"): _load_array(folder / name, kind, listed[name]["shape"])
        for name, kind in {**FILES, **OPTIONAL_FILES}.items()
        if kind is not None and name in listed
    }
    return Bundle(
        path=folder,
        manifest=manifest,
        revision=hashlib.blake2b(raw, digest_size=8).digest(),
        vocabulary=(folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n"),
        arrays=arrays,
        exemplars=json.loads((folder / "exemplars.json").read_bytes()),
        classifier=(folder / "classifier.onnx").read_bytes(),
    )


def _verify(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise BundleError(f"{path}: {size} bytes, the manifest says {entry['bytes']}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    if digest != entry["sha256"]:
        raise BundleError(f"{path}: sha256 {digest}, the manifest says {entry['sha256']}")


def _load_array(path: Path, kind: tuple[str, int], shape: list[int]) -> npt.NDArray[Any]:
    dtype, dimensions = kind
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BundleError(f"{path}: {error}") from error
    if array.dtype != dtype or array.ndim != dimensions:
        raise BundleError(
            f"{path}: {array.ndim} dimensions of {array.dtype}, needed: {dimensions} of {dtype}"
        )
    if list(array.shape) != shape:
        raise BundleError(f"{path}: shape {list(array.shape)}, the manifest says {shape}")
    return array


def inputs_revision(bundle: Bundle) -> str:
    """16 hexadecimal digits that change whenever the classifier's inputs mean something else.

    A stored vector is the row that the classifier reads of a request: features, embedding, n-gram sums, familiarity, in
    float32. It fits every bundle of equal inputs revision: equal features revision, equal `inputs` of the manifest, equal
    vocabulary and tables. The classifier, its calibration and the exemplars may differ.
    """
    made_of = [bundle.manifest["features_revision"], bundle.manifest["inputs"]]
    made_of += [bundle.manifest["files"][name]["sha256"] for name in INPUT_FILES]
    return hashlib.blake2b(json.dumps(made_of, sort_keys=True).encode(), digest_size=8).hexdigest()


def write_bundle(
    path: Path,
    manifest: Mapping[str, Any],
    *,
    vocabulary: list[str],
    arrays: Mapping[str, npt.NDArray[Any]],
    exemplars: Mapping[str, list[str]],
    classifier: bytes,
) -> None:
    """Writes a bundle whole or not at all: into a folder beside `path`, which then takes its place.

    The hashes, sizes and shapes of the files are added to `manifest` here. What a writer that was killed left beside
    `path` is removed.
    """
    staging, retired = path.with_name(path.name + ".partial"), path.with_name(path.name + ".retired")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        (staging / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        for name, array in arrays.items():
            np.save(staging / f"{name}.npy", np.ascontiguousarray(array))
        text = json.dumps(exemplars, ensure_ascii=False, indent=1)
        (staging / "exemplars.json").write_text(text, encoding="utf-8")
        (staging / "classifier.onnx").write_bytes(classifier)
        files: dict[str, dict[str, Any]] = {}
        for name in [*FILES, *(name for name in OPTIONAL_FILES if (staging / name).exists())]:
            data = (staging / name).read_bytes()
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            if name.endswith(".npy"):
                files[name]["shape"] = list(arrays[name.removesuffix(".npy")].shape)
        text = json.dumps({"format": FORMAT, **manifest, "files": files}, ensure_ascii=False, indent=1)
        (staging / "manifest.json").write_text(text + "\n", encoding="utf-8")
    except BaseException:
        shutil.rmtree(staging)
        raise
    if path.exists():
        shutil.rmtree(retired, ignore_errors=True)
        path.rename(retired)
    staging.rename(path)
    shutil.rmtree(retired, ignore_errors=True)
