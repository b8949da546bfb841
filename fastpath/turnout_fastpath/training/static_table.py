"""The static table of word pieces that `distil` makes and every bundle carries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.readings import Readings

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Table:
    """A static table as the kernels read it."""

    rows: npt.NDArray[np.int8]
    weights: npt.NDArray[np.uint16]

    def vectors(self, readings: Readings) -> Floats:
        """(n, dim) unit vectors."""
        sums = readings.pieces @ (self.rows.astype(np.float32) * self.weights[:, None])
        return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9), np.float32)


def load_table(folder: Path) -> tuple[Table, list[str], dict[str, Any]]:
    """A table folder of `distil`, or a bundle."""
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    table = Table(np.load(folder / "embedding.npy"), np.load(folder / "embedding_weights.npy"))
    facts_file = folder / "table.json"
    if facts_file.exists():
        return table, vocabulary, json.loads(facts_file.read_bytes())
    return table, vocabulary, json.loads((folder / "manifest.json").read_bytes())["table"]
