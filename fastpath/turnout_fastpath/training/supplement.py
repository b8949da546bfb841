"""Adds to a bundle of the default recipe what it may carry besides: a background sample, and what it was trained on.

    python -m turnout_fastpath.training.supplement BUNDLE [--data FOLDER]

The bundle's revision changes, its classifier does not.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from turnout_fastpath.bundle import load_bundle, write_bundle
from turnout_fastpath.training.background import (
    background_levels,
    embedder,
    measure,
    unit_vectors,
    unrelated_texts,
)
from turnout_fastpath.training.evaluation.seen_rows import TRAINED_ON, fingerprints
from turnout_fastpath.training.everyday_rows import load_everyday


def trained_texts(data: Path | None) -> list[str]:
    """What the default recipe trains on: everyday rows that are not set apart, and the public prompts."""
    # As the reader of labelled data joins them: all of the user's turns.
    texts = [
        "\n".join(content for role, content in row.messages if role == "user")
        for row in load_everyday()
        if not row.set_apart
    ]
    if data is not None:
        table = pyarrow.parquet.read_table(data / "public" / "pairs.parquet", columns=["prompt"])
        texts += table["prompt"].to_pylist()
    return texts


def supplement(path: Path, data: Path | None) -> dict[str, Any]:
    """Writes both into a bundle, and what the sample measures into its manifest; returns the figures.

    Args:
        path: the bundle, trained by `turnout_fastpath.training.train` with the same `data`.
        data: the public data's folder; None means that it was trained on the everyday corpus alone.
    """
    bundle = load_bundle(path)
    embed = embedder(bundle)
    sample, apart = (
        np.stack([embed(text) for text in unrelated_texts(data, set_apart=which)]) for which in (False, True)
    )
    levels = background_levels(sample)
    figures = measure(embed, unit_vectors(levels), apart[np.linalg.norm(apart, axis=1) > 0.5])
    manifest = {key: value for key, value in bundle.manifest.items() if key not in ("format", "files")}
    manifest["metrics"] = {**manifest.get("metrics", {}), "exemplar_scale": figures}
    arrays = {name: np.array(array) for name, array in bundle.arrays.items()}
    arrays |= {"background": levels, TRAINED_ON: fingerprints(trained_texts(data))}
    write_bundle(
        path.resolve(),
        manifest,
        vocabulary=bundle.vocabulary,
        arrays=arrays,
        exemplars=bundle.exemplars,
        classifier=bundle.classifier,
    )
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--data", default=os.environ.get("TURNOUT_DATA"), help="folder of the public data")
    given = parser.parse_args(arguments)
    print(json.dumps(supplement(given.bundle, given.data and Path(given.data)), indent=1))


if __name__ == "__main__":
    main()
