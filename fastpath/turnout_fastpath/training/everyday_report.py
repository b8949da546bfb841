"""Where the everyday corpus goes by an engine: the goals for everyday prompts, on the rows that were set apart.

    python -m turnout_fastpath.training.everyday_report [--bundle FOLDER] [--policy FILE] [--json] [--write README.md]

Every row is decided by the engine as a caller's request would be; nothing here knows how the classifier works.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout_fastpath.decision import Decision, Status, Strategy
from turnout_fastpath.engine import Engine
from turnout_fastpath.training.everyday_rows import TIERS, EverydayRow, load_everyday
from turnout_fastpath.training.gibberish import make_gibberish

# "The ladder of the trade": prompts whose tiers every engineer knows by heart, and the tiers that may serve them.
LADDER: dict[str, tuple[str, ...]] = {
    "What are your business hours?": ("small",),
    "How do I reset my password with 2FA enabled?": ("small",),
    "Compare plan A and plan B for my usage": ("mid",),
    "Analyze this error log and suggest a fix": ("mid", "frontier"),
    "Review this contract clause for compliance issues": ("frontier",),
}

BEGIN, END = "<!-- everyday:begin -->", "<!-- everyday:end -->"
SHARES = ("small_to_small", "mid_below_frontier", "frontier_below_by_single", "abstained")


@dataclass(frozen=True)
class Placed:
    """A labelled row and what an engine decided."""

    row: EverydayRow
    decision: Decision

    @property
    def tier(self) -> int:
        """Number of the decided tier."""
        return TIERS.index(self.decision.tier)


def place(engine: Engine, rows: Sequence[EverydayRow]) -> list[Placed]:
    """Decides every row."""
    return [Placed(row, engine.decide(row.request())) for row in rows]


def rates(placed: Sequence[Placed]) -> dict[str, float]:
    """The two rates that the goals name, and what they cost."""
    small = [one for one in placed if one.row.tier == "small"]
    mid = [one for one in placed if one.row.tier == "mid"]
    frontier = [one for one in placed if one.row.tier == "frontier"]
    below = [one for one in frontier if one.tier < TIERS.index("frontier")]
    single = [one for one in below if one.decision.strategy is Strategy.SINGLE]
    return {
        "rows": len(placed),
        "small_to_small": _share([one for one in small if one.tier == 0], small),
        "mid_below_frontier": _share([one for one in mid if one.tier < 2], mid),
        "frontier_below_by_single": _share(single, frontier),
        "abstained": _share([one for one in placed if one.decision.status is Status.ABSTAINED], list(placed)),
    }


def _share(part: Sequence[Placed], whole: Sequence[Placed]) -> float:
    return round(len(part) / len(whole), 4) if whole else float("nan")


def report(engine: Engine) -> dict[str, Any]:
    """All figures: set apart rows, English, other languages, plain and tricky rows, ladder, gibberish."""
    placed = place(engine, [row for row in load_everyday() if row.set_apart])
    english = [one for one in placed if one.row.lang == "en"]
    others = [one for one in placed if one.row.lang != "en"]
    ladder = {prompt: engine.route(prompt).tier for prompt in LADDER}
    gibberish = gibberish_abstains(engine)
    return {
        "all": rates(placed),
        "english": rates(english),
        "other_languages": rates(others),
        "plain": rates([one for one in placed if one.row.id.startswith("plain")]),
        "tricky": rates([one for one in placed if not one.row.id.startswith("plain")]),
        "by_language": {
            lang: rates([one for one in others if one.row.lang == lang])
            for lang in sorted({one.row.lang for one in others})
        },
        "ladder": ladder,
        "ladder_holds": all(ladder[prompt] in allowed for prompt, allowed in LADDER.items()),
        "gibberish_abstained": sum(gibberish) / len(gibberish),
    }


def gibberish_abstains(engine: Engine) -> list[bool]:
    """Of a thousand texts that mean nothing, whether each abstains."""
    texts = make_gibberish(1000, seed=99)
    return [engine.route(text).status is Status.ABSTAINED for text in texts]


def markdown(figures: dict[str, Any]) -> str:
    """The table for people: a row a part of the corpus, beside the goals."""
    lines = [
        "| rows set apart | n | labelled small, go small (goal: 90%) | labelled mid, go below frontier | "
        "labelled frontier, go below by a single decision (goal: at most 10%) | abstained |",
        "|---|---|---|---|---|---|",
    ]
    parts = {
        "all": "all",
        "plain requests": "plain",
        "deliberately tricky requests": "tricky",
        "English": "english",
        "other languages (goal: within 10 points of English)": "other_languages",
    }
    for name, key in parts.items():
        part = figures[key]
        shares = [f"{part[column]:.1%}" for column in SHARES]
        lines.append("| " + " | ".join([name, str(part["rows"]), *shares]) + " |")
    ladder = "; ".join(f"“{prompt}” {tier}" for prompt, tier in figures["ladder"].items())
    lines += [
        "",
        f"The ladder of the trade {'holds' if figures['ladder_holds'] else 'does not hold'}: {ladder}.",
        f"Of a thousand made-up texts of gibberish {figures['gibberish_abstained']:.1%} abstain.",
    ]
    return "\n".join(lines)


def write_table(page: Path, figures: dict[str, Any]) -> None:
    """Replaces what stands between a page's marks."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{markdown(figures)}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", help="folder of a bundle; the default one if absent")
    parser.add_argument("--policy", help="resolved policy document; the default one if absent")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    figures = report(Engine.load(arguments.bundle, arguments.policy))
    if arguments.write:
        write_table(arguments.write, figures)
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    for name, part in [*figures.items(), *figures["by_language"].items()]:
        if isinstance(part, dict) and "rows" in part:
            print(f"{name:16}" + "  ".join(f"{key} {value:.3f}" for key, value in part.items()))
    print(f"ladder {'holds' if figures['ladder_holds'] else 'broken'}: {figures['ladder']}")
    print(f"gibberish abstained {figures['gibberish_abstained']:.3f}")


if __name__ == "__main__":
    main()
