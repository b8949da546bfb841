"""Routing quality of the recipe and of the shipped bundle on rows that their training has not seen, as a page.

    python -m turnout_fastpath.training.quality_report [--data FOLDER] [--write docs/quality.md]

The recipe is fitted again for each: four minutes on one idle core. The everyday rows that are set apart are decided by
the shipped bundle and the default policy. What was tried and is not in the recipe stays as the page has it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from turnout_fastpath.bundle import DEFAULT_BUNDLE
from turnout_fastpath.embedding import VectorSet
from turnout_fastpath.engine import Engine
from turnout_fastpath.training import everyday_report
from turnout_fastpath.training.dataset import Dataset, load_dataset
from turnout_fastpath.training.evaluation.curve_measures import (
    BY_GAIN,
    BY_TIER,
    LENGTH,
    RANDOM,
    ROUTER,
    least_lead,
)
from turnout_fastpath.training.everyday_figures import (
    ABSTAINED,
    FRONTIER_BELOW,
    SMALL_TO_SMALL,
    everyday_figures,
    gap,
)
from turnout_fastpath.training.everyday_report import Placed
from turnout_fastpath.training.everyday_rows import load_everyday
from turnout_fastpath.training.linear_fits import SOLVER_THREADS
from turnout_fastpath.training.quality_goals import HEAD, as_share
from turnout_fastpath.training.quality_measures import (
    MIX_PRICES,
    abstained,
    calibration_lines,
    families,
    few_labels,
    held_out,
    length_gap,
    pair,
    pooled_auc,
    share,
    task_f1,
    three_tiers,
    without,
)
from turnout_fastpath.training.quality_page import FIRST_PAIRS, NAMED_PAIRS, Page, goals
from turnout_fastpath.training.quality_tables import (
    Table,
    calibration_table,
    curve_table,
    everyday_table,
    flip_table,
    pair_table,
)
from turnout_fastpath.training.recorded_lines import FIRST, LINES, NAMED, Pairs
from turnout_fastpath.training.robustness import flip_figures, flips, load_variants
from turnout_fastpath.training.static_table import load_table

# Folds that hyper-parameters were compared on, and folds that nothing was chosen on.
SEEDS = (17, 2026)
FEW_LABELS = 1500
FEW_SEEDS = (1, 2, 3)
MIN_LANGUAGE_ROWS = 20
# Section of the page that is written by hand.
BY_HAND = "## Tried, and not in the recipe"

PREFACE = """# Routing quality

Measured by `python -m turnout_fastpath.training.quality_report --write docs/quality.md` on the public routing labels
and on the everyday corpus; no row was trained on by the fit that judges it. Intervals are 95% bootstrap intervals over
groups of equal questions. The folds of seed 17 are those on which variants of the recipe were compared, so a little of
their figures is choice; nothing was chosen on those of seed 2026. Where a line below has two values, they are of these
two. The families left out took part in the choice of how a family's own expert, length and the everyday expert share a
text that is unlike the recorded benchmarks, so their figures flatter a little. `gain` and `p_sufficient` are those of the
head that the pair's weak model speaks for.
"""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The rows, and what the recipe reads of them."""

    dataset: Dataset
    vectors: npt.NDArray[np.float32]
    clusters: npt.NDArray[np.float32]
    pairs: Pairs

    @classmethod
    def load(cls, data: Path) -> Inputs:
        """All rows but those set apart."""
        table, vocabulary, _ = load_table(DEFAULT_BUNDLE)
        everything = load_dataset(data, vocabulary)
        dataset = everything.take(np.flatnonzero(~everything.set_apart))
        clusters = np.asarray(VectorSet(np.load(DEFAULT_BUNDLE / "clusters.npy")).levels, np.float32)
        clusters /= np.linalg.norm(clusters, axis=1, keepdims=True)
        return cls(dataset, table.vectors(dataset.readings), clusters, Pairs.load(dataset, data))


def in_domain(inputs: Inputs, page: Page, seed: int) -> None:
    """Pairs, calibration, three tiers, abstention and tasks by fits on five folds."""
    dataset, pairs = inputs.dataset, inputs.pairs
    scored = held_out(dataset, inputs.vectors, inputs.clusters, seed=seed)
    note = f"five folds by group, seed {seed}"
    parts = {line.name: pairs.rows(line, scored) for line in LINES}
    measured = {name: pair(rows) for name, rows in parts.items()}
    page.tables.append(pair_table(f"In domain ({note})", measured))
    for line in NAMED:
        page.note(line.name, measured[line.name].ranks["gain"].apgr)
    rows = []
    for name, lines in ((NAMED_PAIRS, NAMED), (FIRST_PAIRS, FIRST)):
        gain, trust = pooled_auc([parts[line.name] for line in lines])
        rows.append([name, str(gain), str(trust)])
        page.note(f"AUC by gain, {name}", gain)
        page.note(f"AUC by p, {name}", trust)
    head = ("rows", "by gain", "by 1 - p_sufficient")
    page.tables.append(Table(f"AUC of needs strong, pooled ({note})", head, rows))
    page.calibrations.append(calibration_lines(dataset, scored))
    page.tables.append(calibration_table(f"Calibration ({note})", page.calibrations[-1]))
    prices = " : ".join(f"{price:g}" for price in MIX_PRICES)
    curves = three_tiers(pairs, scored)
    page.tables.append(curve_table(f"Three tiers on the LLMRouter mix, prices {prices} ({note})", curves))
    for way in (BY_TIER, BY_GAIN, ROUTER):
        page.note(f"saved, {way}", curves.curves[way].saved)
        lead = min(least_lead(curves, way, other) for other in (LENGTH, RANDOM))
        page.leads.setdefault(way, []).append(lead)
    shares = abstained(dataset, scored, inputs.vectors, inputs.clusters)
    for name, figure in shares.items():
        page.note(f"abstained, {name}", figure)
    rows = [[name, as_share(figure)] for name, figure in shares.items()]
    page.tables.append(Table(f"Abstained ({note})", ("rows", "share"), rows))
    seen = task_f1(dataset, scored, dataset.kinds != "")
    page.note_task(f"public sources, seen ({note})", seen, goal="F1 seen")
    page.note_task(f"everyday ({note})", task_f1(dataset, scored, dataset.everyday))


def left_out(inputs: Inputs, page: Page, report: Callable[[str], None]) -> None:
    """Pairs and tasks of families by fits without the family."""
    rows = []
    for name, (left, lines) in families(inputs.dataset).items():
        report(f"leaving out {name}")
        scored = without(inputs.dataset, inputs.vectors, inputs.clusters, left)
        page.note_task(f"{name}, not seen", task_f1(inputs.dataset, scored, left), goal="F1 unseen")
        for line in lines:
            of_line = inputs.pairs.rows(line, scored, left)
            ranks = pair(of_line).ranks
            page.note(f"left out, {line.name}", ranks["gain"].apgr)
            page.gaps[line.name] = length_gap(of_line)
            figures = [str(ranks[way].apgr) for way in ("gain", "1 - p_sufficient", "prompt length")]
            rows.append([line.name, *figures, str(page.gaps[line.name])])
    head = (
        "pair, its family left out",
        "APGR by gain",
        "by 1 - p_sufficient",
        "by prompt length",
        "gain less length",
    )
    page.tables.append(Table("Leave one family out", head, rows))
    page.tables.append(Table("Task head, macro F1", ("rows", "F1"), page.task_rows))


def few(inputs: Inputs, page: Page) -> None:
    """A few labels of MMLU and none of any other recorded pair."""
    draws = few_labels(
        inputs.dataset, inputs.vectors, inputs.clusters, inputs.pairs, labels=FEW_LABELS, seeds=FEW_SEEDS
    )
    rows = [
        [f"{FEW_LABELS:,}", str(seed), str(figure)] for seed, figure in zip(FEW_SEEDS, draws, strict=True)
    ]
    page.tables.append(Table("Few labels of MMLU", ("labels", "draw", "APGR by gain"), rows))
    page.figures["few labels"] = draws


def everyday(engine: Engine, page: Page) -> None:
    """The shipped bundle and policy on the everyday rows set apart, variants, the ladder and gibberish."""
    placed = everyday_report.place(engine, [row for row in load_everyday() if row.set_apart])
    parts: dict[str, list[Placed]] = {
        "all": placed,
        "English": [one for one in placed if one.row.lang == "en"],
        "other languages": [one for one in placed if one.row.lang != "en"],
    }
    for language in sorted({one.row.lang for one in parts["other languages"]}):
        own = [one for one in placed if one.row.lang == language]
        if len(own) >= MIN_LANGUAGE_ROWS:
            parts[language] = own
    figures = {name: (len(own), everyday_figures(own)) for name, own in parts.items()}
    page.tables.append(everyday_table(figures))
    for name in (SMALL_TO_SMALL, FRONTIER_BELOW):
        page.note(name, figures["all"][1][name])
        page.note(
            f"{name}, other languages less English", gap(placed, lambda one: one.row.lang != "en", name)
        )
    page.note("abstained, English set apart", figures["English"][1][ABSTAINED])
    variants = load_variants()
    found = flips(engine, variants)
    flipped = flip_figures(variants, found)
    counts = {name: len(own) for name, own in found.items()}
    page.tables.append(flip_table(flipped, counts | {"all": sum(counts.values())}))
    page.note("flips", flipped["all"])
    page.note("flips of paraphrases", flipped["paraphrase"])
    whole = everyday_report.report(engine)
    gibberish = np.array(everyday_report.gibberish_abstains(engine))
    page.note("gibberish", share(gibberish, np.arange(len(gibberish)).astype(str)))
    page.ladder_holds = whole["ladder_holds"]
    rows = [[prompt, tier] for prompt, tier in whole["ladder"].items()]
    rows.append(["gibberish that abstains", as_share(page.figures["gibberish"][0])])
    page.tables.append(Table("Ladder and gibberish, the shipped bundle and policy", ("what", "result"), rows))


def build(data: Path, report: Callable[[str], None]) -> str:
    """The page without the part that is written by hand."""
    inputs, page = Inputs.load(data), Page()
    for seed in SEEDS:
        report(f"cross-validating on folds of seed {seed}")
        in_domain(inputs, page, seed)
    left_out(inputs, page, report)
    report(f"fitting on {FEW_LABELS} labels of MMLU")
    few(inputs, page)
    report("deciding everyday rows")
    everyday(Engine.load(), page)
    top = Table("Goals", HEAD, [goal.cells() for goal in goals(page)])
    return PREFACE + "\n" + "\n\n".join(table.markdown() for table in [top, *page.tables]) + "\n"


def write_page(path: Path, page: str) -> None:
    """Replaces the page but for its part written by hand, which stands last."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    _, mark, kept = old.partition(BY_HAND)
    path.write_text(page + (f"\n{mark}{kept}" if mark else ""), encoding="utf-8")


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

    def report(text: str) -> None:
        print(text, flush=True)

    with threadpool_limits(SOLVER_THREADS):
        page = build(Path(arguments.data), report)
    if arguments.write:
        write_page(arguments.write, page)
    else:
        print(page)


if __name__ == "__main__":
    main()
