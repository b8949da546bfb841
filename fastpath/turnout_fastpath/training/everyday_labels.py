"""The everyday corpus as labelled data: what `turnout train`, `calibrate`, `evaluate` and `gate` take.

    python -m turnout_fastpath.training.everyday_labels OUT.jsonl [--part set-apart|training|all]

A tier scores 1 where a careful engineer would trust it with the request, else 0.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from turnout_fastpath.training.everyday_rows import TIERS, load_everyday

PARTS = ("set-apart", "training", "all")


def labelled_rows(part: str) -> Iterator[dict[str, Any]]:
    """Rows of the schema, of the third that is set apart, of the rest, or of all."""
    for row in load_everyday():
        if part in ("all", "set-apart" if row.set_apart else "training"):
            yield {
                "id": row.id,
                "messages": [{"role": role, "content": content} for role, content in row.messages],
                "tools": row.tools,
                "task": row.task,
                "category": row.kind,
                "group": row.group,
                "source": "English" if row.lang == "en" else "other languages",
                "scores": {tier: float(i >= TIERS.index(row.tier)) for i, tier in enumerate(TIERS)},
            }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the file, JSON Lines")
    parser.add_argument("--part", choices=PARTS, default=PARTS[0])
    given = parser.parse_args(arguments)
    lines = [json.dumps(row, ensure_ascii=False) for row in labelled_rows(given.part)]
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {len(lines)} rows to {given.out}")


if __name__ == "__main__":
    main()
