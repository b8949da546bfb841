"""Do a few labels of a new domain ever make a bundle worse? Measured on families of the public data.

    python -m turnout_fastpath.training.few_labels [--data FOLDER] [--labels 300] [--draws 20] [--json FILE]

For each family a bundle is trained on everything else (no row of the family, nor of its groups). Then, for each draw, so
many groups of the family are labelled, `train --from` makes a new bundle on top of the first, and both judge the rows of
the family that were left.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from turnout_fastpath.bundle import Bundle, load_bundle
from turnout_fastpath.training.bundle_scores import score_data
from turnout_fastpath.training.calibrating import apply_curves
from turnout_fastpath.training.engine_check import curves_of
from turnout_fastpath.training.labelled_data import LabelledData, read_labelled_data
from turnout_fastpath.training.linear_fits import log_losses
from turnout_fastpath.training.tiers import Tier, label_tiers, tiers_of
from turnout_fastpath.training.user_bundle import train_bundle

MEASURES = ("log loss of p", "squared error of gain", "AUC by gain", "AUC by p")
HEAD = "small"
MIXTRAL, GPT_4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
TINY = 1e-6


@dataclass(frozen=True)
class Family:
    """A benchmark: where its rows are, what else is of its kind, and the pair that is judged."""

    name: str
    source: str
    kin: tuple[str, ...]
    categories: tuple[str, ...]
    weak: str
    strong: str

    def own(self, data: LabelledData) -> npt.NDArray[np.bool_]:
        """(n,) rows that are judged."""
        result: npt.NDArray[np.bool_] = data.sources == self.source
        return result

    def alike(self, data: LabelledData) -> npt.NDArray[np.bool_]:
        """(n,) rows that a bundle which has not seen the family must not have seen."""
        of_kind = np.isin(data.sources, (self.source, *self.kin)) | np.isin(data.categories, self.categories)
        return np.isin(data.groups, np.unique(data.groups[of_kind])) | of_kind


FAMILIES = (
    Family("MMLU", "routellm_mmlu", ("mmlu_pro",), ("mmlu",), MIXTRAL, GPT_4),
    Family(
        "MMLU-Pro",
        "mmlu_pro",
        ("routellm_mmlu",),
        ("mmlu",),
        "Mixtral-8x7B-Instruct-v0.1",
        "gemini-1.5-pro-002",
    ),
    Family(
        "GSM8K", "routellm_gsm8k", ("zeroeval_gsm", "openai_gsm8k_gpt3"), ("gsm8k", "mgsm"), MIXTRAL, GPT_4
    ),
    Family(
        "CRUXEval", "zeroeval_crux", (), ("mbpp", "human_eval"), "gpt-3.5-turbo-0125", "gpt-4o-2024-08-06"
    ),
)


def measure(bundle: Bundle, data: LabelledData, tiers: Sequence[Tier]) -> list[float]:
    """MEASURES of the bundle's cheapest head on the rows."""
    scored, labels = score_data(bundle, data), label_tiers(data, tiers)
    head = bundle.heads.index(HEAD)
    shares, gains = labels.suffices[:, 0], labels.gains[:, 0]
    logits = scored.scores[:, scored.outputs.logits.start + head].astype(np.float64)
    p = np.clip(apply_curves(curves_of(bundle, head), logits, scored.tasks), TINY, 1 - TINY)
    gain = scored.scores[:, scored.outputs.gains.start + head]
    return [
        float(log_losses(np.log(p / (1 - p)), shares).mean()),
        float(np.mean((np.clip(gain, -1, 1) - gains) ** 2)),
        float(roc_auc_score(gains > 0, gain)),
        float(roc_auc_score(gains > 0, -p)),
    ]


def compare(
    data: LabelledData, family: Family, unseen: Path, folder: Path, *, labels: int, draws: int
) -> npt.NDArray[np.float64]:
    """(draws, 2, measures) before and after, on rows of the family that were not labelled."""
    tiers = (Tier(HEAD, (family.weak,)), Tier("frontier", (family.strong,)))
    own = data.take(family.own(data))
    own = own.take(~np.isnan(label_tiers(own, tiers).gains[:, 0]))
    names = np.unique(own.groups)
    before, found = load_bundle(unseen), []
    for draw in range(draws):
        drawn = np.random.default_rng(draw).permutation(names)[:labels]
        labelled = np.isin(own.groups, drawn)
        out = folder / "after"
        train_bundle(own.take(labelled), tiers, out, start=unseen, report=lambda _: None)
        rest = own.take(~labelled)
        found.append([measure(before, rest, tiers), measure(load_bundle(out), rest, tiers)])
    return np.array(found)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("TURNOUT_DATA"), help="folder of the public data")
    parser.add_argument("--labels", type=int, default=300, help="groups that are labelled")
    parser.add_argument("--draws", type=int, default=20, help="times that they are drawn")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("--data or TURNOUT_DATA is needed")
    data = read_labelled_data(Path(arguments.data) / "public" / "pairs.parquet")
    figures: dict[str, dict[str, dict[str, float]]] = {}
    print("| family | measure | before | after | difference, 95% interval | worst draw |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for family in FAMILIES:
            unseen = folder / family.source
            others = data.take(~family.alike(data))
            train_bundle(others, tiers_of(others), unseen, report=lambda _: None)
            found = compare(data, family, unseen, folder, labels=arguments.labels, draws=arguments.draws)
            figures[family.name] = {}
            for i, measure_name in enumerate(MEASURES):
                before, after = found[:, 0, i], found[:, 1, i]
                change = after - before
                margin = 1.96 * float(change.std(ddof=1)) / len(change) ** 0.5
                worst = float(change.max() if i < 2 else change.min())
                figures[family.name][measure_name] = {
                    "before": float(before.mean()),
                    "after": float(after.mean()),
                    "difference": float(change.mean()),
                    "margin": margin,
                    "worst": worst,
                }
                print(
                    f"| {family.name} | {measure_name} | {before.mean():.3f} | {after.mean():.3f} | "
                    f"{change.mean():+.4f} ± {margin:.4f} | {worst:+.4f} |",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
