"""Made-up labelled traffic whose truth is known: the longer a prompt, the less a cheap tier suffices."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

WORDS = (
    ["turnout", "track", "train", "signal", "lever", "station", "freight", "siding", "yard", "switch", "rail", "sleeper", "ballast", "gauge", "points", "crossing", "platform", "timetable", "engine", "driver", "guard", "whistle", "steam", "coal", "water", "bridge", "tunnel"]
)  # fmt: skip


def truth(words: int, tier: int, step: int = 12) -> float:
    """Probability that a tier (0 the cheapest) suffices for a prompt of so many words."""
    return 1 / (1 + math.exp((words - 20 - step * tier) / 4))


def write_labels(
    path: Path,
    n: int,
    tiers: Sequence[str],
    *,
    seed: int = 0,
    noise: bool = False,
    missing: float = 0.0,
    step: int = 12,
) -> Path:
    """JSON Lines of n rows with exact scores; the last tier always scores 1.

    Args:
        path: the file.
        n: rows.
        tiers: names, cheapest first.
        seed: of everything.
        noise: labels have nothing to do with the prompts.
        missing: share of scores that are left out.
        step: words by which each tier copes with longer prompts than the cheaper one.
    """
    source = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            words = source.randint(3, 50)
            judged = source.randint(3, 50) if noise else words
            drawn = source.random()
            scores = {name: float(drawn < truth(judged, t, step)) for t, name in enumerate(tiers[:-1])} | {
                tiers[-1]: 1.0
            }
            kept = {name: score for name, score in scores.items() if source.random() >= missing}
            costs = {name: 0.001 * 3**t for t, name in enumerate(tiers)}
            prompt = " ".join(source.choices(WORDS, k=words))
            file.write(json.dumps({"id": f"r{i}", "prompt": prompt, "scores": kept, "costs": costs}) + "\n")
    return path
