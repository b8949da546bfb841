"""The drift alarm on resampled real prompts: how often it is false, and how many decisions it needs to see a shift.

`python -m bench.drift_alarm` routes the prompts of TURNOUT_DATA/loadtest with the shipped bundle and policy, draws streams
of decisions from them with replacement, and writes drift_alarm.json. `--page` prints the tables of docs/drift.md from it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from turnout_fastpath import Engine
from turnout_server.quality.drift.detector import BLOCKS, FALSE_ALARM, Detector, DriftRules, Mix
from turnout_server.quality.drift.dimensions import Dimension
from turnout_server.quality.drift.tally import MixTally, Port

# Not among the results of `bench report`: nothing here depends on the machine.
RESULTS = Path(__file__).with_suffix(".json")
SIZES = ((10_000, 2_000), (2_000, 500), (500, 200))
THRESHOLD = 0.1
SEED = 20
# Streams of the same mix, and decisions of each after its reference, in recent windows.
SAME_RUNS, SAME_WINDOWS = 1000, 20
# Streams of a shifted mix, and how long an alarm may take, in recent windows.
SHIFTED_RUNS, SHIFTED_WINDOWS = 100, 4
KINDS = ("code", "document", "smalltalk")
SHARES = (0.05, 0.1, 0.2, 0.4)

Categories = tuple[str, ...]


def read_categories(path: Path) -> dict[str, Counter[Categories]]:
    """What each prompt falls into, by its kind; documents of all lengths are one."""
    engine = Engine.load()
    found: dict[str, Counter[Categories]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            tally = MixTally(Port.MAIN)
            tally.count([engine.route(row["prompt"])])
            by_dimension = {labels[2]: labels[3] for labels, _ in tally.read()}
            kind = "document" if row["kind"].startswith("document") else row["kind"]
            categories = tuple(by_dimension[dimension] for dimension in Dimension)
            found.setdefault(kind, Counter())[categories] += 1
    return found


class Source:
    """Draws mixes of decisions from prompts."""

    def __init__(self, weights: dict[Categories, float], random: np.random.Generator) -> None:
        self._names = list(weights)
        self._shares = np.array(list(weights.values())) / sum(weights.values())
        self._random = random

    def draw(self, n: int) -> Mix:
        """A mix of `n` decisions."""
        mix: dict[Dimension, Counter[str]] = {dimension: Counter() for dimension in Dimension}
        for categories, count in zip(
            self._names, self._random.multinomial(n, self._shares).tolist(), strict=True
        ):
            if count:
                for dimension, category in zip(Dimension, categories, strict=True):
                    mix[dimension][category] += count
        return mix


def shifted(kinds: dict[str, Counter[Categories]], kind: str, share: float) -> dict[Categories, float]:
    """The mix of all prompts, of which `share` has made room for prompts of one kind."""
    usual = sum(kinds.values(), Counter[Categories]())
    mixed: dict[Categories, float] = {
        name: (1 - share) * count / usual.total() for name, count in usual.items()
    }
    for name, count in kinds[kind].items():
        mixed[name] += share * count / kinds[kind].total()
    return mixed


def looks(detector: Detector, source: Source, recent: int, windows: int) -> Iterator[bool]:
    """Whether an alarm begins, for each step of the recent window."""
    for _ in range(windows * BLOCKS):
        yield any(change.began for change in detector.add(source.draw(recent // BLOCKS)))


def measure(kinds: dict[str, Counter[Categories]]) -> dict[str, Any]:
    """All figures, by sizes of the windows."""
    random = np.random.default_rng(SEED)
    usual = Source(shifted(kinds, "code", 0.0), random)
    rows = []
    for reference, recent in SIZES:
        rules = DriftRules(reference, recent, THRESHOLD)
        row: dict[str, Any] = {"reference": reference, "recent": recent}
        row["false_alarms"] = _false_alarms(rules, usual)
        row["shifts"] = [
            _see(rules, usual, Source(shifted(kinds, kind, share), random)) | {"kind": kind, "share": share}
            for kind in KINDS
            for share in SHARES
        ]
        rows.append(row)
    return {
        "prompts": sum(one.total() for one in kinds.values()),
        "seed": SEED,
        "threshold": THRESHOLD,
        "false_alarm_bound": FALSE_ALARM,
        "same_runs": SAME_RUNS,
        "same_looks_each": SAME_WINDOWS * BLOCKS - BLOCKS + 1,
        "shifted_runs": SHIFTED_RUNS,
        "sizes": rows,
    }


def _false_alarms(rules: DriftRules, usual: Source) -> dict[str, int]:
    """Streams of the same mix in which an alarm began, or would have if one condition alone made it."""
    found = Counter[str](both=0, index_alone=0, test_alone=0)
    for _ in range(SAME_RUNS):
        # A threshold of 0 leaves the test alone.
        detector, tested = Detector(rules), Detector(replace(rules, threshold=0.0))
        first = usual.draw(rules.reference)
        detector.add(first)
        tested.add(first)
        said = set()
        for _ in range(SAME_WINDOWS * BLOCKS):
            mix = usual.draw(rules.recent // BLOCKS)
            if any(change.began for change in detector.add(mix)):
                said.add("both")
            if any(change.began for change in tested.add(mix)):
                said.add("test_alone")
            if max(detector.indexes.values(), default=0.0) >= rules.threshold:
                said.add("index_alone")
        found.update(said)
    return dict(found)


def _see(rules: DriftRules, usual: Source, other: Source) -> dict[str, Any]:
    """How many streams alarm after a shift, and after how many decisions of it; the windows were full before."""
    needed, indexes = [], []
    for _ in range(SHIFTED_RUNS):
        detector = Detector(rules)
        detector.add(usual.draw(rules.reference))
        for _ in looks(detector, usual, rules.recent, 1):
            pass
        steps = enumerate(looks(detector, other, rules.recent, SHIFTED_WINDOWS), 1)
        first = [step for step, began in steps if began]
        indexes.append(max(detector.indexes.values()))
        if first:
            needed.append(first[0] * rules.recent // BLOCKS)
    return {
        "seen": len(needed),
        "median_decisions": int(np.median(needed)) if len(needed) * 2 > SHIFTED_RUNS else None,
        "median_index": round(float(np.median(indexes)), 3),
    }


def page(found: dict[str, Any]) -> str:
    """The tables of docs/drift.md."""
    runs = found["same_runs"]
    lines = [
        "| reference, recent | streams of the same mix | with a false alarm | by the index alone | by the test alone |",
        "|---|---|---|---|---|",
    ]
    for row in found["sizes"]:
        counts = [str(row["false_alarms"][name]) for name in ("both", "index_alone", "test_alone")]
        cells = [f"{row['reference']:,}, {row['recent']:,}", f"{runs:,}", *counts]
        lines.append(f"| {' | '.join(cells)} |")
    sizes = " | ".join(f"{row['reference']:,}, {row['recent']:,}" for row in found["sizes"])
    lines += [
        "",
        f"| of the traffic, replaced by | greatest index | {sizes} |",
        "|---|---|" + "---|" * len(found["sizes"]),
    ]
    for number, first in enumerate(found["sizes"][0]["shifts"]):
        seen = []
        for row in found["sizes"]:
            one = row["shifts"][number]
            needed = one["median_decisions"]
            share = f"{100 * one['seen'] / found['shifted_runs']:.0f}%"
            seen.append(share if needed is None else f"{share}, after {needed:,}")
        cells = [f"{100 * first['share']:.0f}%, {first['kind']}", f"{first['median_index']:.2f}", *seen]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, or prints the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="print the tables of the saved results")
    if not parser.parse_args().page:
        data = Path(os.environ["TURNOUT_DATA"])
        kinds = read_categories(data / "loadtest/prompts.jsonl.gz")
        RESULTS.write_text(json.dumps(measure(kinds), indent=1) + "\n", encoding="utf-8")
    print(page(json.loads(RESULTS.read_bytes())), end="")


if __name__ == "__main__":
    main()
