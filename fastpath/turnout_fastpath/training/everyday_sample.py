"""Writes a part of the everyday corpus as labelled traffic, to try the training commands on.

    python -m turnout_fastpath.training.everyday_sample OUT.jsonl [--part 0] [--of 6]

A tier scores 1 if it is the least that the corpus's guide trusts with the request, or a dearer one. Costs are those of a
made-up price list. The third of the corpus that is set apart is left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from turnout_fastpath.training.everyday_rows import TIERS, load_everyday

# US dollars a request.
COSTS = {"small": 0.0002, "mid": 0.0013, "frontier": 0.0065}


def write_sample(out: Path, *, part: int, of: int) -> int:
    """Writes every `of`-th row, beginning with row number `part`; returns how many."""
    rows = [row for row in load_everyday() if not row.set_apart][part::of]
    with out.open("w", encoding="utf-8") as file:
        for row in rows:
            least = TIERS.index(row.tier)
            line = {
                "id": row.id,
                "messages": [{"role": role, "content": text} for role, text in row.messages],
                "tools": row.tools,
                "task": row.task,
                "group": row.group,
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
    arguments = parser.parse_args()
    print(
        f"wrote {write_sample(arguments.out, part=arguments.part, of=arguments.of)} rows to {arguments.out}"
    )


if __name__ == "__main__":
    main()
