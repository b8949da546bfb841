"""docs/drift.md says what was measured."""

from __future__ import annotations

from pathlib import Path

from bench.drift_alarm import NAME, page
from bench.results import FOLDER, load_results

ROOT = Path(__file__).parents[2]


def test_the_pages_tables_are_those_of_the_results() -> None:
    text = (ROOT / "docs/drift.md").read_text(encoding="utf-8")
    for table in page(load_results(FOLDER)[NAME]).split("\n\n"):
        assert table.strip() in text
