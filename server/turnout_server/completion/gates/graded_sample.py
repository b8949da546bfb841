"""Stand-ins for graded answers, drawn by chance, for the worked example of docs/gates.md; of no real model.

`python -m turnout_server.completion.gates.graded_sample FILE --seed N` writes 900 lines. The chance that an answer is
accepted rises with its confidence, for each task in a way of its own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import orjson

ROWS = 900
# By task: the confidence at which half of the answers are right, and how steeply that rises.
_TASKS = {"chat": (0.15, 9.0), "math": (0.6, 16.0), "code": (0.5, 9.0)}


def draw_rows(seed: int, count: int = ROWS) -> Iterator[dict[str, Any]]:
    """Rows as `read_graded` takes them."""
    random = Random(seed)
    for _ in range(count):
        task = random.choice(list(_TASKS))
        half, slope = _TASKS[task]
        confidence = random.betavariate(6, 2)
        right = random.random() < 1 / (1 + math.exp(-slope * (confidence - half)))
        yield {"task": task, "mean_logprob": round(math.log(confidence), 6), "accepted": right}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draws stand-ins for graded answers.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    given.file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in draw_rows(given.seed)))


if __name__ == "__main__":
    main()
