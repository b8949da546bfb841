"""What the page on routing quality has measured, and the goals that it is held against."""

from __future__ import annotations

from dataclasses import dataclass, field

from turnout_fastpath.training.evaluation.bootstrap import Figure
from turnout_fastpath.training.evaluation.curve_measures import BY_GAIN, BY_TIER, ROUTER
from turnout_fastpath.training.everyday_figures import FRONTIER_BELOW, SMALL_TO_SMALL
from turnout_fastpath.training.quality_goals import Goal, at_least, at_most
from turnout_fastpath.training.quality_measures import CalibrationLine
from turnout_fastpath.training.quality_tables import Table
from turnout_fastpath.training.recorded_lines import GSM8K, MIX, MMLU, MMLU_PRO

NAMED_PAIRS, FIRST_PAIRS = "the four pairs with goals", "first pair of each source"


@dataclass
class Page:
    """What was measured so far: tables in their order, and figures that goals are held against."""

    tables: list[Table] = field(default_factory=list)
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    calibrations: list[list[CalibrationLine]] = field(default_factory=list)
    leads: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    gaps: dict[str, Figure] = field(default_factory=dict)
    task_rows: list[list[str]] = field(default_factory=list)
    ladder_holds: bool = False

    def note(self, name: str, figure: Figure) -> None:
        """Keeps a figure; several of a name are of several folds."""
        self.figures.setdefault(name, []).append(figure)

    def note_task(self, rows: str, figure: Figure, *, goal: str = "") -> None:
        """Keeps a macro F1."""
        self.task_rows.append([rows, str(figure)])
        if goal:
            self.note(goal, figure)


def goals(page: Page) -> list[Goal]:
    """Every goal that has one, in the order of the tables."""
    of = page.figures
    under = [name for name, figure in page.gaps.items() if figure.high < 0]
    worst = ", ".join(under) or "none is; the nearest: " + min(
        page.gaps, key=lambda name: page.gaps[name].high
    )
    above = [[one.name for one in lines if one.ece.value > one.bound] for lines in page.calibrations]
    lines = [len(own) for own in page.calibrations]
    return [
        *(
            at_least(f"APGR in domain, {line.name}", goal, of[line.name])
            for line, goal in ((MMLU, 0.68), (GSM8K, 0.64), (MMLU_PRO, 0.60), (MIX, 0.74))
        ),
        at_least("APGR with 1,500 labels of MMLU, three draws", 0.65, of["few labels"]),
        *(
            at_least(f"APGR, its family left out, {line.name}", goal, of[f"left out, {line.name}"])
            for line, goal in ((MMLU, 0.59), (GSM8K, 0.61))
        ),
        Goal("families left out, significantly under prompt length", "none", worst, (not under,)),
        Goal("MT-Bench / RouterArena sample", "at least 0.66 / 0.62", "not in the public data", ()),
        at_most("ECE pooled, in domain", 0.03, [own[0].ece for own in page.calibrations]),
        Goal(
            "ECE by tier and task above the bound of a perfect predictor (which is above it in 5% of lines)",
            "none",
            "; ".join(f"{len(own)} of {n} lines" for own, n in zip(above, lines, strict=True)),
            tuple(not own for own in above),
        ),
        at_least(
            f"AUC of needs strong by 1 - p_sufficient, {NAMED_PAIRS}", 0.67, of[f"AUC by p, {NAMED_PAIRS}"]
        ),
        at_least(
            f"AUC of needs strong by 1 - p_sufficient, {FIRST_PAIRS}", 0.67, of[f"AUC by p, {FIRST_PAIRS}"]
        ),
        at_most("abstains in domain", 0.02, of["abstained, recorded pairs"], percent=True),
        at_most(
            "abstains on everyday English, shipped", 0.15, of["abstained, English set apart"], percent=True
        ),
        at_least("gibberish that abstains, shipped", 0.9, of["gibberish"], percent=True),
        at_most(
            "flips of paraphrases, case, spacing and typos, half to each side", 0.1, of["flips"], percent=True
        ),
        at_most("of these, paraphrases alone", 0.1, of["flips of paraphrases"], percent=True),
        *(
            Goal(
                f"three tiers, {way}: least lead over prompt length and over random, at any cost",
                "above 0",
                "; ".join(f"{lead:+.3f} at {cost:.0%} of cost" for lead, cost in page.leads[way]),
                tuple(lead > 0 for lead, _ in page.leads[way]),
            )
            for way in (BY_TIER, BY_GAIN, ROUTER)
        ),
        *(
            at_least(
                f"three tiers, {way}: saved at 97% of the top's score", 0.4, of[f"saved, {way}"], percent=True
            )
            for way in (BY_TIER, BY_GAIN, ROUTER)
        ),
        at_least("task head, macro F1, sources that it has seen", 0.9, of["F1 seen"]),
        at_least("task head, macro F1, a source that it has not (each left out)", 0.7, of["F1 unseen"]),
        at_least("everyday, labelled small, go small", 0.9, of[SMALL_TO_SMALL], percent=True),
        at_most(
            "everyday, labelled frontier, go below by a single decision",
            0.1,
            of[FRONTIER_BELOW],
            percent=True,
        ),
        Goal("the ladder of the trade", "all", "see the last table", (page.ladder_holds,)),
        at_least(
            "small to small, other languages less English",
            -0.1,
            of[f"{SMALL_TO_SMALL}, other languages less English"],
            percent=True,
        ),
        at_most(
            "frontier below, other languages less English",
            0.1,
            of[f"{FRONTIER_BELOW}, other languages less English"],
            percent=True,
        ),
    ]
