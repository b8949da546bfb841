"""The tables of the page on routing quality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from turnout_fastpath.training.evaluation.bootstrap import Figure
from turnout_fastpath.training.evaluation.curve_measures import TierCurves
from turnout_fastpath.training.evaluation.pair_measures import PairMeasures
from turnout_fastpath.training.quality_goals import as_share
from turnout_fastpath.training.quality_measures import CalibrationLine


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
            # Equal wishes have no deciles.
            deciles = "" if isnan(rank.apgr_by_deciles) else f"{rank.apgr_by_deciles:.3f}"
            rows.append([f"{name} (n {measures.rows:,})", way, *figures, deciles])
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


def everyday_table(parts: Mapping[str, tuple[int, Mapping[str, Figure]]]) -> Table:
    """Everyday rows set apart, as the shipped bundle and the default policy decide them; by part, rows and figures."""
    names = list(next(iter(parts.values()))[1])
    rows = [
        [name, f"{count:,}", *(as_share(figures[share]) for share in names)]
        for name, (count, figures) in parts.items()
    ]
    return Table("Everyday rows set apart, the shipped bundle and policy", ("rows", "n", *names), rows)


def flip_table(figures: Mapping[str, Figure], counts: Mapping[str, int]) -> Table:
    """Shares of variants that flip."""
    rows = [[name, str(counts[name]), as_share(figure)] for name, figure in figures.items()]
    title = "Robustness: the shipped bundle at a bar that sends half to each side"
    return Table(title, ("change", "n", "flipped"), rows)
