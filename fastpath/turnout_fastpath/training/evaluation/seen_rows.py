"""Which rows a bundle was trained on: figures on those say little of others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from turnout_fastpath.bundle import Bundle
from turnout_fastpath.training.labelled_data import LabelledData

# A bundle's optional file: sorted fingerprints of the texts that it was trained on.
TRAINED_ON = "trained_on"


@dataclass(frozen=True, eq=False)
class SeenRows:
    """What a bundle says of its training rows.

    Attributes:
        seen: (n,) true for rows of the data that it was trained on.
        known: whether the bundle says at all.
    """

    seen: npt.NDArray[np.bool_]
    known: bool

    def describe(self) -> str:
        """A line for people."""
        if not self.known:
            return "the bundle does not say what it was trained on: these figures may be in-sample"
        count = int(self.seen.sum())
        return f"{count:,} of {len(self.seen):,} rows were trained on" if count else ""


def fingerprint(text: str) -> int:
    """64 bits of a text, whatever its case and its spacing."""
    normal = " ".join(text.lower().split()).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(normal, digest_size=8).digest(), "little")


def fingerprints(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Sorted fingerprints, each once: the content of the bundle's file."""
    return np.unique(np.array([fingerprint(text) for text in texts], np.uint64))


def find_seen(bundle: Bundle, data: LabelledData) -> SeenRows:
    """Which rows of `data` the bundle was trained on: by the file's hash, or by their text."""
    training = bundle.manifest.get("training") or {}
    listed = bundle.arrays.get(TRAINED_ON)
    same_file = training.get("data_sha256") == data.sha256
    if listed is None:
        known = same_file or "data_sha256" in training
        return SeenRows(np.full(len(data), same_file), known)
    own = np.array([fingerprint(text) for text in data.texts], np.uint64)
    place = np.minimum(np.searchsorted(listed, own), len(listed) - 1)
    return SeenRows((listed[place] == own) | same_file, True)
