"""Runs under callgrind for instructions.py: decides prompts, with a marker between the stretches that are counted.

`python -m bench.decision_driver PROMPTS CALLS`, where PROMPTS is a JSON list of lists of prompts. With each list, after
a warm-up, CALLS decisions are made and then twice as many, PAIRS times over.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
from pathlib import Path

from turnout_fastpath import Engine

WARM_UP_ROUNDS = 3
# Pairs of stretches; the median pair counts, since one-time work may fall into any.
PAIRS = 5
# Stretches of a list that end with a marker: the warm-up, and the pairs.
STRETCHES = 1 + 2 * PAIRS


def mark() -> None:
    """Calls the C function at which callgrind is told to dump its counters; nothing else here calls it."""
    os.getppid()


def decide(engine: Engine, prompts: list[str], calls: int) -> None:
    """Decides `calls` times, the prompts in turn."""
    for prompt in itertools.islice(itertools.cycle(prompts), calls):
        engine.route(prompt)


def main() -> None:
    """Reads the command line and decides."""
    classes: list[list[str]] = json.loads(Path(sys.argv[1]).read_bytes())
    calls = int(sys.argv[2])
    engine = Engine.load()
    gc.collect()
    gc.disable()
    mark()
    for prompts in classes:
        decide(engine, prompts, WARM_UP_ROUNDS * len(prompts))
        mark()
        for _ in range(PAIRS):
            for count in (calls, 2 * calls):
                decide(engine, prompts, count)
                mark()


if __name__ == "__main__":
    main()
