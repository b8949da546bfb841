"""Every figure of the recipe and of the shipped bundle on rows that their training has not seen, as a page.

    python -m turnout_fastpath.training.quality_report [--data FOLDER] [--write docs/quality.md]

The recipe is fitted again for each: about a quarter of an hour on one core. The everyday rows that are set apart are
decided by the shipped bundle and the default policy.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.bundle import DEFAULT_BUNDLE
from turnout_fastpath.embedding import VectorSet
from turnout_fastpath.engine import Engine
from turnout_fastpath.training import everyday_report
from turnout_fastpath.training.dataset import load_dataset
from turnout_fastpath.training.evaluation.curve_measures import TierCurves
from turnout_fastpath.training.evaluation.pair_measures import PairMeasures
from turnout_fastpath.training.quality_measures import (
    LINES,
    MIX_PRICES,
    CalibrationLine,
    Pairs,
    abstained,
    calibration_lines,
    families,
    few_labels,
    held_out,
    length_gap,
    pair,
    pooled_auc,
    task_f1,
    three_tiers,
    without,
)
from turnout_fastpath.training.robustness import flips, load_variants
from turnout_fastpath.training.static_table import load_table

# Folds that hyper-parameters were compared on, and folds that nothing was chosen on.
SEEDS = (17, 2026)
FEW_LABELS = 1500
FEW_SEEDS = (1, 2, 3)
MIN_LANGUAGE_ROWS = 20


@dataclass(frozen=True)
class Table:
    """A Markdown table."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The heading and the table."""
        lines = [
            f"## {self.title}",
            "",
            *(_line(row) for row in (self.head, ["---"] * len(self.head), *self.rows)),
        ]
        return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def pair_table(title: str, measured: dict[str, PairMeasures]) -> Table:
    """APGR, CPT50, CPT80 and AUC of each line, for the bundle's two ways to rank and beside the baselines."""
    rows = []
    for name, measures in measured.items():
        for way, rank in measures.ranks.items():
            figures = [
                str(rank.apgr),
                f"{rank.cpt50.value:.1f}",
                f"{rank.cpt80.value:.1f}",
                f"{rank.auc.value:.3f}",
            ]
            rows.append([f"{name} (n {measures.rows:,})", way, *figures, f"{rank.apgr_by_deciles:.3f}"])
        ends = f"{measures.always_weak.value:.3f} / {measures.always_strong.value:.3f}"
        rows.append([f"{name}", "always weak / always strong", f"mean score {ends}", "", "", "", ""])
    head = ("pair", "ranked by", "APGR [95%]", "CPT50", "CPT80", "AUC of needs strong", "APGR by deciles")
    return Table(title, head, rows)


def calibration_table(title: str, lines: Sequence[CalibrationLine]) -> Table:
    """ECE beside the perfect-calibration bound."""
    rows = [
        [
            one.name,
            f"{one.rows:,}",
            str(one.ece),
            f"{one.bound:.3f}",
            "yes" if one.ece.value <= one.bound else "no",
        ]
        for one in lines
    ]
    return Table(
        title, ("rows", "n", "ECE, 15 equal-mass bins", "bound of a perfect predictor", "within"), rows
    )


def curve_table(title: str, curves: TierCurves) -> Table:
    """Area, scores at half and 30% of the top's cost, and the saving at the stated quality."""
    rows = [
        [name, str(one.area), str(one.score_at_half), str(one.score_at_30), str(one.saved)]
        for name, one in curves.curves.items()
    ]
    rows += [
        [f"always {name}", "", f"score {score}", f"cost {cost.value:g}", ""]
        for name, (cost, score) in curves.tiers.items()
    ]
    saved = f"saved at {curves.quality:.0%} of the top's score"
    return Table(title, ("way to spend", "area", "score at 50% of cost", "at 30%", saved), rows)


def everyday_table(figures: dict[str, Any]) -> Table:
    """Everyday rows set apart, as the shipped bundle and the default policy decide them."""
    parts = {
        "all": figures["all"],
        "English": figures["english"],
        "other languages": figures["other_languages"],
    }
    parts |= {
        language: part
        for language, part in figures["by_language"].items()
        if part["rows"] >= MIN_LANGUAGE_ROWS
    }
    rows = [
        [name, str(part["rows"]), *(f"{part[column]:.1%}" for column in everyday_report.SHARES)]
        for name, part in parts.items()
    ]
    head = (
        "rows",
        "n",
        "small to small",
        "mid below frontier",
        "frontier below by a single decision",
        "abstained",
    )
    return Table("Everyday rows set apart, the shipped bundle and policy", head, rows)


def flip_table(found: dict[str, npt.NDArray[np.bool_]]) -> Table:
    """Shares of variants that flip."""
    every = np.concatenate(list(found.values()))
    rows = [[name, str(len(own)), f"{own.mean():.1%}"] for name, own in [*found.items(), ("all", every)]]
    title = "Robustness: the shipped bundle at a bar that sends half to each side"
    return Table(title, ("change", "n", "flipped"), rows)


def build(data: Path, report: Callable[[str], None]) -> list[Table]:
    """All tables."""
    table, vocabulary, _ = load_table(DEFAULT_BUNDLE)
    everything = load_dataset(data, vocabulary)
    dataset = everything.take(np.flatnonzero(~everything.set_apart))
    vectors = table.vectors(dataset.readings)
    levels = np.load(DEFAULT_BUNDLE / "clusters.npy")
    clusters = np.asarray(VectorSet(levels).levels, np.float32)
    clusters /= np.linalg.norm(clusters, axis=1, keepdims=True)
    pairs = Pairs.load(dataset, data)
    tables = []
    task_rows: list[list[str]] = []
    for seed in SEEDS:
        report(f"cross-validating on folds of seed {seed}")
        scored = held_out(dataset, vectors, clusters, seed=seed)
        parts = {line.name: pairs.rows(line, scored) for line in LINES}
        note = f"five folds by group, seed {seed}"
        tables.append(pair_table(f"In domain ({note})", {name: pair(rows) for name, rows in parts.items()}))
        main = [parts[line.name] for line in LINES if line.pair_rank == 0]
        gain, trust = pooled_auc(main)
        rows = [["first pair of each source", str(gain), str(trust)]]
        tables.append(
            Table(f"AUC of needs strong, pooled ({note})", ("rows", "by gain", "by 1 - p_sufficient"), rows)
        )
        tables.append(calibration_table(f"Calibration ({note})", calibration_lines(dataset, scored)))
        prices = " : ".join(f"{price:g}" for price in MIX_PRICES)
        curves = three_tiers(pairs, scored)
        tables.append(curve_table(f"Three tiers on the LLMRouter mix, prices {prices} ({note})", curves))
        shares = [
            [name, f"{share:.1%}"] for name, share in abstained(dataset, scored, vectors, clusters).items()
        ]
        tables.append(Table(f"Abstained ({note})", ("rows", "share"), shares))
        task_rows += [
            [f"public sources, seen ({note})", f"{task_f1(dataset, scored, dataset.kinds != ''):.3f}"],
            [f"everyday ({note})", f"{task_f1(dataset, scored, dataset.everyday):.3f}"],
        ]
    left_rows = []
    for name, (left, lines) in families(dataset).items():
        report(f"leaving out {name}")
        scored = without(dataset, vectors, clusters, left)
        task_rows.append([f"{name}, not seen", f"{task_f1(dataset, scored, left):.3f}"])
        for line in lines:
            rows_of = pairs.rows(line, scored, left)
            ranks = pair(rows_of).ranks
            left_rows.append(
                [
                    line.name,
                    *(str(ranks[way].apgr) for way in ("gain", "1 - p_sufficient", "prompt length")),
                    str(length_gap(rows_of)),
                ]
            )
    head = (
        "pair, its family left out",
        "APGR by gain",
        "by 1 - p_sufficient",
        "by prompt length",
        "gain less length",
    )
    tables.append(Table("Leave one family out", head, left_rows))
    tables.append(Table("Task head, macro F1", ("rows", "F1"), task_rows))
    report(f"fitting on {FEW_LABELS} labels of MMLU")
    few = few_labels(dataset, vectors, clusters, pairs, labels=FEW_LABELS, seeds=FEW_SEEDS)
    rows = [[str(FEW_LABELS), f"{np.mean(few):.3f}", ", ".join(f"{value:.3f}" for value in few)]]
    tables.append(Table("Few labels of MMLU", ("labels", "APGR by gain, mean", "by draw"), rows))
    report("deciding everyday rows")
    engine = Engine.load()
    everyday = everyday_report.report(engine)
    tables += [everyday_table(everyday), flip_table(flips(engine, load_variants()))]
    tables.append(
        Table(
            "Ladder and gibberish, the shipped bundle and policy",
            ("what", "result"),
            [
                *([prompt, tier] for prompt, tier in everyday["ladder"].items()),
                ["gibberish that abstains", f"{everyday['gibberish_abstained']:.1%}"],
            ],
        )
    )
    return tables


PREFACE = """# Routing quality

Measured by `python -m turnout_fastpath.training.quality_report --write docs/quality.md` on the public routing labels
and on the everyday corpus; no row was trained on by the fit that judges it. Intervals are 95% bootstrap intervals over
groups of equal questions. The folds of seed 17 are those on which variants of the recipe were compared, so a little of
their figures is choice; nothing was chosen on those of seed 2026. `gain` and `p_sufficient` are those of the head that
the pair's weak model speaks for.
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("TURNOUT_DATA"), help="folder of the public data")
    parser.add_argument("--write", type=Path, help="page to write; standard output if absent")
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("--data or TURNOUT_DATA names the folder of the public data")
    tables = build(Path(arguments.data), lambda text: print(text, flush=True))
    page = PREFACE + "\n" + "\n\n".join(table.markdown() for table in tables) + "\n"
    if arguments.write:
        arguments.write.write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
