"""Writes a part of the everyday corpus as labelled traffic, to try the training commands on.

    python -m turnout_fastpath.training.everyday_sample OUT.jsonl [--part 0] [--of 6] [--set-apart]

A tier scores 1 if it is the least that the corpus's guide trusts with the request, or a dearer one. Costs are those of a
made-up price list. Rows are of the part that bundles are trained on, or of the third that is set apart.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from turnout_fastpath.training.everyday_rows import TIERS, load_everyday

# US dollars a request.
COSTS = {"small": 0.0002, "mid": 0.0013, "frontier": 0.0065}


def write_sample(out: Path, *, part: int, of: int, set_apart: bool = False) -> int:
    """Writes every `of`-th row, beginning with row number `part`, of one side of the corpus; returns how many."""
    rows = [row for row in load_everyday() if row.set_apart == set_apart][part::of]
    with out.open("w", encoding="utf-8") as file:
        for row in rows:
            least = TIERS.index(row.tier)
            line = {
                "id": row.id,
                "messages": [{"role": role, "content": text} for role, text in row.messages],
                "tools": row.tools,
                "task": row.task,
                "category": row.kind,
                "group": row.group,
                "source": "English" if row.lang == "en" else "other languages",
                "scores": {tier: float(i >= least) for i, tier in enumerate(TIERS)},
                "costs": COSTS,
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return len(rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="file of JSON Lines")
    parser.add_argument("--part", type=int, default=0, help="number of the part, from 0")
    parser.add_argument("--of", type=int, default=6, help="number of parts")
    parser.add_argument("--set-apart", action="store_true", help="rows that no bundle is trained on")
    given = parser.parse_args()
    n = write_sample(given.out, part=given.part, of=given.of, set_apart=given.set_apart)
    print(f"wrote {n} rows to {given.out}")


if __name__ == "__main__":
    main()
